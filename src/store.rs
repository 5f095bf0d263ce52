//! The store's contract: a log that is appended to in commit order, and what became of each entry.
//!
//! Everything that must survive the process goes through [`Store`]; nothing here says how it is kept. One suite of
//! tests runs against every store. Three rules carry the hub's promises:
//!
//! - **An append that returned is durable** (fsync), and its position is final. Positions rise by one in commit order.
//! - **What is settled is decided.** Up to the settled position every recipient has a verdict: a row says what became
//!   of it, and *no row means that it was sent at the first try*. So a delivered notification costs no write of its
//!   own, and after a crash everything past the settled position is simply owed again.
//! - **Verdicts are written in the order in which they were given**, folded into whatever commit comes next;
//!   [`Store::flush`] waits for that commit.

mod agenda;
mod commits;
mod inbox;
mod outbox;
mod pages;
mod placed;
mod reminders;
mod retention;
mod retries;
mod scheduled;
pub mod sqlite;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;

pub use self::agenda::Agenda;
pub use self::commits::Commits;
pub use self::inbox::{InboxEntry, InboxSlice, Inboxes, ListQuery, Marked, Viewer};
pub use self::outbox::{
    ClaimedWebhooks, EndpointChange, Outbox, OutboxCounts, ReclaimedWebhooks, Redeliver,
    Redelivered, SettledWebhook, Webhook, WebhookClaim, WebhookOutcome, WebhookQuery, WebhookState,
    WebhooksOf,
};
pub use self::pages::{Page, PageEntry, PageQuery, Start, StartQuery};
pub use self::placed::{
    Appended, Conflict, Duplicate, DuplicateOutcome, DuplicateQuery, MAX_SCHEDULED, Placed, Refused,
};
pub use self::reminders::{Kept, ReminderHistory, ReminderQuery, Reminders, Swept};
pub use self::retention::{Aged, Counts, MAX_COUNTED, Pruned, Retention};
pub use self::retries::{Asked, Claim, Nobody, Reclaimed, RetrySchedule};
pub use self::scheduled::{Cancel, Cancelled, Released};
pub use self::verdicts::{Missed, Reach, Unacknowledged, Verdicts};
use crate::auth::StoredKey;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryPage, DeliveryQuery, Lookup, LookupQuery};
use crate::diagnosis::{DiagnosisQuery, Facts};
use crate::log::{Epoch, Position};
use crate::notification::{Entry, Notification};
use crate::waiting::{Unlock, Unlocked, Waiting, WaitingQuery};

/// How many commits' worth of entries wait in memory for the queue. When it is full the rest is not handed over, and
/// the queue reads it from the log: what is handed over is a cache of the log, never the only copy.
pub const HANDOVER_COMMITS: usize = 256;

/// Users whose credentials were taken back, each with the latest moment.
pub type RevokedUsers = Vec<(Arc<str>, Timestamp)>;

/// Why the store could not do what was asked. Nothing was stored or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot write or read at present (disk full, file locked, stopped); trying again later may work.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// More is waiting to be stored than the configured bound.
    #[error("the store has too much waiting")]
    Full,
    /// The file is damaged. The hub stops rather than build on it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A name that is taken.
    #[error("{0} exists already")]
    Conflict(String),
}

/// Why a store cannot be opened. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The directory or file cannot be made, read or written.
    #[error("cannot open the store {path}: {reason}")]
    Io {
        /// The file or directory.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Another process serves it.
    #[error("the store {path} is in use by another campanile")]
    Locked {
        /// The file.
        path: String,
    },
    /// It is a file of something else.
    #[error("{path} is not a Campanile store: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What gave it away.
        reason: String,
    },
    /// A later version of Campanile made it.
    #[error(
        "{path} has schema version {found}; this Campanile knows up to {known}. Use the newer one"
    )]
    Newer {
        /// The file.
        path: String,
        /// The file's version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// It is damaged.
    #[error("the store {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What the check found.
        reason: String,
    },
}

/// An open store, and what it hands over.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The entries of each commit, in commit order; with holes when the receiver is slow (see [`HANDOVER_COMMITS`]).
    pub committed: mpsc::Receiver<Vec<Entry>>,
    /// Where the log stands.
    pub log: LogState,
}

/// Where the log stands at a moment.
#[derive(Clone, Debug)]
pub struct LogState {
    /// The database's epoch.
    pub epoch: Epoch,
    /// The last position given.
    pub head: Position,
    /// Up to here every recipient has a verdict.
    pub settled: Position,
}

/// A log that is appended to in commit order, and what became of each entry.
pub trait Store: Inboxes + Outbox + Reminders {
    /// Stores notifications durably, in order, all in one commit (with those of other callers). Every answer comes after the
    /// fsync. Dropping the future does not undo anything: the commit and its hand-over happen all the same.
    ///
    /// Each is looked at in the same transaction, in this order: its key (one that has an answer gets that, and the use
    /// of the key is kept for audit), its throttle, its reference. What it leaves under its key, in its throttle and of its
    /// reference is durable with it, or not there at all.
    ///
    /// # Errors
    /// [`StoreError::Full`] at once when too much is waiting; otherwise nothing of it was stored.
    fn append(
        &self,
        notifications: Vec<Notification>,
    ) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>>;

    /// Gives notifications that are held back and due their places in the log, the longest due first, at most `limit` of
    /// them, in one transaction: each is released once, whoever else releases. They are handed over like those that are
    /// appended.
    fn release(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Released, StoreError>>;

    /// When the next of them is due, as far as this store has been told.
    fn agenda(&self) -> &Agenda;

    /// Cancels a notification that is held back, or withdraws one that has failed for all its recipients: then no stream is
    /// sent it, and it is in nobody's inbox.
    fn cancel(&self, cancel: Cancel) -> BoxFuture<'_, Result<Cancelled, StoreError>>;

    /// Takes verdicts to be written with the next commit, at once and without waiting. If writing fails they are kept
    /// and tried again with the commit after.
    fn record(&self, verdicts: Verdicts);

    /// What its commits have come to.
    fn commits(&self) -> &Commits;

    /// How many verdicts wait to be written. Whoever gives them lets nothing further through while they are too many.
    fn unwritten(&self) -> usize;

    /// Waits until every verdict recorded before this call is durable; at once if none is waiting.
    ///
    /// # Errors
    /// If the commit that would have carried them failed.
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Where streams begin, for each in turn, all in one snapshot and their first visits in one commit. A cursor proves that its client has everything up to it, so recipients that were
    /// re-opened by a crash at or below it become sent; a mark proves the same once a stream was served past the first.
    /// A stream that begins without a cursor, or with a gap, may be told `head` before it is sent what is owed there: from
    /// then on no place proves anything about what was re-opened for its user up to it.
    ///
    /// A user's first stream is kept, durably when this returns: their mark is the place from which it goes on, and
    /// what was addressed to their roles or to everyone up to the query's `head` never is in their inbox.
    fn start(&self, queries: Vec<StartQuery>) -> BoxFuture<'_, Vec<Result<Start, StoreError>>>;

    /// The entries of the log for one viewer.
    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// Those addressed to the viewer's user by name that are still owed or failed; the same bounds as a page.
    fn owed(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// The log itself, for whoever was not handed it: at most `limit` entries after `after`, without holes.
    fn entries(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// Claims recipients that are owed and due, at most `limit` of them, the longest due first: in one statement, so that two
    /// who claim at once get different ones. It counts as an attempt.
    fn claim(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>>;

    /// Says what has become of those claimed. Each is looked at first: one whose notification has expired is not asked
    /// after, nor is a user who has read it meanwhile; one that is owed no more, or that somebody else has claimed since,
    /// is left as it is.
    fn settle(
        &self,
        now: Timestamp,
        claims: Vec<Claim>,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Asked, StoreError>>;

    /// Takes back what was claimed longer ago than `lease` and not settled; a store that only one process may serve takes
    /// back at once what an earlier run has left. What has had its attempts has failed.
    fn reclaim(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Reclaimed, StoreError>>;

    /// What is owed to whom, and how much of everything waits; read in one snapshot.
    fn waiting(&self, query: WaitingQuery) -> BoxFuture<'_, Result<Waiting, StoreError>>;

    /// Takes back claims by hand, all in one commit: they are owed and due at once while attempts are left, and with
    /// [`Unlock::force`] in any case. Without [`Unlock::execute`] nothing is changed.
    fn unlock(&self, unlock: Unlock) -> BoxFuture<'_, Result<Unlocked, StoreError>>;

    /// What the store says about itself, read in one snapshot at a bounded cost.
    fn diagnose(&self, query: DiagnosisQuery) -> BoxFuture<'_, Result<Facts, StoreError>>;

    /// Deletes what is older than it is kept, the oldest of a kind first, in one transaction: settled entries, raising the
    /// floors, with their deliveries and read marks; idempotency keys; records of the audit; throttles whose window is
    /// over; webhooks that have come to an end. At most `limit` of all these together (deliveries go uncounted, and so does
    /// what was published of reminders, but a store bounds them as well).
    fn prune(
        &self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pruned, StoreError>>;

    /// How many [`Store::prune`] would delete in the end, each kind counted to [`MAX_COUNTED`].
    fn aged(&self, now: Timestamp, retention: Retention)
    -> BoxFuture<'_, Result<Aged, StoreError>>;

    /// How much there is.
    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// Uses of keys that had an answer, the latest first.
    fn duplicates(
        &self,
        query: DuplicateQuery,
    ) -> BoxFuture<'_, Result<Vec<Duplicate>, StoreError>>;

    /// What is known of a notification, and what became of it for each of its recipients.
    fn lookup(&self, query: LookupQuery) -> BoxFuture<'_, Result<Lookup, StoreError>>;

    /// Deliveries by recipient or by what they came to.
    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'_, Result<DeliveryPage, StoreError>>;

    /// Whether the store answers.
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Keeps an API key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if its name is taken.
    fn insert_key(&self, key: StoredKey) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Every API key, revoked ones too, by name.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>>;

    /// Revokes a key; false if there is none of that name that is not revoked.
    fn revoke_key(&self, name: String, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Keeps from when on a user's credentials count again; an earlier moment does not replace a later one.
    fn revoke_user(&self, user: Arc<str>, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Every user whose credentials were ever taken back, with the latest moment.
    fn revoked_users(&self) -> BoxFuture<'_, Result<RevokedUsers, StoreError>>;

    /// Resolves when the store found itself damaged: the hub then stops.
    fn damaged(&self) -> BoxFuture<'_, String>;

    /// Writes what is waiting and closes. Later calls get [`StoreError::Unavailable`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
