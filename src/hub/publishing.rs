//! Publishing: from a validated draft to an answer that holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::sleep;
use uuid::Uuid;

use super::Hub;
use crate::clock::Timestamp;
use crate::events;
use crate::fanout::Passing;
use crate::log::Position;
use crate::notification::{Ephemeral, Notification, Validated};
use crate::reference::Reference;
use crate::store::{Appended, Placed, Refused, StoreError};

/// How soon a publisher that found the queue full may try again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// How often a reference is drawn before the notification is given up.
const REFERENCE_TRIES: u32 = 3;
/// The wait before another is drawn: so long after the first, twice as long after the second.
const REFERENCE_WAIT: Duration = Duration::from_millis(50);

/// What a publisher is told once its notification is durable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The notification's id.
    pub notification_id: Uuid,
    /// `<epoch>-<position>`: what streams carry as its `id:`. An ephemeral one has none, and one that is held back has none
    /// yet.
    pub event_id: Option<String>,
    /// Where it stands.
    pub status: Published,
    /// When the hub accepted it, in RFC 3339.
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: Timestamp,
    /// Its number for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Arc<str>>,
    /// The key had this answer already: nothing was made now.
    pub duplicate: bool,
    /// A throttle held it off; this is the one that was accepted last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub throttled: bool,
}

impl Receipt {
    /// Whether anything was made by the request that it answers.
    pub const fn is_new(&self) -> bool {
        !self.duplicate && !self.throttled
    }
}

/// What has become of a notification when its publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Published {
    /// Stored, and held back until its time.
    Scheduled,
    /// Stored, and on its way.
    Pending,
    /// Passed on to the streams that are live, and not kept.
    Sent,
}

fn as_rfc3339<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

/// Why something was not published. Nothing was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// More is committed and not yet delivered than `delivery.max_queue`.
    #[error("too much is waiting for delivery")]
    Busy {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The hub has stopped.
    #[error("the hub is stopping")]
    Draining,
    /// What is stored stands against it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// Publishes one validated draft; returns once it is durable, or, if it is ephemeral, on its way.
    ///
    /// Dropping the future half way loses nothing: what was handed to the store is committed and delivered.
    ///
    /// # Errors
    /// [`PublishError`]; then nothing was stored.
    pub async fn publish(&self, validated: Validated) -> Result<Receipt, PublishError> {
        let notification = match validated {
            Validated::Notification(notification) => notification,
            Validated::Ephemeral(ephemeral) => return self.pass_on(&ephemeral),
        };
        match self.publish_all(vec![notification]).await?.pop() {
            Some(outcome) => Ok(outcome?),
            None => Err(StoreError::Unavailable("it gave no answer".into()).into()),
        }
    }

    /// Publishes several in one commit, in this order; one against which something stands is left out, and says so. Those
    /// whose drawn reference was taken are tried again, in a commit of their own.
    ///
    /// # Errors
    /// [`PublishError`]; then nothing of it was stored.
    pub async fn publish_all(
        &self,
        notifications: Vec<Notification>,
    ) -> Result<Vec<Result<Receipt, Refused>>, PublishError> {
        let drafts = notifications.len();
        let published = self.store_all(notifications).await;
        self.note_refusals(&published, drafts);
        published
    }

    async fn store_all(
        &self,
        notifications: Vec<Notification>,
    ) -> Result<Vec<Result<Receipt, Refused>>, PublishError> {
        let hub = &*self.0;
        if hub.stop.is_cancelled() {
            return Err(PublishError::Draining);
        }
        if self.depth() >= hub.config.delivery.max_queue as u64 {
            return Err(PublishError::Busy {
                retry_after: FULL_RETRY,
            });
        }
        let keys: Vec<Option<(Arc<str>, Arc<str>)>> =
            notifications.iter().map(publisher_and_key).collect();
        let mut drawing: Vec<(usize, Notification)> = notifications
            .iter()
            .enumerate()
            .filter(|(_, notification)| matches!(notification.reference, Some(Reference::Draw(_))))
            .map(|(index, notification)| (index, notification.clone()))
            .collect();
        let mut outcomes = hub.store.append(notifications).await?;
        for attempt in 1..REFERENCE_TRIES {
            drawing.retain(|(index, _)| {
                matches!(outcomes.get(*index), Some(Err(Refused::Collided(_))))
            });
            if drawing.is_empty() {
                break;
            }
            sleep(REFERENCE_WAIT * attempt).await;
            let again = drawing.iter().map(|(_, n)| n.clone()).collect();
            // If the store fails now, those of the first commit stand, and these say what they met.
            let Ok(answers) = hub.store.append(again).await else {
                break;
            };
            for ((index, _), answer) in drawing.iter().zip(answers) {
                if let Some(outcome) = outcomes.get_mut(*index) {
                    *outcome = answer;
                }
            }
        }
        let answered = outcomes.into_iter().zip(keys);
        Ok(answered
            .map(|(outcome, key)| self.receipt(outcome, key))
            .collect())
    }

    fn receipt(
        &self,
        outcome: Appended,
        key: Option<(Arc<str>, Arc<str>)>,
    ) -> Result<Receipt, Refused> {
        let hub = &*self.0;
        let reused = matches!(outcome, Err(Refused::KeyReused));
        let repeated = matches!(
            outcome,
            Ok(Placed {
                duplicate: true,
                ..
            })
        );
        if let Some((publisher, key)) = key.filter(|_| reused || repeated) {
            let outcome = if reused { "refused" } else { "answered" };
            hub.metrics.duplicate();
            tracing::info!(
                event = events::DUPLICATE_PUBLISH,
                %publisher,
                %key,
                outcome,
                "a key was used again"
            );
        }
        let placed = outcome?;
        if let Some(position) = placed.position {
            hub.head.fetch_max(position.0, Ordering::AcqRel);
        }
        if placed.throttled && !placed.duplicate {
            hub.metrics.throttled();
        }
        Ok(Receipt {
            notification_id: placed.id,
            event_id: placed
                .position
                .map(|position| hub.epoch.event_id(position).to_string()),
            status: match placed.position {
                Some(_) => Published::Pending,
                None => Published::Scheduled,
            },
            created_at: placed.created_at,
            reference: placed.reference,
            duplicate: placed.duplicate,
            throttled: placed.throttled,
        })
    }

    /// Passes an ephemeral notification on to the streams that are live: after everything that any publisher had been told
    /// of before this call, and before what is published after it.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when too many wait; then nobody gets it.
    pub fn pass_on(&self, ephemeral: &Ephemeral) -> Result<Receipt, PublishError> {
        let passed = self.hand_on(ephemeral);
        if let Err(error) = &passed {
            self.note_refusal(error, 1);
        }
        passed
    }

    fn hand_on(&self, ephemeral: &Ephemeral) -> Result<Receipt, PublishError> {
        let hub = &*self.0;
        if hub.stop.is_cancelled() {
            return Err(PublishError::Draining);
        }
        let head = Position(hub.head.load(Ordering::Acquire));
        hub.passing
            .try_send((head, Passing::from(ephemeral)))
            .map_err(|error| match error {
                TrySendError::Full(_) => PublishError::Busy {
                    retry_after: FULL_RETRY,
                },
                TrySendError::Closed(_) => PublishError::Draining,
            })?;
        hub.metrics.ephemeral();
        Ok(Receipt {
            notification_id: ephemeral.id,
            event_id: None,
            status: Published::Sent,
            created_at: ephemeral.created_at,
            reference: None,
            duplicate: false,
            throttled: false,
        })
    }
}

/// What a repeated use of its key is logged with.
fn publisher_and_key(notification: &Notification) -> Option<(Arc<str>, Arc<str>)> {
    let once = notification.once.as_ref()?;
    Some((Arc::clone(&notification.publisher), Arc::clone(&once.key)))
}
