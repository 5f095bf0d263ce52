//! What became of a notification for each of its recipients, and why, in words: the answer to "why did she not get it?"
//!
//! Most of it is derived. A recipient that has no row of its own was sent it at the first try; only what went otherwise is
//! kept, with its attempts, its times and the reason.

mod story;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::audience::{Audience, Recipient};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::{Entry, Kind};
use crate::store::{Reach, Viewer};

pub(crate) use self::story::Addressee;
pub use self::story::{Story, Told};

/// How a notification reaches somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Their open streams.
    Sse,
}

/// How it stands with one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// On its way, or owed and to be asked after again.
    Pending,
    /// Owed, and being asked after at this moment.
    Processing,
    /// They have it.
    Sent,
    /// Nobody took it, and it is not asked after any more. They get it when they come back.
    Failed,
    /// It lapsed before they came.
    Expired,
    /// It was cancelled before they came.
    Cancelled,
}

impl Outcome {
    /// Every one, with its name.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Pending, "pending"),
        (Self::Processing, "processing"),
        (Self::Sent, "sent"),
        (Self::Failed, "failed"),
        (Self::Expired, "expired"),
        (Self::Cancelled, "cancelled"),
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(outcome, _)| *outcome == self);
        found.map_or("", |(_, name)| name)
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(outcome, _)| *outcome)
    }
}

/// One recipient of one notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The notification's place in the log.
    pub position: Position,
    /// The notification.
    pub notification: Uuid,
    /// Its recipient.
    pub recipient: Recipient,
    /// How it was to reach them.
    pub channel: Channel,
    /// How it stands.
    pub outcome: Outcome,
    /// How often it was tried: once when it was published, and once for each time that it was asked after again.
    pub attempts: u32,
    /// Why it stands so.
    pub reason: Cow<'static, str>,
    /// When the notification was accepted.
    pub created_at: Timestamp,
    /// When this changed last, if it did after the first try.
    pub changed_at: Option<Timestamp>,
    /// When it is asked after again.
    pub next_at: Option<Timestamp>,
    /// To how many streams it went, where they are counted and not asked after.
    pub reach: Option<Reach>,
}

/// What is stored of a recipient for whom it did not go at the first try.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) outcome: Outcome,
    /// How often it was asked after.
    pub(crate) asked: u32,
    pub(crate) changed_at: Timestamp,
    pub(crate) next_at: Option<Timestamp>,
    pub(crate) reason: Option<String>,
}

impl Delivery {
    /// From what is known of an entry, and the recipient's row if there is one.
    pub(crate) fn of(
        entry: &Entry,
        recipient: Recipient,
        settled: bool,
        reach: Option<Reach>,
        row: Option<Row>,
    ) -> Self {
        let asked_after = entry.kind == Kind::Notification && recipient != Recipient::Everyone;
        let (outcome, reason): (_, Cow<'static, str>) = match &row {
            Some(row) => (row.outcome, stored_reason(row)),
            None if !settled => (Outcome::Pending, "it is stored and on its way".into()),
            // Whatever went to streams that are counted says to how many.
            None if !asked_after && reach.is_none() && entry.expires_at.is_some() => {
                (Outcome::Expired, "it had expired when its turn came".into())
            }
            None if asked_after => (
                Outcome::Sent,
                "an open stream took it at the first try".into(),
            ),
            None => (
                Outcome::Sent,
                "it went to the streams that were open; nobody is asked after".into(),
            ),
        };
        Self {
            position: entry.position,
            notification: entry.id,
            recipient,
            channel: Channel::Sse,
            outcome,
            attempts: 1 + row.as_ref().map_or(0, |row| row.asked),
            reason,
            created_at: entry.created_at,
            changed_at: row.as_ref().map(|row| row.changed_at),
            next_at: row.and_then(|row| row.next_at),
            reach: reach.filter(|_| !asked_after),
        }
    }
}

fn stored_reason(row: &Row) -> Cow<'static, str> {
    match (&row.reason, row.outcome) {
        (Some(reason), _) => reason.clone().into(),
        (None, Outcome::Sent) => "a stream took it later".into(),
        (None, Outcome::Expired) => "it expired before they came".into(),
        (None, Outcome::Cancelled) => "it was cancelled before they came".into(),
        (None, _) => "no stream took it".into(),
    }
}

/// Which notification is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this id.
    Id(Uuid),
    /// The one that has this reference.
    Reference(String),
}

impl Which {
    /// An id if it reads as one, and else a reference.
    pub fn parse(text: &str) -> Self {
        match Uuid::parse_str(text) {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Reference(text.to_owned()),
        }
    }
}

/// What is known of a notification.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is in the log.
    Found(Box<Record>),
    /// It is held back, or was cancelled while it was.
    Held(Box<Held>),
    /// It had this reference, and is not kept any more.
    Pruned {
        /// Its id.
        id: Uuid,
        /// When it was accepted.
        created_at: Timestamp,
    },
    /// There is none.
    Unknown,
}

/// A notification and what became of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// As it stands in the log.
    pub entry: Entry,
    /// Who published it.
    pub publisher: Arc<str>,
    /// Its number for people.
    pub reference: Option<Arc<str>>,
    /// Whether it is in the inbox of whoever asked.
    pub in_inbox: bool,
    /// Each of its recipients.
    pub deliveries: Vec<Delivery>,
    /// That it was withdrawn from their inboxes.
    pub cancelled: Option<Cancellation>,
}

/// A notification that has no place in the log yet.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its id.
    pub id: Uuid,
    /// The promise it is published under.
    pub kind: Kind,
    /// Who it is for.
    pub audience: Audience,
    /// Who published it.
    pub publisher: Arc<str>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it is released.
    pub deliver_at: Timestamp,
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
    /// The public part.
    pub body: Arc<str>,
    /// Its number for people.
    pub reference: Option<Arc<str>>,
    /// That it was cancelled: it is not released any more.
    pub cancelled: Option<Cancellation>,
}

/// Who cancelled a notification, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Arc<str>,
}

/// How a notification stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is held back until its time.
    Scheduled,
    /// It was cancelled before anybody had it.
    Cancelled,
    /// Somebody is still asked after.
    Pending,
    /// Somebody did not take it.
    Failed,
    /// It lapsed before somebody came.
    Expired,
    /// Everybody has it.
    Sent,
}

impl Record {
    /// Pending while anybody is, cancelled if it was, failed if anybody is, expired if it did for anybody, and else sent.
    pub fn status(&self) -> Status {
        let any = |outcome| self.deliveries.iter().any(|d| d.outcome == outcome);
        if any(Outcome::Pending) || any(Outcome::Processing) {
            Status::Pending
        } else if any(Outcome::Cancelled) {
            Status::Cancelled
        } else if any(Outcome::Failed) {
            Status::Failed
        } else if any(Outcome::Expired) {
            Status::Expired
        } else {
            Status::Sent
        }
    }
}

/// Which notification is looked up, and for whom.
#[derive(Clone, Debug)]
pub struct LookupQuery {
    /// Which.
    pub which: Which,
    /// Who asks, if it is a user: then it is said whether it is in their inbox.
    pub viewer: Option<Viewer>,
}

/// Whose deliveries are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of a recipient, whatever became of them or only these, the latest notification first.
    Of(Recipient, Option<Outcome>),
    /// Everybody's that did not go at the first try and came to this, the latest change first.
    All(Outcome),
}

/// Which deliveries are searched for.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    /// Whose.
    pub scope: Scope,
    /// Of notifications that this publisher sent.
    pub publisher: Option<Arc<str>>,
    /// Accepted, or for [`Scope::All`] changed, at this moment or later.
    pub since: Timestamp,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct DeliveryPage {
    /// In the order of the scope.
    pub deliveries: Vec<Delivery>,
    /// Where to go on, if there may be more. A page may end before its limit where much was passed over.
    pub next: Option<String>,
}
