//! What a diagnosis is made from, as the store reads it and as JSON tells it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audience::Recipient;
use crate::clock::{Timestamp, rfc3339};
use crate::log::Position;

/// What the store is asked.
#[derive(Clone, Copy, Debug)]
pub struct DiagnosisQuery {
    /// The present moment.
    pub now: Timestamp,
    /// Claims that are older than this are listed.
    pub lease: Duration,
    /// Checks everything, not only [`super::MAX_LOOKED`] of a kind, and the file itself, if that takes no longer than this.
    pub deep: Option<Duration>,
}

/// What the store says about itself, read in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// How much there is.
    pub counts: Counts,
    /// How far the log is through the fan-out.
    pub queue: Queue,
    /// What is held back though it was due more than [`super::OVERDUE`] ago.
    #[serde(default)]
    pub overdue: Overdue,
    /// Claims that were not settled in time.
    pub stuck: Listed<Stuck>,
    /// Recipients who failed within [`super::WINDOW`], the latest first.
    pub failed: Listed<Failed>,
    /// How often keys caught something that was sent again within [`super::WINDOW`], among the last [`super::MAX_LOOKED`].
    pub duplicates: u64,
    /// What was likely sent twice within [`super::WINDOW`].
    pub doubles: Listed<Double>,
    /// How many entries were compared for that.
    pub compared: u64,
    /// Prefixes whose counters are at [`super::NEAR_THE_LAST_NUMBER`] this month.
    pub references: Vec<Counter>,
    /// What contradicts itself.
    pub broken: Vec<Broken>,
    /// What a deep look came to, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep: Option<Deep>,
}

/// Recipients by what became of them, where that is not simply sent at the first try; and what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Owed, and asked after when the time comes.
    pub pending: u64,
    /// Owed, and asked after by somebody now.
    pub processing: u64,
    /// Sent, but not at the first try. Counted to [`super::MAX_LOOKED`].
    pub sent: u64,
    /// Failed; theirs when they come back.
    pub failed: u64,
    /// Expired before they came. Counted to [`super::MAX_LOOKED`].
    pub expired: u64,
    /// Notifications that are held back until their time.
    #[serde(default)]
    pub scheduled: u64,
    /// Stored notifications.
    pub notifications: u64,
    /// Stored broadcasts.
    pub broadcasts: u64,
    /// When the oldest notification that is owed was accepted.
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub oldest_owed_at: Option<Timestamp>,
}

/// How far the log is through the fan-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// The last position given.
    pub head: Position,
    /// Up to here every recipient has a verdict.
    pub settled: Position,
    /// When the first entry after that was accepted.
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub oldest_at: Option<Timestamp>,
}

impl Queue {
    /// How many entries have no verdict yet.
    pub const fn depth(&self) -> u64 {
        self.head.0.saturating_sub(self.settled.0)
    }
}

/// What should have been released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overdue {
    /// How many, counted to [`super::MAX_LOOKED`].
    pub count: u64,
    /// Since when the first is due.
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<Timestamp>,
}

/// How many there are, and the first [`super::MAX_NAMED`] of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// All of them.
    pub count: u64,
    /// Some.
    pub first: Vec<T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            count: 0,
            first: Vec::new(),
        }
    }
}

/// A recipient whom somebody has claimed to ask after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stuck {
    /// The notification.
    pub notification_id: Uuid,
    /// The recipient.
    pub recipient: Addressee,
    /// The run of a hub that claimed it.
    pub owner: Arc<str>,
    /// When it did.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// How many attempts there were, this one included.
    pub attempts: u32,
}

/// A recipient who did not take a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The notification.
    pub notification_id: Uuid,
    /// The recipient.
    pub recipient: Addressee,
    /// When that was decided.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// How often they were asked after.
    pub attempts: u32,
    /// Why nobody took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// Notifications of one publisher that say the same to the same, each within [`super::DOUBLE_WITHIN`] of the one before, and none
/// under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Double {
    /// The first.
    pub notification_id: Uuid,
    /// Who sent them.
    pub publisher: Arc<str>,
    /// How many there are.
    pub times: u64,
    /// When the first was accepted.
    #[serde(with = "rfc3339")]
    pub first_at: Timestamp,
    /// When the last was.
    #[serde(with = "rfc3339")]
    pub last_at: Timestamp,
}

/// The counter of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The prefix.
    pub prefix: Arc<str>,
    /// The month, MMYY.
    pub month: Arc<str>,
    /// The last number drawn.
    pub last: u64,
}

/// A rule that the store does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// How many break it.
    pub count: u64,
    /// One of them.
    pub example: String,
}

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// What is settled is in the log.
    SettledWithinTheLog,
    /// No entry lies past the head.
    NoEntryPastTheHead,
    /// What became of an entry goes with it.
    DeliveriesHaveEntries,
    /// An entry's keys go with it.
    KeysHaveEntries,
    /// What is counted as it comes and goes is what is there.
    CountersAreRight,
    /// Only what is owed is worked on.
    OnlyOwedIsClaimed,
}

/// What a deep look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deep {
    /// Whether it came to its end in the time it had.
    pub finished: bool,
    /// What the file's own check found.
    pub damage: Vec<String>,
}

/// A recipient as JSON tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum Addressee {
    /// One user.
    User(Arc<str>),
    /// Whoever holds a role.
    Role(Arc<str>),
    /// Everybody.
    Everyone,
}

impl From<Recipient> for Addressee {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self::User(user),
            Recipient::Role(role) => Self::Role(role),
            Recipient::Everyone => Self::Everyone,
        }
    }
}
