//! What waits, what is wrong with it, and claims that are taken back by hand.

use std::sync::Arc;
use std::time::Duration;

use super::Hub;
use crate::clock::Timestamp;
use crate::diagnosis::{Diagnosis, DiagnosisQuery, LEASE};
use crate::events;
use crate::store::StoreError;
use crate::waiting::{Unlock, Unlocked, Waiting, WaitingQuery};

/// How long verdicts that were given already may take to be written before the diagnosis does without them. A disk that
/// hangs must not take along what tells of it.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
/// How long a deep look may take while the hub serves: it holds up one of the store's readers, and the write-ahead log is
/// not cut back meanwhile.
const DEEP_PATIENCE: Duration = Duration::from_secs(20);

impl Hub {
    /// What is owed to whom, and how much of everything waits.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn waiting(&self, query: WaitingQuery) -> Result<Waiting, StoreError> {
        self.0.store.waiting(query).await
    }

    /// What is wrong with the queue. A deep one looks at every row and every page of the file, if that takes no longer than
    /// 20 s.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn diagnose(&self, deep: bool) -> Result<Diagnosis, StoreError> {
        // One that fails says so itself, in the log, and what is stored can be read all the same.
        let _ = tokio::time::timeout(FLUSH_PATIENCE, self.0.store.flush()).await;
        let query = DiagnosisQuery {
            now: Timestamp::now(),
            lease: LEASE,
            deep: deep.then_some(DEEP_PATIENCE),
        };
        Ok(Diagnosis::of(self.0.store.diagnose(query).await?, true))
    }

    /// Takes back claims that are so old, for `by`; without `execute` it only says which. With `force` also those that
    /// have no attempt left. What is taken back is asked after again soon.
    ///
    /// # Errors
    /// If the store does not answer; then nothing was changed.
    pub async fn unlock(
        &self,
        older_than: Duration,
        force: bool,
        execute: bool,
        by: &str,
    ) -> Result<Unlocked, StoreError> {
        let unlock = Unlock {
            now: Timestamp::now(),
            older_than,
            max_attempts: self.0.config.delivery.max_attempts(),
            force,
            execute,
        };
        let (hub, by) = (Arc::clone(&self.0), by.to_owned());
        // Whoever asked may hang up; what was taken back is told of and asked after all the same.
        let unlocking = self.0.tasks.spawn(async move {
            let unlocked = hub.store.unlock(unlock).await?;
            if unlocked.executed && unlocked.released > 0 {
                let count = usize::try_from(unlocked.released).unwrap_or(usize::MAX);
                hub.metrics.leases_reclaimed(count);
                tracing::warn!(
                    event = events::LEASES_RECLAIMED,
                    count,
                    failed = 0,
                    by,
                    "claims were taken back by hand"
                );
                hub.owing.notify_one();
            }
            Ok(unlocked)
        });
        unlocking
            .await
            .map_err(|error| StoreError::Unavailable(format!("the claims were cut off: {error}")))?
    }
}
