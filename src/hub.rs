//! The whole path of a notification on one page: publish it here, subscribe to it here.
//!
//! A [`Hub`] is a handle that clones cheaply. It owns what works behind it and passes things forward only: publishing
//! ends with the store's commit, which hands over to the queue, which goes through the fan-out to the streams, whose
//! verdicts go back to the store. Nothing in here waits for a reader.

mod cancelling;
mod inbox;
mod observe;
mod opener;
mod opening;
mod pruning;
mod publishing;
mod reading;
mod reminding;
mod revoking;
mod subscribe;
mod waiting;
mod webhooks;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address;
use crate::auth::{self, Authenticator, Caller, Scopes, StoredKey, User};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::delivery::{DeliveryPage, DeliveryQuery, Lookup, LookupQuery, Which};
use crate::events;
use crate::fanout::{self, Counters, Fanout, Passing};
use crate::inbox::Unread;
use crate::log::{Epoch, Position};
use crate::metrics::{Metrics, Refused};
use crate::queue::{MAX_PASSING, Queue};
use crate::rate::{RateLimit, Seldom};
use crate::registry::{Caps, Connection, Registry};
use crate::replay;
use crate::retention;
use crate::retry::Retry;
use crate::schedule::Schedule;
use crate::status::{self, Status};
use crate::store::{self, Duplicate, DuplicateQuery, Opened, Store, StoreError, Viewer};
use crate::webhooks::{Dispatch, Reach, Sender, Settled, SystemResolver};

use self::opener::{Opener, Wanted};
use self::opening::Openings;
pub(crate) use self::opening::TakenTurn;

pub use self::cancelling::CancelError;
pub use self::inbox::InboxError;
pub use self::pruning::PruneError;
pub use self::publishing::{PublishError, Published, Receipt};
pub use self::reading::ReadError;
pub use self::reminding::{Named, Sweep};
pub use self::revoking::UserRevoked;
pub use self::subscribe::{Subscribe, SubscribeError, Subscription};
pub use self::webhooks::TestError;
pub use crate::rate::OverRate;

/// Descriptors that are kept back from streams: for the store, publishers, and whoever administers.
const DESCRIPTORS_KEPT: u64 = 512;
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
    head: Arc<AtomicU64>,
    /// To the queue, beside the log.
    passing: mpsc::Sender<(Position, Passing)>,
    metrics: Arc<Metrics>,
    /// Told when somebody is owed something new.
    owing: Arc<Notify>,
    /// Sends webhooks, and knows where they may go.
    sender: Arc<Sender>,
    /// Told whenever a webhook has come to something.
    webhook_settled: Settled,
    authenticator: Authenticator,
    config: Config,
    tests: RateLimit,
    /// None if publishers may publish as much as they like.
    publishing: Option<RateLimit>,
    openings: Openings,
    /// To the one that opens streams.
    wanted: mpsc::Sender<Wanted>,
    telling_of_limits: Seldom,
    started: Instant,
    started_at: Timestamp,
    draining: CancellationToken,
    stop: CancellationToken,
    /// The stream thread has ended by itself.
    failed: CancellationToken,
    /// What ends when told to stop.
    tasks: TaskTracker,
    /// Reads the log for the stream thread, and ends after it.
    replay: TaskTracker,
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
        let revoked = store.revoked_users().await?;
        authenticator.revocations().add(revoked);
        let max_streams = match config.stream.max {
            0 => descriptors_for_streams(),
            max => max,
        };
        let registry = Registry::new(Caps {
            per_user: config.stream.per_user,
            per_address: address::cap(config.stream.per_address, max_streams),
            max: max_streams,
        });
        let counters = Arc::new(Counters::default());
        let metrics = Arc::new(Metrics::default());
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
                recent_bytes: config.stream.recent_bytes,
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
            owing: Arc::clone(&owing),
            metrics: Arc::clone(&metrics),
            claimed: Vec::new(),
        };
        tasks.spawn(retry.run(draining.clone()));
        let head = Arc::new(AtomicU64::new(log.head.0));
        let schedule = Schedule {
            store: Arc::clone(&store),
            counters: Arc::clone(&counters),
            metrics: Arc::clone(&metrics),
            head: Arc::clone(&head),
            max_depth: (config.delivery.max_queue as u64).div_ceil(2),
        };
        tasks.spawn(schedule.run(draining.clone()));
        let reach = Reach {
            allow: config.webhooks.allow.clone().into(),
            allow_http: config.webhooks.allow_http,
        };
        let resolver = Arc::new(SystemResolver);
        let sender = Arc::new(Sender::new(reach, resolver, config.webhooks.timeout));
        let webhook_settled = Settled::default();
        let dispatch = Dispatch {
            store: Arc::clone(&store),
            sender: Arc::clone(&sender),
            schedule: (&config.webhooks).into(),
            pace: config.webhooks.pace,
            admin_roles: config.webhooks.admin_roles.clone(),
            metrics: Arc::clone(&metrics),
            head: Arc::clone(&head),
            settled: Arc::clone(&webhook_settled),
        };
        tasks.spawn(dispatch.run(draining.clone()));
        // Nobody waits to hand one in: there are no more turns than places here.
        let (want, wanted) = mpsc::channel(opening::AT_A_TIME);
        let opener = Opener {
            fanout: fanout.clone(),
            store: Arc::clone(&store),
            epoch: log.epoch.clone(),
            config: config.stream.clone(),
            wanted,
        };
        tasks.spawn(opener.run(stop.clone()));
        let kept = store::Retention::from(&config.retention);
        let pruning = retention::run(
            Arc::clone(&store),
            fanout.clone(),
            kept,
            Arc::clone(&metrics),
            stop.clone(),
        );
        tasks.spawn(pruning);
        for fetching in authenticator.fetching(&stop) {
            tasks.spawn(fetching);
        }
        tasks.close();
        replay.close();

        Ok(Self(Arc::new(Inner {
            store,
            epoch: log.epoch,
            registry,
            fanout,
            counters,
            head,
            passing: pass,
            metrics,
            owing,
            sender,
            webhook_settled,
            authenticator,
            config: config.clone(),
            tests: RateLimit::per_minute(config.test_rate.per_minute),
            publishing: publishing_rate(config),
            openings: Openings::new(),
            wanted: want,
            telling_of_limits: Seldom::default(),
            started: Instant::now(),
            started_at: Timestamp::now(),
            draining,
            stop,
            failed,
            tasks,
            replay,
        })))
    }

    /// Whether a user may send themselves another test notification.
    ///
    /// # Errors
    /// When they have used up `test_rate.per_minute`.
    pub fn test_allowed(&self, user: &Arc<str>) -> Result<(), OverRate> {
        let allowed = self.0.tests.take(user, 1);
        if allowed.is_err() {
            self.0.metrics.refused(Refused::Rate, 1);
        }
        allowed
    }

    /// Whether a publisher may publish so many drafts now; all of them, or none.
    ///
    /// # Errors
    /// When they have used up what `publish_rate` gives each, or this is more than it gives at once.
    pub fn publishing_allowed(&self, publisher: &Arc<str>, drafts: usize) -> Result<(), OverRate> {
        let Some(limit) = &self.0.publishing else {
            return Ok(());
        };
        let allowed = limit.take(publisher, drafts);
        if allowed.is_err() {
            self.0.metrics.refused(Refused::Rate, drafts);
            if self.0.telling_of_limits.now() {
                tracing::warn!(
                    event = events::PUBLISHER_LIMITED,
                    %publisher,
                    "a publisher has published as much as one may for the moment"
                );
            }
        }
        allowed
    }

    /// Who may do what: tokens and keys.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Requests under idempotency keys that had an answer already, the latest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn duplicates(&self, query: DuplicateQuery) -> Result<Vec<Duplicate>, StoreError> {
        self.0.store.duplicates(query).await
    }

    /// What is known of a notification, and what became of it for each of its recipients. With `reader`, also whether it is
    /// in their inbox.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn lookup(&self, which: Which, reader: Option<&User>) -> Result<Lookup, StoreError> {
        let viewer = reader.map(Viewer::from);
        self.0.store.lookup(LookupQuery { which, viewer }).await
    }

    /// Deliveries by recipient or by what they came to.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<DeliveryPage, StoreError> {
        self.0.store.deliveries(query).await
    }

    /// Which log this is: what event ids begin with.
    pub fn epoch(&self) -> &Epoch {
        &self.0.epoch
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
            return Ok(Status::reader(own, unread, caller.scopes()));
        }
        Ok(Status::admin(status::Snapshot {
            registry: &hub.registry,
            stored: hub.store.counts().await?,
            depth: self.depth(),
            published: hub.store.commits().notifications() + hub.store.commits().broadcasts(),
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
            tracing::warn!(
                event = events::VERDICTS_LOST,
                %error,
                "the last verdicts could not be written: their notifications may be sent again"
            );
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
fn publishing_rate(config: &Config) -> Option<RateLimit> {
    let rate = &config.publish_rate;
    (rate.per_second > 0).then(|| RateLimit::per_second(rate.per_second, rate.burst))
}

fn descriptors_for_streams() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(1 << 20);
    let streams = limit.saturating_sub(DESCRIPTORS_KEPT).max(limit / 2);
    usize::try_from(streams).unwrap_or(usize::MAX).min(1 << 20)
}
