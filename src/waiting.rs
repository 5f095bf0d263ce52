//! What waits: recipients that are owed something, and those among them whom somebody has claimed to ask after.
//!
//! A claim that nobody settles is taken back by the hub itself when its lease has lapsed. [`Unlock`] is for whoever
//! cannot wait for that, or wants attempts given anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Timestamp, rfc3339};
use crate::diagnosis::{Addressee, Counts, Queue};
use crate::log::Position;

/// The most claims that [`Unlocked`] names.
pub const MAX_UNLOCKED_NAMED: usize = 100;

/// Which of those that wait are asked for.
#[derive(Clone, Debug)]
pub struct WaitingQuery {
    /// Where the page before ended.
    pub after: Option<WaitingCursor>,
    /// At most so many.
    pub limit: usize,
}

/// Where a page ended: a position, and a recipient's key there. In text it can stand in a URL as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCursor {
    /// Where the notification stands.
    pub position: Position,
    /// The recipient's key.
    pub key: String,
}

impl WaitingCursor {
    /// From the form that [`fmt::Display`] writes; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (position, key) = text.split_once('-')?;
        let key = URL_SAFE_NO_PAD.decode(key).ok()?;
        Some(Self {
            position: Position(position.parse().ok()?),
            key: String::from_utf8(key).ok()?,
        })
    }
}

impl fmt::Display for WaitingCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}",
            self.position.0,
            URL_SAFE_NO_PAD.encode(&self.key)
        )
    }
}

/// What waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// How far the log is through the fan-out.
    pub queue: Queue,
    /// How many recipients are owed, worked on and failed.
    pub counts: Counts,
    /// When the first of those that are worked on was claimed.
    pub oldest_claim: Option<Timestamp>,
    /// When the first of those that have failed did.
    pub oldest_failed: Option<Timestamp>,
    /// Those that are owed, the oldest notification first.
    pub owed: Vec<Owed>,
    /// Where to go on, if there may be more.
    pub next: Option<WaitingCursor>,
}

/// A recipient that is owed a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// The notification.
    pub notification_id: Uuid,
    /// The recipient.
    pub recipient: Addressee,
    /// Whether somebody works on it.
    pub state: OwedState,
    /// How often they were asked after.
    pub attempts: u32,
    /// Why nobody took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// When the notification was accepted.
    #[serde(with = "rfc3339")]
    pub created_at: Timestamp,
    /// When they are asked after next, if nobody works on it.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Who works on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// Since when.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Whether somebody works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwedState {
    /// Not now.
    Pending,
    /// Somebody has claimed it.
    Processing,
}

/// Which claims are to be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Unlock {
    /// The present moment.
    pub now: Timestamp,
    /// Those that are so old; and all of an earlier run, where only one may serve the store.
    pub older_than: Duration,
    /// How many attempts there are.
    pub max_attempts: usize,
    /// Also those that have no attempt left; they begin anew.
    pub force: bool,
    /// Does it. Otherwise it only says what it would do.
    pub execute: bool,
}

/// What was taken back, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unlocked {
    /// Whether it was done.
    pub executed: bool,
    /// How many are owed again, and due at once.
    pub released: u64,
    /// How many have no attempt left, and were left as they are.
    pub kept: u64,
    /// The first [`MAX_UNLOCKED_NAMED`] of both, the longest claimed first.
    pub claims: Vec<StaleClaim>,
}

/// A claim that is taken back, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaleClaim {
    /// The notification.
    pub notification_id: Uuid,
    /// The recipient.
    pub recipient: Addressee,
    /// The run of a hub that claimed it.
    pub owner: Arc<str>,
    /// When it did.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// How many attempts there were.
    pub attempts: u32,
    /// Whether it is owed again by this.
    pub released: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_can_stand_in_a_url_whatever_the_recipient_is_called() {
        let cursor = WaitingCursor {
            position: Position(17),
            key: "u:Chef d'équipe & co?".to_owned(),
        };
        let text = cursor.to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        assert!(text.chars().all(plain), "{text}");
        assert_eq!(WaitingCursor::parse(&text), Some(cursor));
        for wrong in ["", "17", "x-dTo0Mg", "17-!", "17-dTo0Mg=="] {
            assert_eq!(WaitingCursor::parse(wrong), None, "{wrong}");
        }
    }
}
