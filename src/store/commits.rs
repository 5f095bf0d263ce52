//! What a store's commits come to: how many, how long, how much in each. One for each store, told by its writer.

use std::time::Duration;

use crate::metrics::{Counter, Histogram};
use crate::notification::{Entry, Kind};

/// Bounds of a commit's duration in nanoseconds: 250 µs, which a disk with a battery may take, to 10 s.
const DURATIONS: &[u64] = &[
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];
/// Bounds of how much shares a commit: none, one, and on to more than the default of `delivery.max_batch`, which the last
/// call into a commit may pass.
const SIZES: &[u64] = &[0, 1, 4, 16, 64, 256, 1_024, 2_048];

/// What the commits of one store have come to since it was opened.
#[derive(Debug)]
pub struct Commits {
    durations: Histogram,
    sizes: Histogram,
    notifications: Counter,
    broadcasts: Counter,
    failed: Counter,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            durations: Histogram::new(DURATIONS),
            sizes: Histogram::new(SIZES),
            notifications: Counter::default(),
            broadcasts: Counter::default(),
            failed: Counter::default(),
        }
    }
}

impl Commits {
    /// A commit that changed something is durable after so long, with these entries new in the log.
    pub fn committed(&self, took: Duration, new: &[Entry]) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.durations.observe(nanoseconds);
        self.sizes.observe(new.len() as u64);
        let of = |kind| new.iter().filter(|entry| entry.kind == kind).count() as u64;
        self.notifications.add(of(Kind::Notification));
        self.broadcasts.add(of(Kind::Broadcast));
    }

    /// A commit was refused, and all of it undone.
    pub fn was_refused(&self) {
        self.failed.add(1);
    }

    pub(crate) fn durations(&self) -> &Histogram {
        &self.durations
    }

    pub(crate) fn sizes(&self) -> &Histogram {
        &self.sizes
    }

    pub(crate) fn notifications(&self) -> u64 {
        self.notifications.get()
    }

    pub(crate) fn broadcasts(&self) -> u64 {
        self.broadcasts.get()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.get()
    }
}
