//! Cancelling: what is held back is not released, and what nobody took is withdrawn.

use std::sync::Arc;

use super::Hub;
use crate::clock::Timestamp;
use crate::delivery::Which;
use crate::events;
use crate::store::{Cancel, Cancelled, StoreError};

/// Why nothing was cancelled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such notification, or somebody else published it.
    #[error("there is no such notification")]
    Unknown,
    /// It is on its way, or somebody has it.
    #[error("it is on its way, or somebody has it")]
    TooLate,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// Cancels a notification that is held back, or that has failed for all its recipients: the latter is then in nobody's
    /// inbox, and nobody is sent it when they come back. Once more is no error.
    ///
    /// With `publisher`, only if they published it.
    ///
    /// # Errors
    /// [`CancelError`]; then nothing was changed.
    pub async fn cancel(
        &self,
        which: Which,
        publisher: Option<Arc<str>>,
        by: Arc<str>,
    ) -> Result<(), CancelError> {
        let cancel = Cancel {
            which,
            publisher,
            by: Arc::clone(&by),
            now: Timestamp::now(),
        };
        let hub = Arc::clone(&self.0);
        // Whoever asked may hang up; what was withdrawn is told to those who were counting it all the same.
        let cancelling = self.0.tasks.spawn(async move {
            let cancelled = hub.store.cancel(cancel).await?;
            if let Cancelled::Now { id, position, told } = &cancelled {
                if let Some(position) = position {
                    hub.fanout.withdraw(*position).await;
                }
                hub.metrics.cancelled();
                tracing::info!(
                    event = events::NOTIFICATION_CANCELLED,
                    notification = %id,
                    %by,
                    "a notification was cancelled"
                );
                for user in told {
                    if hub.registry.of_user(user) > 0 {
                        hub.fanout.inbox_changed(Arc::clone(user)).await;
                    }
                }
            }
            Ok::<_, StoreError>(cancelled)
        });
        let cancelled = cancelling
            .await
            .map_err(|error| StoreError::Unavailable(format!("it was cut off: {error}")))??;
        match cancelled {
            Cancelled::Now { .. } | Cancelled::Before => Ok(()),
            Cancelled::TooLate => Err(CancelError::TooLate),
            Cancelled::Unknown => Err(CancelError::Unknown),
        }
    }
}
