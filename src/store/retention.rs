//! How long things are kept, and how much there is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How far [`Store::aged`](super::Store::aged) counts a kind: nobody needs to know more exactly than that.
pub const MAX_COUNTED: u64 = 1_000_000;

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
