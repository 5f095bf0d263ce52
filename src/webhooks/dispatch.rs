//! The task that sends what waits in the outbox.
//!
//! It claims webhooks under a lease, at most one for each endpoint, and sends those side by side: an endpoint that hangs
//! holds nobody up but itself, and two sends to one endpoint never overlap and keep their distance. Just before the act
//! the claim is looked at once more; what came of it is written under the same claim. A hub that dies between the act and
//! its record leaves a row that says that it had begun, and the next start sends it once more, under the same
//! `webhook-id`, and says so.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{DisabledBy, Endpoint, Schedule, Sender, publisher_about};
use crate::clock::Timestamp;
use crate::diagnosis::LEASE;
use crate::events;
use crate::metrics::Metrics;
use crate::notification::{Draft, Kind, Severity, Validated};
use crate::store::{
    EndpointChange, ReclaimedWebhooks, SettledWebhook, Store, StoreError, WebhookClaim,
    WebhookOutcome,
};

/// How many webhooks one claim takes.
const CLAIM: usize = 10;
/// How many are on their way at once.
const MAX_ON_THE_WAY: usize = 64;
/// How often the outbox is looked at though nobody called.
const SAFETY_LOOK: Duration = Duration::from_secs(5);
/// How often lapsed leases are looked for.
const RECLAIM_EVERY: Duration = Duration::from_mins(1);
/// How long to wait after the store could not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long what is on its way at the end may take to come to an end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Told whenever a webhook has come to something.
pub(crate) type Settled = Arc<Notify>;

/// What the task works with.
pub(crate) struct Dispatch {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) schedule: Schedule,
    /// The least time between two sends to one endpoint.
    pub(crate) pace: Duration,
    /// Who is told that an endpoint was disabled.
    pub(crate) admin_roles: Vec<String>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last position that a publisher was told.
    pub(crate) head: Arc<AtomicU64>,
    pub(crate) settled: Settled,
}

/// An endpoint that nothing is claimed for at present.
#[derive(Clone, Copy)]
enum Turn {
    /// Something is on its way to it.
    Taken,
    /// Something was, and this is when the next may go.
    FreeAt(Instant),
}

/// What is on its way, and which endpoints have to wait.
#[derive(Default)]
struct OnTheWay {
    sends: JoinSet<(Uuid, bool)>,
    turns: HashMap<Uuid, Turn>,
}

impl OnTheWay {
    /// Lets those go whose pause is over; who has to wait still.
    fn busy(&mut self, now: Instant) -> Vec<Uuid> {
        self.turns
            .retain(|_, turn| !matches!(turn, Turn::FreeAt(at) if *at <= now));
        self.turns.keys().copied().collect()
    }

    /// When the first pause is over.
    fn next_free(&self) -> Option<Instant> {
        let ends = self.turns.values().filter_map(|turn| match turn {
            Turn::Taken => None,
            Turn::FreeAt(at) => Some(*at),
        });
        ends.min()
    }
}

impl Dispatch {
    /// Runs until the hub drains, and then lets what is on its way come to an end for a little while.
    pub(crate) async fn run(self, draining: CancellationToken) {
        let mut on_the_way = OnTheWay::default();
        let mut reclaim = interval(RECLAIM_EVERY);
        reclaim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick, which takes back what an earlier run has left, comes at once.
        reclaim.tick().await;
        self.reclaim().await;
        self.tell().await;
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                () = draining.cancelled() => break,
                () = self.store.outbox_filled() => look_at = Instant::now(),
                Some(done) = on_the_way.sends.join_next() => {
                    let Ok((endpoint, disabled)) = done else {
                        // It panicked, and does not say for whom: its lease lapses, and no endpoint waits for it.
                        on_the_way.turns.retain(|_, turn| !matches!(turn, Turn::Taken));
                        continue;
                    };
                    let free_at = Instant::now() + self.pace;
                    on_the_way.turns.insert(endpoint, Turn::FreeAt(free_at));
                    look_at = look_at.min(free_at);
                    if disabled {
                        self.tell().await;
                    }
                }
                _ = reclaim.tick() => {
                    self.reclaim().await;
                    look_at = Instant::now();
                }
                () = sleep_until(look_at) => look_at = self.round(&mut on_the_way).await,
            }
        }
        let ended = async { while on_the_way.sends.join_next().await.is_some() {} };
        if timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!(
                event = events::WEBHOOKS_CUT_SHORT,
                count = on_the_way.sends.len(),
                "webhooks were on their way when the hub stopped; the next start sends them again"
            );
            on_the_way.sends.shutdown().await;
        }
    }

    /// Claims what is due and sets it on its way; when to look again.
    async fn round(&self, on_the_way: &mut OnTheWay) -> Instant {
        let now = Instant::now();
        let room = MAX_ON_THE_WAY.saturating_sub(on_the_way.sends.len());
        let busy = on_the_way.busy(now);
        if room == 0 {
            // The end of any of them leads back here.
            return now + SAFETY_LOOK;
        }
        let claiming = self
            .store
            .claim_webhooks(Timestamp::now(), room.min(CLAIM), busy);
        let claimed = match claiming.await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "webhooks could not be claimed; trying again");
                return now + STORE_PAUSE;
            }
        };
        for claim in claimed.claims {
            on_the_way.turns.insert(claim.endpoint, Turn::Taken);
            on_the_way.sends.spawn(self.one(claim));
        }
        let due = claimed
            .next_due
            .map(|due| now + due.since(Timestamp::now()));
        let looks = [due, on_the_way.next_free()];
        let first = looks.into_iter().flatten().min();
        first.map_or(now + SAFETY_LOOK, |at| at.min(now + SAFETY_LOOK))
    }

    /// Sends one that was claimed: its endpoint, and whether that was disabled for it.
    fn one(&self, claim: WebhookClaim) -> impl Future<Output = (Uuid, bool)> + Send + 'static {
        let one = One {
            store: Arc::clone(&self.store),
            sender: Arc::clone(&self.sender),
            schedule: self.schedule.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let settled = Arc::clone(&self.settled);
        async move {
            let endpoint = claim.endpoint;
            let disabled = one.send(claim).await;
            settled.notify_waiters();
            (endpoint, disabled)
        }
    }

    /// Takes back what somebody claimed and never settled.
    async fn reclaim(&self) {
        let now = Timestamp::now();
        let reclaimed = self
            .store
            .reclaim_webhooks(now, LEASE, self.schedule.clone());
        match reclaimed.await {
            Ok(ReclaimedWebhooks {
                back,
                failed,
                begun,
            }) => {
                for webhook in begun {
                    tracing::warn!(
                        event = events::WEBHOOK_INTERRUPTED,
                        %webhook,
                        "a webhook was being sent when its hub stopped: it may have arrived, and arrives again under the same webhook-id"
                    );
                }
                if back + failed > 0 {
                    self.metrics.leases_reclaimed(back + failed);
                    tracing::warn!(
                        event = events::LEASES_RECLAIMED,
                        count = back + failed,
                        failed,
                        "webhooks that were claimed and never settled were taken back"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%error, "lapsed claims on webhooks could not be looked for; trying again later");
            }
        }
    }

    /// Tells those who administer of the endpoints that were disabled without their doing.
    async fn tell(&self) {
        if let Err(error) = self.tell_all().await {
            tracing::warn!(%error, "nobody could be told of a disabled endpoint yet");
        }
    }

    async fn tell_all(&self) -> Result<(), StoreError> {
        for endpoint in self.store.endpoints().await? {
            let Some(disabled) = endpoint.disabled.filter(|disabled| !disabled.told) else {
                continue;
            };
            tracing::warn!(
                event = events::ENDPOINT_DISABLED,
                endpoint = %endpoint.id,
                why = disabled.by.name(),
                "a webhook endpoint was disabled"
            );
            if !self.admin_roles.is_empty() {
                self.publish(&endpoint, disabled.by, disabled.at).await?;
            }
            let told = EndpointChange {
                told: true,
                ..EndpointChange::default()
            };
            let now = Timestamp::now();
            self.store.change_endpoint(endpoint.id, told, now).await?;
        }
        Ok(())
    }

    /// Publishes that an endpoint was disabled. Under a key of its own, so that a crash in between makes no second one.
    async fn publish(
        &self,
        endpoint: &Endpoint,
        by: DisabledBy,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        // The host alone: a path may be a secret.
        let url = Url::parse(&endpoint.url).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or("?");
        let why = match by {
            DisabledBy::Gone => "it answered 410 (Gone)",
            DisabledBy::Failing | DisabledBy::Admin => "nothing has come through for too long",
        };
        let draft = Draft {
            target_roles: self.admin_roles.clone(),
            title: Some("A webhook endpoint was disabled".to_owned()),
            message: format!("Webhooks no longer go to {host}: {why}."),
            details: Some(format!("Endpoint {}, disabled at {at}", endpoint.id)),
            severity: Some(Severity::High),
            module: Some("webhooks".to_owned()),
            idempotency_key: Some(format!("disabled/{}", at.as_millis())),
            ..Draft::default()
        };
        let publisher = publisher_about(endpoint.id).into();
        match draft.validate(Kind::Notification, publisher, Timestamp::now()) {
            Ok(Validated::Notification(notification)) => {
                for placed in self
                    .store
                    .append(vec![notification])
                    .await?
                    .into_iter()
                    .flatten()
                {
                    if let Some(position) = placed.position {
                        self.head.fetch_max(position.0, Ordering::AcqRel);
                    }
                }
            }
            Ok(Validated::Ephemeral(_)) => {}
            Err(error) => {
                tracing::warn!(%error, "webhooks.admin_roles cannot be told of a disabled endpoint");
            }
        }
        Ok(())
    }
}

/// What sending one takes.
struct One {
    store: Arc<dyn Store>,
    sender: Arc<Sender>,
    schedule: Schedule,
    metrics: Arc<Metrics>,
}

impl One {
    /// Looks once more, sends, and writes what came of it; whether the endpoint was disabled.
    async fn send(&self, claim: WebhookClaim) -> bool {
        let begun = until_stored(|| self.store.begin_webhook(Timestamp::now(), claim)).await;
        let Some(outgoing) = begun else {
            tracing::debug!(
                event = events::ABORTED_STATUS_CHANGED,
                count = 1,
                "a claimed webhook was not to be sent any more"
            );
            return false;
        };
        let attempt = self.sender.send(&outgoing, Timestamp::now()).await;
        self.metrics.webhook_sent(attempt.is_success());
        let settled = until_stored(|| {
            self.store
                .settle_webhook(claim, attempt.clone(), self.schedule.clone())
        });
        let SettledWebhook { outcome, disabled } = settled.await;
        let error = attempt.error.as_deref().unwrap_or_default();
        match outcome {
            WebhookOutcome::Sent => {}
            WebhookOutcome::Waiting(next_at) => tracing::info!(
                event = events::WEBHOOK_RETRIED,
                webhook = %claim.id,
                endpoint = %claim.endpoint,
                error,
                %next_at,
                "a webhook did not come through and is tried again"
            ),
            WebhookOutcome::Failed => {
                self.metrics.webhook_failed();
                tracing::warn!(
                    event = events::WEBHOOK_FAILED,
                    webhook = %claim.id,
                    endpoint = %claim.endpoint,
                    error,
                    "a webhook did not come through and is not tried again"
                );
            }
            WebhookOutcome::Conflict => {
                self.metrics.claim_conflicts(1);
                tracing::warn!(
                    event = events::CLAIM_CONFLICT,
                    count = 1,
                    "a webhook was claimed by another while it was sent"
                );
            }
        }
        disabled
    }
}

/// Asks the store until it answers: what has happened outside must be written down. Whoever stops the hub cuts it short.
async fn until_stored<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(%error, "a webhook's state could not be stored; trying again");
                sleep(STORE_PAUSE).await;
            }
        }
    }
}
