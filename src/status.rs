//! How things stand, as `/notifications/status` tells it: a reader sees their own, an admin sees the hub.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::auth::{Scope, Scopes};
use crate::clock::Timestamp;
use crate::inbox::Unread;
use crate::registry::Registry;
use crate::store::Counts;

/// The answer of `/notifications/status`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// What a reader may know.
    Reader {
        /// Their own streams.
        streams: OwnStreams,
        /// How much of their inbox is unread.
        unread: Unread,
        /// What more they may do.
        scopes: Vec<Scope>,
    },
    /// What an admin may know: one entry for each hub that serves the log.
    Admin {
        /// This hub.
        hubs: Vec<HubStatus>,
    },
}

/// A reader's own streams.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OwnStreams {
    /// How many are open.
    pub own: usize,
}

/// One hub.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HubStatus {
    /// Open streams.
    pub streams: Streams,
    /// What waits.
    pub queue: Queue,
    /// What is kept.
    pub stored: Stored,
    /// What has been done since the start.
    pub counts: Done,
    /// Whether it is stopping.
    pub draining: bool,
    /// The version that runs.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_seconds: u64,
}

/// Open streams.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Streams {
    /// All of them.
    pub total: usize,
    /// How many users hold them.
    pub users: usize,
    /// For each role, how many of its streams are open.
    pub by_role: BTreeMap<Arc<str>, usize>,
}

/// What waits.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Entries committed and not yet through the fan-out.
    pub depth: u64,
    /// Recipients who have not taken a notification, and are asked after again.
    pub pending: u64,
    /// Recipients who did not take a notification; they get it when they come back.
    pub failed: u64,
    /// Notifications that are held back until their time.
    pub scheduled: u64,
    /// How long the oldest of the pending has waited, in milliseconds.
    pub oldest_ms: u64,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stored {
    /// Notifications.
    pub notifications: u64,
    /// Broadcasts.
    pub broadcasts: u64,
}

/// What has been done since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Done {
    /// Accepted from publishers.
    pub published: u64,
    /// Handed to streams.
    pub delivered: u64,
}

/// What an admin's view is made from.
pub(crate) struct Snapshot<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) stored: Counts,
    pub(crate) depth: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) draining: bool,
    pub(crate) uptime: Duration,
    pub(crate) now: Timestamp,
}

impl Status {
    pub(crate) fn reader(own: usize, unread: Unread, scopes: Scopes) -> Self {
        Self::Reader {
            streams: OwnStreams { own },
            unread,
            scopes: scopes.list(),
        }
    }

    pub(crate) fn admin(snapshot: Snapshot<'_>) -> Self {
        let oldest = snapshot
            .stored
            .oldest_owed
            .map(|moment| snapshot.now.since(moment));
        Self::Admin {
            hubs: vec![HubStatus {
                streams: Streams {
                    total: snapshot.registry.total(),
                    users: snapshot.registry.users(),
                    by_role: snapshot.registry.by_role().into_iter().collect(),
                },
                queue: Queue {
                    depth: snapshot.depth,
                    pending: snapshot.stored.owed,
                    failed: snapshot.stored.failed,
                    scheduled: snapshot.stored.scheduled,
                    oldest_ms: oldest
                        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                },
                stored: Stored {
                    notifications: snapshot.stored.notifications,
                    broadcasts: snapshot.stored.broadcasts,
                },
                counts: Done {
                    published: snapshot.published,
                    delivered: snapshot.delivered,
                },
                draining: snapshot.draining,
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: snapshot.uptime.as_secs(),
            }],
        }
    }
}
