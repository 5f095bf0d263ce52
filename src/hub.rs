//! The whole path of a notification on one page: publish it here, subscribe to it here.
//!
//! A [`Hub`] is a handle that clones cheaply. It owns what works behind it and passes things forward only: publishing
//! ends with the store's commit, which hands over to the queue, which goes through the fan-out to the streams, whose
//! verdicts go back to the store. Nothing in here waits for a reader.

mod pruning;
mod reading;
mod subscribe;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::{self, Authenticator, Caller, Scopes, StoredKey};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::fanout::{self, Counters, Fanout, Passing};
use crate::inbox::Unread;
use crate::log::{Epoch, Position};
use crate::notification::{Ephemeral, Notification, Validated};
use crate::queue::{MAX_PASSING, Queue};
use crate::rate::RateLimit;
use crate::registry::{Connection, Registry};
use crate::replay;
use crate::retention;
use crate::retry::Retry;
use crate::status::{self, Status};
use crate::store::{self, Conflict, Opened, Store, StoreError};

pub use self::pruning::PruneError;
pub use self::reading::ReadError;
pub use self::subscribe::{Subscribe, SubscribeError, Subscription};

/// Descriptors that are kept back from streams: for the store, publishers, and whoever administers.
const DESCRIPTORS_KEPT: u64 = 512;
/// How soon a publisher that found the queue full may try again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// The most streams that [`Hub::connections`] lists.
const MAX_CONNECTIONS_LISTED: usize = 10_000;

/// A notification hub: publish to it, subscribe to it.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    epoch: Epoch,
    registry: Arc<Registry>,
    fanout: Fanout,
    counters: Arc<Counters>,
    /// The last position that a publisher was told, or an earlier run left.
    head: AtomicU64,
    published: AtomicU64,
    /// To the queue, beside the log.
    passing: mpsc::Sender<(Position, Passing)>,
    authenticator: Authenticator,
    config: Config,
    tests: RateLimit,
    started: Instant,
    draining: CancellationToken,
    stop: CancellationToken,
    /// The stream thread has ended by itself.
    failed: CancellationToken,
    /// What ends when told to stop.
    tasks: TaskTracker,
    /// Reads the log for the stream thread, and ends after it.
    replay: TaskTracker,
}

/// What a publisher is told once its notification is durable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The notification's id.
    pub notification_id: Uuid,
    /// `<epoch>-<position>`: what streams carry as its `id:`. An ephemeral one has none.
    pub event_id: Option<String>,
    /// Where it stands.
    pub status: Published,
    /// When the hub accepted it, in RFC 3339.
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: Timestamp,
}

/// What has become of a notification when its publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Published {
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
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the hub is not ready for traffic.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotReady {
    /// It is stopping.
    #[error("draining")]
    Draining,
    /// Its store does not answer.
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Starts the hub on an open store: takes up what an earlier run left, then is ready.
    ///
    /// # Errors
    /// If the store does not answer, or the stream thread cannot be started.
    pub async fn start(
        opened: Opened,
        config: &Config,
        authenticator: Authenticator,
    ) -> Result<Hub, StoreError> {
        let Opened {
            store,
            committed,
            log,
        } = opened;
        authenticator.keys().load(store.keys().await?);
        let max_streams = match config.stream.max {
            0 => descriptors_for_streams(),
            max => max,
        };
        let registry = Registry::new(config.stream.per_user, max_streams);
        let counters = Arc::new(Counters::default());
        let owing = Arc::new(Notify::new());
        let (pages, requests) = mpsc::channel(max_streams.max(1));
        let (pass, passing) = mpsc::channel(MAX_PASSING);
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let fanout = Fanout::start(fanout::Parts {
            settings: fanout::Settings {
                heartbeat: config.stream.heartbeat,
                idle_limit: config.stream.idle_limit,
                sweep: config.stream.sweep,
                retry_min: config.stream.retry_min,
                retry_max: config.stream.retry_max,
            },
            epoch: log.epoch.clone(),
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            pages,
            owing: Arc::clone(&owing),
            counters: Arc::clone(&counters),
            stop: stop.clone(),
            failed: failed.clone(),
            fanned: log.settled,
        })
        .map_err(|error| StoreError::Unavailable(format!("no stream thread: {error}")))?;

        let draining = CancellationToken::new();
        let (tasks, replay) = (TaskTracker::new(), TaskTracker::new());
        replay.spawn(replay::run(
            requests,
            Arc::clone(&store),
            fanout.inbox(),
            log.epoch.clone(),
            Arc::clone(&counters),
            config.stream.replay_page,
        ));
        let mut queue = Queue {
            store: Arc::clone(&store),
            fanout: fanout.clone(),
            epoch: log.epoch.clone(),
            committed,
            passing,
            waiting: VecDeque::new(),
            pace: config.delivery.pace,
            safety_look: config.delivery.safety_look,
            place: log.settled,
            stop: stop.clone(),
        };
        if let Err(error) = queue.begin().await {
            stop.cancel();
            fanout.stop().await;
            return Err(error);
        }
        tasks.spawn(queue.run());
        let retry = Retry {
            store: Arc::clone(&store),
            delays: config.delivery.retry.clone().into(),
            start_grace: config.delivery.start_grace,
            owing,
        };
        tasks.spawn(retry.run(draining.clone()));
        let kept = store::Retention::from(&config.retention);
        tasks.spawn(retention::run(Arc::clone(&store), kept, stop.clone()));
        tasks.close();
        replay.close();

        Ok(Self(Arc::new(Inner {
            store,
            epoch: log.epoch,
            registry,
            fanout,
            counters,
            head: AtomicU64::new(log.head.0),
            published: AtomicU64::new(0),
            passing: pass,
            authenticator,
            config: config.clone(),
            tests: RateLimit::per_minute(config.test_rate.per_minute),
            started: Instant::now(),
            draining,
            stop,
            failed,
            tasks,
            replay,
        })))
    }

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
            Some(Ok(receipt)) => Ok(receipt),
            Some(Err(conflict)) => Err(StoreError::Conflict(conflict.0).into()),
            None => Err(StoreError::Unavailable("it gave no answer".into()).into()),
        }
    }

    /// Publishes several in one commit, in this order. One that breaks a constraint is left out, and says so.
    ///
    /// # Errors
    /// [`PublishError`]; then nothing of it was stored.
    pub async fn publish_all(
        &self,
        notifications: Vec<Notification>,
    ) -> Result<Vec<Result<Receipt, Conflict>>, PublishError> {
        let hub = &*self.0;
        if hub.stop.is_cancelled() {
            return Err(PublishError::Draining);
        }
        if self.depth() >= hub.config.delivery.max_queue as u64 {
            return Err(PublishError::Busy {
                retry_after: FULL_RETRY,
            });
        }
        let told: Vec<(Uuid, Timestamp)> = notifications
            .iter()
            .map(|notification| (notification.id, notification.created_at))
            .collect();
        let appended = hub.store.append(notifications).await?;
        let receipts = told
            .into_iter()
            .zip(appended)
            .map(|((id, created_at), appended)| {
                let position = appended?;
                hub.head.fetch_max(position.0, Ordering::AcqRel);
                hub.published.fetch_add(1, Ordering::Relaxed);
                Ok(Receipt {
                    notification_id: id,
                    event_id: Some(hub.epoch.event_id(position).to_string()),
                    status: Published::Pending,
                    created_at,
                })
            });
        Ok(receipts.collect())
    }

    /// Passes an ephemeral notification on to the streams that are live: after everything that any publisher had been told
    /// of before this call, and before what is published after it.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when too many wait; then nobody gets it.
    pub fn pass_on(&self, ephemeral: &Ephemeral) -> Result<Receipt, PublishError> {
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
        hub.published.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt {
            notification_id: ephemeral.id,
            event_id: None,
            status: Published::Sent,
            created_at: ephemeral.created_at,
        })
    }

    /// Whether a user may send themselves another test notification; otherwise how long to wait.
    ///
    /// # Errors
    /// The time to wait, when they have sent `test_rate.per_minute` within a minute.
    pub fn test_allowed(&self, user: &str) -> Result<(), Duration> {
        self.0.tests.take(user, Instant::now())
    }

    /// Who may do what: tokens and keys.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Makes an API key; the text is shown once and kept hashed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the name is taken.
    pub async fn create_key(
        &self,
        name: &str,
        scopes: Scopes,
    ) -> Result<(String, StoredKey), StoreError> {
        let (text, key) = auth::new_key(name, scopes, Timestamp::now());
        self.0.store.insert_key(key.clone()).await?;
        self.0.authenticator.keys().insert(key.clone());
        Ok((text, key))
    }

    /// Every API key, revoked ones too.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        self.0.store.keys().await
    }

    /// Revokes a key at once; false if there is none of that name.
    ///
    /// # Errors
    /// If the store does not answer; the key is then still valid.
    pub async fn revoke_key(&self, name: &str) -> Result<bool, StoreError> {
        let revoked = self
            .0
            .store
            .revoke_key(name.to_owned(), Timestamp::now())
            .await?;
        self.0.authenticator.keys().revoke(name);
        Ok(revoked)
    }

    /// How things stand, as far as the caller may know.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn status(&self, caller: &Caller) -> Result<Status, StoreError> {
        let hub = &*self.0;
        if !caller.scopes().admin {
            let (own, unread) = match caller.user() {
                Some(user) => (hub.registry.of_user(&user.id), self.unread(user).await?),
                None => (0, Unread::counted(0)),
            };
            return Ok(Status::reader(own, unread));
        }
        Ok(Status::admin(status::Snapshot {
            registry: &hub.registry,
            stored: hub.store.counts().await?,
            depth: self.depth(),
            published: hub.published.load(Ordering::Relaxed),
            delivered: hub.counters.delivered.load(Ordering::Relaxed),
            draining: self.is_draining(),
            uptime: hub.started.elapsed(),
            now: Timestamp::now(),
        }))
    }

    /// The open streams, at most 10,000 of them.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.registry.connections(MAX_CONNECTIONS_LISTED)
    }

    /// Whether the hub is ready for traffic.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.is_draining() {
            return Err(NotReady::Draining);
        }
        Ok(self.0.store.ready().await?)
    }

    /// Whether it is on its way down.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Takes no new streams, says bye to every open one, and returns when all have gone. Publishing still works.
    pub async fn drain(&self) {
        self.0.draining.cancel();
        self.0.fanout.drain().await;
    }

    /// Cuts the streams that are left, takes the rest of the log through the queue, writes every verdict, and joins all
    /// that was started. Whatever is called afterwards is refused.
    pub async fn close(&self) {
        let hub = &*self.0;
        hub.draining.cancel();
        hub.stop.cancel();
        hub.tasks.wait().await;
        hub.fanout.stop().await;
        hub.replay.wait().await;
        if let Err(error) = hub.store.flush().await {
            tracing::warn!(%error, "the last verdicts could not be written: their notifications may be sent again");
        }
        hub.store.close().await;
    }

    /// Resolves, with the reason, when the hub cannot go on (its store is damaged, or its stream thread has ended): whoever
    /// serves it should stop then.
    pub fn damaged(&self) -> impl Future<Output = String> + Send + 'static {
        let (store, failed) = (Arc::clone(&self.0.store), self.0.failed.clone());
        async move {
            tokio::select! {
                what = store.damaged() => format!("the store is damaged: {what}"),
                () = failed.cancelled() => "the stream thread has ended".to_owned(),
            }
        }
    }

    /// How many entries are committed and not yet through the fan-out.
    fn depth(&self) -> u64 {
        let fanned = self.0.counters.fanned.load(Ordering::Acquire);
        self.0.head.load(Ordering::Acquire).saturating_sub(fanned)
    }
}

/// As many streams as there are descriptors, less those kept back.
fn descriptors_for_streams() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(1 << 20);
    let streams = limit.saturating_sub(DESCRIPTORS_KEPT).max(limit / 2);
    usize::try_from(streams).unwrap_or(usize::MAX).min(1 << 20)
}
