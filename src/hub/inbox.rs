//! Listing the inbox: a page of it, or one notification out of it, as its user would see it.
//!
//! Looking changes nothing. In particular it is no visit: what is for somebody's roles, or for everyone, is theirs from the
//! first stream on that they opened, so a listing, the count in it and the count on a stream always tell of the same.

use super::Hub;
use crate::clock::Timestamp;
use crate::delivery::Which;
use crate::inbox::{InboxItem, InboxPage, InboxQuery, MAX_PAGE};
use crate::log::Cursor;
use crate::store::{ListQuery, StoreError, Viewer};

/// Why an inbox is not listed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InboxError {
    /// The page is to begin at an event id of another log, at one that this log has not given yet, or at none at all.
    #[error("is not an event id of this hub's log")]
    NotOfThisLog,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// A page of an inbox, the newest first, with the count of what is unread in all of it. Of a [`crate::auth::User`], or
    /// of any [`Viewer`]: whoever asks for somebody else must know that they may.
    ///
    /// The page and the count are of one moment. Pages that follow each other neither skip nor repeat anything, whatever is
    /// published meanwhile; what is too old to be kept is simply not on them.
    ///
    /// # Errors
    /// [`InboxError::NotOfThisLog`] if the page is to begin at no event id of this log.
    pub async fn inbox(
        &self,
        viewer: impl Into<Viewer>,
        query: InboxQuery,
    ) -> Result<InboxPage, InboxError> {
        let before = match query.before.as_deref().map(|id| self.0.epoch.locate(id)) {
            None => None,
            Some(Cursor::At(position)) => Some(position),
            Some(Cursor::None | Cursor::Foreign) => return Err(InboxError::NotOfThisLog),
        };
        let slice = self
            .0
            .store
            .inbox(ListQuery {
                viewer: viewer.into(),
                filter: query.filter,
                before,
                limit: query.limit.clamp(1, MAX_PAGE),
                now: Timestamp::now(),
            })
            .await?;
        if before.is_some_and(|before| before > slice.head) {
            return Err(InboxError::NotOfThisLog);
        }
        Ok(InboxPage::new(slice, &self.0.epoch))
    }

    /// One notification of an inbox; none if it is not in it, whether it exists or not.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn inbox_item(
        &self,
        viewer: impl Into<Viewer>,
        which: Which,
    ) -> Result<Option<InboxItem>, StoreError> {
        let (viewer, now) = (viewer.into(), Timestamp::now());
        let entry = self.0.store.inbox_entry(viewer, which, now).await?;
        Ok(entry.map(|entry| InboxItem::new(entry, &self.0.epoch)))
    }
}
