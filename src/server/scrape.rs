//! The second address, for Prometheus: `/metrics` and `/healthz` without credentials, under the same rules of accepting
//! as the first. Meant for a network that only the operator reaches.
//!
//! It is there for as long as the hub is, its stop included: how a hub goes down can be watched.

use std::future::Future;

use tokio::net::TcpListener;

use super::accept::{Acceptor, Bounds};
use crate::config::Config;
use crate::http::scraping;
use crate::hub::Hub;

/// A few scrapers, and a person with curl.
const BOUNDS: Bounds = Bounds {
    connections: 16,
    per_address: usize::MAX,
    refusals: 4,
};

/// The address while it is served.
pub(super) struct Scrape {
    listener: TcpListener,
    acceptor: Acceptor,
}

impl Scrape {
    pub(super) fn new(listener: TcpListener, hub: Hub, config: &Config) -> Self {
        Self {
            listener,
            acceptor: Acceptor::new(scraping(hub.clone(), config), hub, config, BOUNDS),
        }
    }

    /// Serves until `work` is done; then cuts what is left, and returns when it has ended.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.acceptor.run(&self.listener) => match never {},
        };
        self.acceptor.cut().await;
        done
    }
}
