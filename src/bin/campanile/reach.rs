//! Where the store of a data directory can be had. A running hub has it to itself, so then it is asked over HTTP; when
//! none runs, the store is opened here.

use std::sync::Arc;

use anyhow::Context;
use campanile::config::Config;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{OpenStoreError, Store};

use crate::client::Client;
use crate::settings::authenticator;

/// One or the other.
pub(crate) enum Reached {
    Hub(Client),
    Store(Arc<dyn Store>),
}

impl Reached {
    /// The store's lock decides: whoever holds it is the hub to ask. A store that is not there is made if `make` says so.
    pub(crate) async fn of(config: &Config, make: bool) -> anyhow::Result<Self> {
        let path = config.serve.database_path();
        if !path.exists() && !make {
            return Err(OpenStoreError::Io {
                path: path.display().to_string(),
                reason: "there is none".to_owned(),
            }
            .into());
        }
        let options = SqliteOptions {
            to_serve: false,
            ..SqliteOptions::default()
        };
        let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, options));
        match opened.await.context("opening the store panicked")? {
            Ok(opened) => Ok(Self::Store(opened.store)),
            Err(locked @ OpenStoreError::Locked { .. }) => {
                let client = Client::of_running(config, &authenticator(config)?);
                Ok(Self::Hub(client.map_err(|error| {
                    anyhow::Error::from(locked).context(error.to_string())
                })?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what is waiting, and lets go.
    pub(crate) async fn close(&self) {
        if let Self::Store(store) = self {
            store.close().await;
        }
    }
}
