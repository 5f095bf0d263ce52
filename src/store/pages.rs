//! What a stream reads: where it begins, and pages of the log.

use super::Viewer;
use crate::clock::Timestamp;
use crate::inbox::Unread;
use crate::log::Position;
use crate::notification::Entry;

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
