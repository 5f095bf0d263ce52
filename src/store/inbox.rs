//! The contract's part about inboxes: what is in whose, how much of it is unread, and what marks it read.
//!
//! An inbox is kept nowhere. It is what the log holds for one viewer: notifications addressed to them by name, and those
//! for their roles or for everyone since their first visit; less what has expired or was withdrawn, and never a broadcast.

use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

use super::StoreError;
use crate::auth::User;
use crate::clock::Timestamp;
use crate::delivery::Which;
use crate::inbox::{Filter, Unread};
use crate::log::Position;

/// Which entries a stream may see, and an inbox may hold: those addressed to its user, to one of its roles, or to everyone.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The user.
    pub user: Arc<str>,
    /// Their roles, at most [`crate::notification::MAX_ROLES`].
    pub roles: Arc<[Arc<str>]>,
}

impl From<&User> for Viewer {
    fn from(user: &User) -> Self {
        Self {
            user: Arc::clone(&user.id),
            roles: Arc::clone(&user.roles),
        }
    }
}

/// What a read mark came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Something is read now that was not marked so before.
    Changed,
    /// It was read before.
    Unchanged,
    /// There is no such notification in the user's inbox; or the log has not come that far.
    Unknown,
}

/// A stretch of one viewer's inbox.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Whose inbox.
    pub viewer: Viewer,
    /// What of it.
    pub filter: Filter,
    /// What stands before this place; without it, the newest there is.
    pub before: Option<Position>,
    /// At most so many, and one at least.
    pub limit: usize,
    /// What has expired by now is left out.
    pub now: Timestamp,
}

/// A part of an inbox, the newest first.
#[derive(Clone, Debug)]
pub struct InboxSlice {
    /// What of it the filter lets through.
    pub entries: Vec<InboxEntry>,
    /// The last place that was looked at, if there is more before it.
    pub next: Option<Position>,
    /// How much of the whole inbox is unread, whatever the filter.
    pub unread: Unread,
    /// Where the log stood: no place is later.
    pub head: Position,
}

/// A notification in somebody's inbox.
#[derive(Clone, Debug)]
pub struct InboxEntry {
    /// Its place in the log.
    pub position: Position,
    /// Its id.
    pub id: Uuid,
    /// When it came into the log.
    pub created_at: Timestamp,
    /// Whether this user has read it.
    pub read: bool,
    /// The public part as one line of JSON.
    pub body: Arc<str>,
}

/// What users find when they come, and what they have read of it.
pub trait Inboxes: Send + Sync + 'static {
    /// A part of a viewer's inbox with the count of what is unread, read in one snapshot. The cost is bounded, whatever is
    /// stored: where much has to be passed over, a part may end before its limit, even with nothing in it, and says where to
    /// go on (SQLite: after 2,000 entries looked at, or 4 MiB of them read).
    fn inbox(&self, query: ListQuery) -> BoxFuture<'_, Result<InboxSlice, StoreError>>;

    /// One notification of a viewer's inbox; none if it is not in it.
    fn inbox_entry(
        &self,
        viewer: Viewer,
        which: Which,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<InboxEntry>, StoreError>>;

    /// How much of a viewer's inbox is unread. The cost is bounded, whatever is stored.
    ///
    /// What has expired by `now` does not count, unless so much has that looking at it would cost too much (SQLite: more
    /// than 1,000 of the unread).
    fn unread(&self, viewer: Viewer, now: Timestamp) -> BoxFuture<'_, Result<Unread, StoreError>>;

    /// Marks one notification of a viewer's inbox read, durably; where it names them it is sent by that, if it was owed
    /// or failed. A store may bound how many marks it keeps singly for a user above their watermark (SQLite: 5,000); with
    /// one more it raises the watermark to the oldest of them.
    fn mark_read(
        &self,
        viewer: Viewer,
        id: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>>;

    /// Marks all of a user's inbox read up to a position, or up to the head: one watermark, never lowered. Whatever
    /// was kept singly at or below it is deleted, in small steps; what was owed there to the user by name is sent.
    fn mark_all_read(
        &self,
        user: Arc<str>,
        upto: Option<Position>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>>;
}
