//! Reading the inbox: how much is unread, and marking it read.
//!
//! A mark is a commit and a word to the user's streams, and whoever asked for it may hang up between the two. So both
//! are one task of the hub's own: a stream never keeps showing a count that is no longer true.

use std::sync::Arc;

use uuid::Uuid;

use super::{Hub, Inner};
use crate::auth::User;
use crate::clock::Timestamp;
use crate::inbox::Unread;
use crate::log::{Cursor, Position};
use crate::store::{Marked, StoreError, Viewer};

/// Why nothing was marked read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such notification in the caller's inbox.
    #[error("there is no such notification in this inbox")]
    Unknown,
    /// The event id is not of this log, or the log has not come that far.
    #[error("is not an event id of this hub's log")]
    NotOfThisLog,
    /// The hub has stopped.
    #[error("the hub is stopping")]
    Draining,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be marked.
enum Which {
    One(Uuid),
    AllUpTo(Option<Position>),
}

impl Hub {
    /// How much of a user's inbox is unread.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn unread(&self, user: &User) -> Result<Unread, StoreError> {
        self.0.store.unread(user.into(), Timestamp::now()).await
    }

    /// Marks one notification of a user's inbox read, and tells their streams the new count. Once more is no error.
    ///
    /// # Errors
    /// [`ReadError::Unknown`] also for what is somebody else's, and for a broadcast, which is in nobody's inbox.
    pub async fn mark_read(&self, user: &User, id: Uuid) -> Result<(), ReadError> {
        match self.mark(user, Which::One(id)).await? {
            Marked::Unknown => Err(ReadError::Unknown),
            Marked::Changed | Marked::Unchanged => Ok(()),
        }
    }

    /// Marks all of a user's inbox read up to an event id, or up to the last notification there is, and tells their
    /// streams the new count. What is read stays read: an earlier id than before changes nothing.
    ///
    /// # Errors
    /// [`ReadError::NotOfThisLog`] for an id that this hub has not given.
    pub async fn mark_all_read(&self, user: &User, upto: Option<&str>) -> Result<(), ReadError> {
        let upto = match upto.map(|id| self.0.epoch.locate(id)) {
            None => None,
            Some(Cursor::At(position)) => Some(position),
            Some(Cursor::None | Cursor::Foreign) => return Err(ReadError::NotOfThisLog),
        };
        match self.mark(user, Which::AllUpTo(upto)).await? {
            Marked::Unknown => Err(ReadError::NotOfThisLog),
            Marked::Changed | Marked::Unchanged => Ok(()),
        }
    }

    async fn mark(&self, user: &User, which: Which) -> Result<Marked, ReadError> {
        if self.0.stop.is_cancelled() {
            return Err(ReadError::Draining);
        }
        let (hub, viewer) = (Arc::clone(&self.0), Viewer::from(user));
        let marking = self.0.tasks.spawn(async move {
            let marked = hub.write_mark(&viewer, which).await?;
            // A stream that is opened after this look begins with the new count anyway.
            if marked == Marked::Changed && hub.registry.of_user(&viewer.user) > 0 {
                hub.fanout.inbox_changed(viewer.user).await;
            }
            Ok::<_, StoreError>(marked)
        });
        match marking.await {
            Ok(marked) => Ok(marked?),
            Err(error) => {
                Err(StoreError::Unavailable(format!("the mark was cut off: {error}")).into())
            }
        }
    }
}

impl Inner {
    async fn write_mark(&self, viewer: &Viewer, which: Which) -> Result<Marked, StoreError> {
        let now = Timestamp::now();
        match which {
            Which::One(id) => self.store.mark_read(viewer.clone(), id, now).await,
            Which::AllUpTo(upto) => {
                let user = Arc::clone(&viewer.user);
                self.store.mark_all_read(user, upto, now).await
            }
        }
    }
}
