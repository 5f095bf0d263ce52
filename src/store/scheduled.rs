//! What is held back until its time, and what is taken back.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::delivery::Which;
use crate::log::Position;

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
