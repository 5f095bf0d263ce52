//! What a hub counts of itself, and the text in which Prometheus reads it.
//!
//! Counting must cost nothing that a publisher or a stream could notice: each number is one relaxed atomic that exists
//! once for each hub, and nothing is looked up, locked or allocated where it is raised. What can be known when somebody
//! asks (streams that are open, what waits, what is stored) is not counted at all but looked at then, by
//! [`crate::Hub::metrics`]. No label can take values without bound: reasons, kinds and the router's own patterns, never
//! a user, a role or a path.
//!
//! What the stream thread counts stands beside it, in [`crate::fanout::Counters`]; what the store's commits cost, in
//! [`crate::store::Commits`]. `histogram` is a distribution in fixed buckets, `exposition` the text format, `families`
//! every name, with its type and what it means.

mod exposition;
mod families;
mod histogram;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::families::{Snapshot, Stored, render};
pub(crate) use self::histogram::Histogram;
use crate::store::Pruned;

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a draft was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It breaks a rule of its fields.
    Invalid,
    /// Its publisher has published too many lately, or its sender too many tests.
    Rate,
    /// Too much waits for delivery.
    Busy,
    /// The hub is stopping.
    Draining,
    /// Too much waits to be stored.
    StoreFull,
    /// The store could not write.
    StoreUnavailable,
    /// It conflicts with what is stored.
    Conflict,
}

impl Refused {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Invalid, "invalid"),
        (Self::Rate, "rate"),
        (Self::Busy, "busy"),
        (Self::Draining, "draining"),
        (Self::StoreFull, "store_full"),
        (Self::StoreUnavailable, "store_unavailable"),
        (Self::Conflict, "conflict"),
    ];
}

/// Why there was no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The hub is stopping.
    Draining,
    /// The user has as many as one may have.
    User,
    /// Their address has as many as one may have.
    Address,
    /// More are being opened than can be at a time.
    Rush,
    /// The hub has as many as it may have.
    Full,
    /// The store did not answer.
    Store,
}

impl Shut {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Draining, "draining"),
        (Self::User, "user"),
        (Self::Address, "address"),
        (Self::Rush, "rush"),
        (Self::Full, "full"),
        (Self::Store, "store"),
    ];
}

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// Its address has as many as one may have.
    Address,
    /// The hub has as many as it may have.
    Full,
}

impl Crowded {
    const ALL: [(Self, &'static str); 2] = [(Self::Address, "address"), (Self::Full, "full")];
}

/// What one hub has counted since its start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    refused: [Counter; Refused::ALL.len()],
    shut: [Counter; Shut::ALL.len()],
    crowded: [Counter; Crowded::ALL.len()],
    ephemeral: Counter,
    duplicates: Counter,
    throttled: Counter,
    released: Counter,
    cancelled: Counter,
    reminded: Counter,
    retries: Counter,
    failed: Counter,
    claim_conflicts: Counter,
    leases_reclaimed: Counter,
    webhooks_delivered: Counter,
    webhooks_refused: Counter,
    webhooks_failed: Counter,
    pruned: Counter,
    /// By pattern; locked when a router is built and when somebody asks, never by a request.
    routes: Mutex<Vec<(Cow<'static, str>, Arc<Answers>)>>,
}

impl Metrics {
    /// So many drafts were not accepted.
    pub(crate) fn refused(&self, reason: Refused, drafts: usize) {
        self.refused[reason as usize].add(drafts as u64);
    }

    /// A stream was not opened.
    pub(crate) fn shut(&self, reason: Shut) {
        self.shut[reason as usize].add(1);
    }

    /// A connection was not served.
    pub(crate) fn crowded(&self, reason: Crowded) {
        self.crowded[reason as usize].add(1);
    }

    /// Recipients were asked after again, and some of them for the last time.
    pub(crate) fn asked(&self, asked: usize, failed: usize) {
        self.retries.add(asked as u64);
        self.failed.add(failed as u64);
    }

    /// Old entries and their read marks were deleted.
    pub(crate) fn pruned(&self, pruned: &Pruned) {
        self.pruned.add(pruned.gone.total() + pruned.read_marks);
    }

    /// Where the answers of a route are counted; the same for each router of the hub.
    pub(crate) fn route(&self, pattern: Cow<'static, str>) -> Arc<Answers> {
        let mut routes = self.routes();
        if let Some((_, answers)) = routes.iter().find(|(known, _)| *known == pattern) {
            return Arc::clone(answers);
        }
        let answers = Arc::<Answers>::default();
        routes.push((pattern, Arc::clone(&answers)));
        answers
    }

    fn routes(&self) -> MutexGuard<'_, Vec<(Cow<'static, str>, Arc<Answers>)>> {
        // Nobody panics while holding it: a push is all that happens.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps things from being done twice.
impl Metrics {
    /// An ephemeral notification went to the streams that were live.
    pub(crate) fn ephemeral(&self) {
        self.ephemeral.add(1);
    }

    /// A publisher sent again what it had sent, and got the first answer.
    pub(crate) fn duplicate(&self) {
        self.duplicates.add(1);
    }

    /// A draft came within the window of the one before, and was passed over.
    pub(crate) fn throttled(&self) {
        self.throttled.add(1);
    }

    /// Notifications that were held back got their places in the log.
    pub(crate) fn released(&self, notifications: usize) {
        self.released.add(notifications as u64);
    }

    /// Reminders of what is overdue were published.
    pub(crate) fn reminded(&self, reminders: usize) {
        self.reminded.add(reminders as u64);
    }

    /// A notification was cancelled.
    pub(crate) fn cancelled(&self) {
        self.cancelled.add(1);
    }

    /// Somebody else had taken the same work first.
    pub(crate) fn claim_conflicts(&self, claims: usize) {
        self.claim_conflicts.add(claims as u64);
    }

    /// Claims that had lapsed were taken back.
    pub(crate) fn leases_reclaimed(&self, leases: usize) {
        self.leases_reclaimed.add(leases as u64);
    }
}

/// What is told to other programs.
impl Metrics {
    /// A webhook was sent, and its receiver has it or not.
    pub(crate) fn webhook_sent(&self, delivered: bool) {
        if delivered {
            self.webhooks_delivered.add(1);
        } else {
            self.webhooks_refused.add(1);
        }
    }

    /// A webhook was given up.
    pub(crate) fn webhook_failed(&self) {
        self.webhooks_failed.add(1);
    }
}

/// How the requests of one route were answered, by the class of the status: 1xx to 5xx.
#[derive(Debug, Default)]
pub(crate) struct Answers([Counter; 5]);

impl Answers {
    const CLASSES: [&'static str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.0.get(class) {
            counter.add(1);
        }
    }
}
