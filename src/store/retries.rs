//! Asking again those who are owed.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::log::Position;

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
