//! Where a hub's store can be had: while a hub runs it has its store to itself and is asked over HTTP; when none runs,
//! the store is opened here.

use anyhow::Context;
use campanile::config::Config;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{OpenStoreError, Opened};

use crate::client::Client;
use crate::settings::authenticator;

/// A hub that runs, or the store of one that does not.
pub(crate) enum Reached {
    Running(Client),
    Stopped(Opened),
}

impl Reached {
    /// The store's lock decides: whoever holds it is the hub to ask. A store that is not there is made only if `make` says
    /// so.
    pub(crate) async fn of(config: &Config, make: bool) -> anyhow::Result<Self> {
        let path = config.serve.database_path();
        let missing = match path.try_exists() {
            Ok(true) => None,
            Ok(false) if make => None,
            Ok(false) => Some("there is none".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = missing {
            let path = path.display().to_string();
            return Err(OpenStoreError::Io { path, reason }.into());
        }
        // Whoever only looks in does not take the mark off a copy.
        let options = SqliteOptions {
            to_serve: false,
            ..SqliteOptions::default()
        };
        let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, options));
        match opened.await.context("opening the store panicked")? {
            Ok(opened) => Ok(Self::Stopped(opened)),
            Err(locked @ OpenStoreError::Locked { .. }) => {
                let client = Client::of_running(config, &authenticator(config)?);
                Ok(Self::Running(client.map_err(|error| {
                    anyhow::Error::from(locked).context(error.to_string())
                })?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of the store, if it was opened.
    pub(crate) async fn close(&self) {
        if let Self::Stopped(opened) = self {
            opened.store.close().await;
        }
    }
}
