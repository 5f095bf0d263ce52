//! The hub as seen from outside: its numbers for Prometheus.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Hub, PublishError, Receipt, SubscribeError};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::metrics::{self, Metrics, Refused, Shut, Snapshot, Stored};
use crate::store::{self, StoreError};

/// How long the store may take to answer. A disk that hangs must not take the numbers that tell of it along.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

impl Hub {
    /// Everything that the hub counts and holds, in Prometheus' text format, version 0.0.4. An application that has
    /// the hub in it appends this to its own: every name begins with `campanile_`.
    ///
    /// What only the store knows is left out if it does not answer within 2 s; `campanile_store_ready` is then 0.
    pub async fn metrics(&self) -> String {
        let hub = &*self.0;
        let stored = tokio::time::timeout(STORE_PATIENCE, self.stored()).await;
        metrics::render(&Snapshot {
            metrics: &hub.metrics,
            counters: &hub.counters,
            commits: hub.store.commits(),
            registry: &hub.registry,
            stored: stored.ok().and_then(Result::ok),
            depth: self.depth(),
            unwritten: hub.store.unwritten(),
            draining: self.is_draining(),
            started: hub.started_at,
            now: Timestamp::now(),
        })
    }

    async fn stored(&self) -> Result<Stored, StoreError> {
        let hub = &*self.0;
        hub.store.ready().await?;
        let oldest_queued = if self.depth() > 0 {
            let next = hub
                .store
                .entries(Position(hub.counters.fanned.load(Ordering::Acquire)), 1)
                .await?;
            next.first().map(|entry| entry.created_at)
        } else {
            None
        };
        Ok(Stored {
            counts: hub.store.counts().await?,
            outbox: hub.store.outbox_counts().await?,
            oldest_queued,
        })
    }

    /// Where whoever answers for the hub counts what the hub itself does not see.
    pub(crate) fn counted(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Takes note of what was not published, of so many drafts.
    pub(super) fn note_refusals(
        &self,
        published: &Result<Vec<Result<Receipt, store::Refused>>, PublishError>,
        drafts: usize,
    ) {
        match published {
            Ok(receipts) => {
                let left_out = receipts.iter().filter_map(|receipt| receipt.as_ref().err());
                left_out.for_each(|refused| self.0.metrics.refused(refused.into(), 1));
            }
            Err(error) => self.note_refusal(error, drafts),
        }
    }

    /// Takes note of why so many drafts were not published.
    pub(super) fn note_refusal(&self, error: &PublishError, drafts: usize) {
        let reason = match error {
            PublishError::Busy { .. } => Refused::Busy,
            PublishError::Draining => Refused::Draining,
            PublishError::Refused(refused) => refused.into(),
            PublishError::Store(StoreError::Full) => Refused::StoreFull,
            PublishError::Store(_) => Refused::StoreUnavailable,
        };
        self.0.metrics.refused(reason, drafts);
    }
}

impl From<&store::Refused> for Refused {
    fn from(refused: &store::Refused) -> Self {
        match refused {
            store::Refused::Lapsed => Self::Invalid,
            store::Refused::TooManyScheduled => Self::Busy,
            store::Refused::KeyReused
            | store::Refused::ReferenceTaken(_)
            | store::Refused::Collided(_)
            | store::Refused::Conflict(_) => Self::Conflict,
        }
    }
}

impl Shut {
    /// None where it was the credentials: nobody was shut out.
    pub(super) fn of(error: &SubscribeError) -> Option<Self> {
        match error {
            SubscribeError::Draining => Some(Self::Draining),
            SubscribeError::TooManyStreams => Some(Self::User),
            SubscribeError::AddressFull => Some(Self::Address),
            SubscribeError::Rush => Some(Self::Rush),
            SubscribeError::Full => Some(Self::Full),
            SubscribeError::Store(_) => Some(Self::Store),
            SubscribeError::Revoked => None,
        }
    }
}
