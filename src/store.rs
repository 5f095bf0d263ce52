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
mod reminders;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

pub use self::agenda::Agenda;
pub use self::commits::Commits;
pub use self::inbox::{InboxEntry, InboxSlice, Inboxes, ListQuery, Marked, Viewer};
pub use self::outbox::{
    ClaimedWebhooks, EndpointChange, Outbox, OutboxCounts, ReclaimedWebhooks, Redeliver,
    Redelivered, SettledWebhook, Webhook, WebhookClaim, WebhookOutcome, WebhookQuery, WebhookState,
    WebhooksOf,
};
pub use self::reminders::{Kept, ReminderHistory, ReminderQuery, Reminders, Swept};
use crate::audience::Recipient;
use crate::auth::StoredKey;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryPage, DeliveryQuery, Lookup, LookupQuery, Which};
use crate::diagnosis::{DiagnosisQuery, Facts};
use crate::inbox::Unread;
use crate::log::{Epoch, Position};
use crate::notification::{Entry, Notification};
use crate::waiting::{Unlock, Unlocked, Waiting, WaitingQuery};

/// How many commits' worth of entries wait in memory for the queue. When it is full the rest is not handed over, and
/// the queue reads it from the log: what is handed over is a cache of the log, never the only copy.
pub const HANDOVER_COMMITS: usize = 256;

/// How far [`Store::aged`] counts a kind: nobody needs to know more exactly than that.
pub const MAX_COUNTED: u64 = 1_000_000;

/// The most notifications that may be held back at a time.
pub const MAX_SCHEDULED: usize = 1_000_000;

/// Users whose credentials were taken back, each with the latest moment.
pub type RevokedUsers = Vec<(Arc<str>, Timestamp)>;

/// What the store answers an [`Store::append`] with, for each notification in order.
pub type Appended = Result<Placed, Refused>;

/// The notification that answers an append: the one that was appended, or an earlier one in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its place in the log; none while it is held back.
    pub position: Option<Position>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The reference that it has.
    pub reference: Option<Arc<str>>,
    /// Nothing was stored: a throttle holds it off, and this is the one that was accepted last.
    pub throttled: bool,
    /// Nothing was stored: this was the answer under the same key before.
    pub duplicate: bool,
}

/// Why a notification was left out while its neighbours were stored. Its key is not used up by that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key stands for another draft.
    #[error("its idempotency key was used for another draft")]
    KeyReused,
    /// It lapsed before it was accepted.
    #[error("it has expired")]
    Lapsed,
    /// Somebody has the reference that it brings.
    #[error("the reference {0} is taken")]
    ReferenceTaken(Arc<str>),
    /// The number drawn for it had been brought by somebody; the next try draws another.
    #[error("the reference {0}, which was drawn, is taken")]
    Collided(Arc<str>),
    /// As many as [`MAX_SCHEDULED`] are held back.
    #[error("too many are held back")]
    TooManyScheduled,
    /// It breaks a constraint of the database.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// A row or a name that breaks a constraint of the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it conflicts with what is stored: {0}")]
pub struct Conflict(pub String);

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

/// What the hub decided about recipients since it last told the store. All of it is applied in one transaction:
/// first the settled position and `owed`, then `reached`, `sent`, `unacknowledged`, then `marks`.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Every entry up to here has been through the fan-out. Never lowers what is stored.
    pub settled: Position,
    /// Recipients that nobody took it for at the first try, and why.
    pub owed: Vec<(Position, Recipient, Missed)>,
    /// How far those went for which nobody is asked after: broadcasts, and what is for everyone.
    pub reached: Vec<(Position, Reach)>,
    /// Owed or failed recipients that have it now. One that has no row is left without: it was never owed.
    pub sent: Vec<(Position, Recipient)>,
    /// Connections that broke with bytes which their clients had not acknowledged.
    pub unacknowledged: Vec<Unacknowledged>,
    /// For each user the highest position served to any of their streams; never lowers what is stored.
    pub marks: Vec<(Arc<str>, Position)>,
}

/// Why nobody took it at the first try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// No stream of this recipient was open.
    NoStream,
    /// Streams were open, and none of them took it at once.
    NotTaken,
    /// It had expired when its turn came.
    Lapsed,
}

/// To how many streams something went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// It was written to so many at once.
    pub live: u32,
    /// So many were behind, and read it from the log.
    pub behind: u32,
}

/// A stretch of the log that was written to a connection whose client may never have had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Whom the stream stood for, and no other open stream that has it.
    pub recipients: Vec<Recipient>,
    /// Acknowledged up to here.
    pub after: Position,
    /// Written up to here.
    pub upto: Position,
    /// What was owed from before and was sent without an id: no place that the client comes back with proves that it has
    /// these.
    pub owed: Vec<(Position, Recipient)>,
}

/// What a stream asks for when it begins.
#[derive(Clone, Debug)]
pub struct StartQuery {
    /// Whose stream.
    pub viewer: Viewer,
    /// The place that the client brought, if it is one of this epoch and not past `head`.
    pub cursor: Option<Position>,
    /// The place up to which the fan-out had come when the stream was registered: everything later reaches it live.
    pub head: Position,
    /// The most entries that may be between its place and `head` before it is told to refetch instead.
    pub replay_limit: usize,
    /// What has expired by now is not owed.
    pub now: Timestamp,
}

/// Where a stream begins, and what it is told first.
#[derive(Clone, Debug)]
pub struct Start {
    /// The cursor; without one the user's mark; without that `head`.
    pub place: Position,
    /// More than the replay limit lies between, or part of it is pruned: the stream goes on from `head` with a `gap`.
    pub gap: bool,
    /// Broadcasts between have been pruned.
    pub broadcasts_missed: bool,
    /// Whether anything addressed to the user by name is still owed or failed at or below the place it goes on from.
    pub owes: bool,
    /// How much of the user's inbox is unread, as this viewer sees it; read in one snapshot with the rest.
    pub unread: Unread,
}

/// A stretch of the log for one viewer.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// Whose stream.
    pub viewer: Viewer,
    /// Entries after this.
    pub after: Position,
    /// Up to and including this.
    pub upto: Position,
    /// At most so many entries.
    pub limit: usize,
    /// At most so many bytes of bodies, but always one entry.
    pub max_bytes: usize,
    /// Entries that have expired by now are left out.
    pub now: Timestamp,
}

/// A part of the log as one viewer sees it, rising.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<PageEntry>,
    /// The page covers everything up to here: `upto` if it is complete, else the last entry's position.
    pub covers: Position,
}

/// An entry, and whether serving it changes a verdict.
#[derive(Clone, Debug)]
pub struct PageEntry {
    /// The entry.
    pub entry: Entry,
    /// One of the viewer's recipients is owed or failed here, or the entry is not settled: who serves it says so.
    pub undecided: bool,
}

/// Which uses of idempotency keys are asked for.
#[derive(Clone, Debug)]
pub struct DuplicateQuery {
    /// Under this key.
    pub key: Option<String>,
    /// By this publisher.
    pub publisher: Option<String>,
    /// At this moment or later.
    pub since: Timestamp,
    /// Before this moment.
    pub until: Timestamp,
    /// Before the one of this number, for the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// A request under a key that had an answer already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Rising with time.
    pub number: i64,
    /// Who asked.
    pub publisher: Arc<str>,
    /// Under which key.
    pub key: Arc<str>,
    /// What it came to.
    pub outcome: DuplicateOutcome,
    /// The notification that the key stands for.
    pub notification_id: Uuid,
    /// When.
    pub at: Timestamp,
}

/// What a request under a used key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateOutcome {
    /// It was the same draft, and got the same answer.
    Answered,
    /// It was another draft.
    Refused,
}

/// When those who did not take a notification are asked again.
#[derive(Clone, Debug)]
pub struct RetrySchedule {
    /// The wait before each attempt; after the last the recipient has failed.
    pub delays: Arc<[Duration]>,
}

/// A recipient that is owed, and whom somebody has taken it upon themselves to ask after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the notification stands.
    pub position: Position,
    /// The notification.
    pub notification: Uuid,
    /// Who is owed it.
    pub recipient: Recipient,
    /// The number of this attempt, from 1 on.
    pub attempt: u32,
}

/// What asking after claimed recipients came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Still owed, with attempts left.
    pub still_owed: usize,
    /// Failed now.
    pub failed: usize,
    /// Their notification expired before they took it.
    pub expired: usize,
    /// Users who have read it in their inbox though no stream of theirs took it: to them it is sent.
    pub read: usize,
    /// Not owed any more when it came to the act: nothing was done.
    pub aborted: usize,
    /// Claimed by another meanwhile, whose word counts.
    pub conflicts: usize,
    /// Those that failed now, by name.
    pub nobody_took: Vec<Nobody>,
    /// When the next one is due; none if nobody is owed.
    pub next_due: Option<Timestamp>,
}

/// A recipient who did not take a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nobody {
    /// The notification.
    pub notification: Uuid,
    /// The recipient.
    pub recipient: Recipient,
}

/// Leases that were taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Free to be claimed again.
    pub back: usize,
    /// Failed, because no attempt was left.
    pub failed: usize,
}

/// What a release came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// How many got their place in the log.
    pub count: usize,
    /// The last of these places.
    pub last: Option<Position>,
    /// When the next one is due; at once, if the release ended at its limit.
    pub next_due: Option<Timestamp>,
}

/// What is to be cancelled.
#[derive(Clone, Debug)]
pub struct Cancel {
    /// Which.
    pub which: Which,
    /// Only if this publisher sent it; none for whoever may cancel everybody's.
    pub publisher: Option<Arc<str>>,
    /// Who cancels it.
    pub by: Arc<str>,
    /// The present moment.
    pub now: Timestamp,
}

impl Cancel {
    /// Whether what this publisher sent may be cancelled by it.
    pub(crate) fn may(&self, publisher: &str) -> bool {
        self.publisher.as_deref().is_none_or(|own| own == publisher)
    }
}

/// What cancelling came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was done.
    Now {
        /// The notification.
        id: Uuid,
        /// Its place in the log, if it had one.
        position: Option<Position>,
        /// The users from whose inboxes it was withdrawn.
        told: Vec<Arc<str>>,
    },
    /// It had been done before.
    Before,
    /// It is on its way, or somebody has it.
    TooLate,
    /// There is none that may be cancelled by this.
    Unknown,
}

/// How long things are kept. A throttle's row says itself how long it holds others off.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Notifications, with what became of them.
    pub notifications: Duration,
    /// Broadcasts.
    pub broadcasts: Duration,
    /// Idempotency keys. They outlive their notifications.
    pub idempotency: Duration,
    /// The audit's record of keys that were used again.
    pub audit: Duration,
    /// Webhooks that have come to an end, at least as long as what they tell of.
    pub webhooks: Duration,
}

/// How many of each kind are older than they are kept, or went because they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    /// Notifications.
    pub notifications: u64,
    /// Broadcasts.
    pub broadcasts: u64,
    /// Idempotency keys.
    pub idempotency: u64,
    /// Records of keys that were used again.
    pub audit: u64,
    /// Throttles whose window is over.
    pub throttles: u64,
    /// Webhooks that have come to an end.
    pub webhooks: u64,
}

impl Aged {
    /// Adds another count to this one.
    pub fn add(&mut self, more: Self) {
        self.notifications += more.notifications;
        self.broadcasts += more.broadcasts;
        self.idempotency += more.idempotency;
        self.audit += more.audit;
        self.throttles += more.throttles;
        self.webhooks += more.webhooks;
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.notifications
            + self.broadcasts
            + self.idempotency
            + self.audit
            + self.throttles
            + self.webhooks
    }
}

/// What one step of pruning came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many went.
    pub gone: Aged,
    /// Read marks that went with their notifications, or before them.
    pub read_marks: u64,
    /// The step ended at one of its bounds: there may be more.
    pub more: bool,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored notifications.
    pub notifications: u64,
    /// Stored broadcasts.
    pub broadcasts: u64,
    /// Recipients owed.
    pub owed: u64,
    /// Recipients failed.
    pub failed: u64,
    /// Notifications that are held back.
    pub scheduled: u64,
    /// When the oldest notification that is still owed was accepted.
    pub oldest_owed: Option<Timestamp>,
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
