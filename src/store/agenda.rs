//! When something that is held back falls due. The store tells, after the commit that changes it; whoever does the work
//! sleeps until then, or until it is told of something earlier.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::clock::Timestamp;

/// The next moment at which something is due. An early one costs a look; a late one would cost the moment, so what is
/// told here only ever makes it earlier.
#[derive(Debug)]
pub struct Agenda {
    next: AtomicU64,
    earlier: Notify,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(u64::MAX),
            earlier: Notify::new(),
        }
    }
}

impl Agenda {
    /// Something is due at this moment.
    pub(crate) fn due(&self, moment: Timestamp) {
        let moment = moment.as_millis();
        if moment < self.next.fetch_min(moment, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
    }

    /// The next moment; none if nothing is held back.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let next = self.next.load(Ordering::Acquire);
        (next != u64::MAX).then(|| Timestamp::from_millis(next))
    }

    /// Forgets the moment: whoever calls this looks at what is due, and tells what comes after. What is told meanwhile
    /// stays.
    pub(crate) fn forget(&self) {
        self.next.store(u64::MAX, Ordering::Release);
    }

    /// Resolves when the moment has become earlier.
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
