//! Pruning by hand: the same steps as the hub takes by itself, with other ages, when an administrator asks.

use super::Hub;
use crate::clock::Timestamp;
use crate::config::{InvalidValue, Retention};
use crate::retention;
use crate::store::{Aged, Pruned, StoreError};

/// Why nothing was pruned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PruneError {
    /// An age that is not allowed; its key is that of the configuration.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// How long things are kept here.
    pub fn retention(&self) -> &Retention {
        &self.0.config.retention
    }

    /// Deletes what is older than `kept` says: one step, at most 100 things, so that publishers hardly wait. Whoever
    /// wants all of it gone asks again while there is more.
    ///
    /// # Errors
    /// [`PruneError`].
    pub async fn prune(&self, kept: &Retention) -> Result<Pruned, PruneError> {
        kept.validate()?;
        let hub = &*self.0;
        Ok(retention::step(&*hub.store, &hub.fanout, &hub.metrics, kept.into()).await?)
    }

    /// How much is older than `kept` says.
    ///
    /// # Errors
    /// [`PruneError`].
    pub async fn aged(&self, kept: &Retention) -> Result<Aged, PruneError> {
        kept.validate()?;
        Ok(self.0.store.aged(Timestamp::now(), kept.into()).await?)
    }
}
