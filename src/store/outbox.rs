//! The part of the store's contract that is about webhooks: endpoints, the outbox, and what became of what was in it.
//!
//! Whoever writes a notification's last verdict puts its webhooks into the outbox in the same transaction, one for each
//! endpoint that wants it, and never a second one. Sending is claimed like all timed work (see [`Store::claim`]): one
//! statement takes what is due, the act holds only for a claim that still stands, and what nobody settles is taken back.
//!
//! [`Store::claim`]: super::Store::claim

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use uuid::Uuid;

use super::StoreError;
use crate::clock::Timestamp;
use crate::notification::Severity;
use crate::webhooks::{Attempt, Endpoint, On, Outgoing, Schedule, Secret, Topic};

/// What is to change about an endpoint; the rest stays.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    /// Where webhooks go.
    pub url: Option<String>,
    /// When it hears of a notification.
    pub on: Option<On>,
    /// Its filter's roles.
    pub roles: Option<Vec<Arc<str>>>,
    /// Its filter's modules.
    pub modules: Option<Vec<Arc<str>>>,
    /// Its filter's severities.
    pub severities: Option<Vec<Severity>>,
    /// Whether it gets anything. Enabled again, it counts as if it had never failed; disabled, what waits for it fails.
    pub enabled: Option<bool>,
    /// A new secret, and until when the one before signs as well.
    pub secret: Option<(Secret, Timestamp)>,
    /// Those who administer know that it was disabled.
    pub told: bool,
}

/// A webhook that somebody has taken it upon themselves to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookClaim {
    /// The webhook.
    pub id: Uuid,
    /// Where it goes.
    pub endpoint: Uuid,
    /// The number of this attempt, from 1 on.
    pub attempt: u32,
}

/// What one claim came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedWebhooks {
    /// At most one for each endpoint.
    pub claims: Vec<WebhookClaim>,
    /// When the next one is due at an endpoint that was not busy.
    pub next_due: Option<Timestamp>,
}

/// What sending a webhook came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// Its receiver has it.
    Sent,
    /// It is tried again then.
    Waiting(Timestamp),
    /// It is not tried again.
    Failed,
    /// It was not this claim's any more: nothing was written.
    Conflict,
}

/// What was written of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledWebhook {
    /// Of the webhook.
    pub outcome: WebhookOutcome,
    /// Its endpoint was disabled by that.
    pub disabled: bool,
}

/// Claims on webhooks that were taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReclaimedWebhooks {
    /// Free to be claimed again.
    pub back: usize,
    /// Failed, because no try was left.
    pub failed: usize,
    /// Of those that are sent again: what was being sent, and may have arrived.
    pub begun: Vec<Uuid>,
}

/// How a webhook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookState {
    /// To be sent, or to be tried again.
    Waiting,
    /// Being sent at this moment.
    Sending,
    /// Its receiver has it.
    Sent,
    /// It is not tried again.
    Failed,
}

impl WebhookState {
    /// Every one, with its name.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Waiting, "waiting"),
        (Self::Sending, "sending"),
        (Self::Sent, "sent"),
        (Self::Failed, "failed"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(state, _)| *state == self);
        found.map_or("", |(_, name)| name)
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(state, _)| *state)
    }
}

/// A webhook, and what became of it.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Rising in the order in which they were made.
    pub number: i64,
    /// Its `webhook-id`.
    pub id: Uuid,
    /// Where it goes.
    pub endpoint: Uuid,
    /// What it tells of; a test tells of nothing.
    pub notification: Option<Uuid>,
    /// Its type.
    pub topic: Topic,
    /// How it stands.
    pub state: WebhookState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// When that changed last.
    pub changed_at: Timestamp,
    /// When it is sent next.
    pub next_at: Option<Timestamp>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// What the last answer began with.
    pub answer: Option<String>,
    /// Why the last attempt was no success.
    pub error: Option<String>,
}

/// Whose webhooks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhooksOf {
    /// An endpoint's, the latest first.
    Endpoint(Uuid),
    /// A notification's.
    Notification(Uuid),
    /// This one.
    Id(Uuid),
}

/// Which webhooks are asked for.
#[derive(Clone, Copy, Debug)]
pub struct WebhookQuery {
    /// Whose.
    pub of: WebhooksOf,
    /// Those that stand so.
    pub state: Option<WebhookState>,
    /// Made before the one of this number, for the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Which webhooks are sent again.
#[derive(Clone, Copy, Debug)]
pub enum Redeliver {
    /// This one, unless it is waiting.
    One(Uuid),
    /// Those of an endpoint that have failed and were made at this moment or later, the oldest first, so many at most.
    Failed {
        /// Whose.
        endpoint: Uuid,
        /// Since when.
        since: Timestamp,
        /// At most so many.
        limit: usize,
    },
}

/// What became of the wish to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// So many wait again.
    Waiting(usize),
    /// There is no such webhook or endpoint.
    Unknown,
    /// It waits, or is being sent, already.
    Already,
    /// The endpoint gets nothing, or is gone.
    Disabled,
}

/// How much there is of what webhooks are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Webhooks that wait.
    pub waiting: u64,
    /// Endpoints that get something.
    pub enabled: u64,
    /// Endpoints that get nothing.
    pub disabled: u64,
}

/// Endpoints and their outbox.
pub trait Outbox: Send + Sync + 'static {
    /// Resolves when something new waits in the outbox since this resolved last.
    fn outbox_filled(&self) -> BoxFuture<'_, ()>;

    /// Keeps an endpoint; false if there are [`crate::webhooks::MAX_ENDPOINTS`] already. It hears of what gets its last
    /// verdict from then on.
    fn insert_endpoint(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Every endpoint, in the order in which they were made.
    fn endpoints(&self) -> BoxFuture<'_, Result<Vec<Endpoint>, StoreError>>;

    /// Changes an endpoint: as it is then; none if there is none.
    fn change_endpoint(
        &self,
        id: Uuid,
        change: EndpointChange,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, StoreError>>;

    /// Forgets an endpoint; false if there is none. What waits for it fails; its history is kept as long as any.
    fn remove_endpoint(&self, id: Uuid, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Claims webhooks that are due, at most `limit` and at most one for each endpoint, and none for those that are `busy`:
    /// in one statement, so that two who claim at once get different ones. It counts as an attempt.
    fn claim_webhooks(
        &self,
        now: Timestamp,
        limit: usize,
        busy: Vec<Uuid>,
    ) -> BoxFuture<'_, Result<ClaimedWebhooks, StoreError>>;

    /// Says that a claimed webhook is sent now, and what is to be sent; none if the claim does not stand any more, or the
    /// endpoint gets nothing.
    fn begin_webhook(
        &self,
        now: Timestamp,
        claim: WebhookClaim,
    ) -> BoxFuture<'_, Result<Option<Outgoing>, StoreError>>;

    /// Says what came of it, if the claim still stands: of the webhook and, if it disables it, of the endpoint.
    fn settle_webhook(
        &self,
        claim: WebhookClaim,
        attempt: Attempt,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<SettledWebhook, StoreError>>;

    /// Takes back what was claimed longer ago than `lease` and not settled; a store that only one process may serve takes
    /// back at once what an earlier run has left.
    fn reclaim_webhooks(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<ReclaimedWebhooks, StoreError>>;

    /// Puts a test for an endpoint into the outbox, in front of what waits; its id, or none if the endpoint gets nothing or
    /// there is none.
    fn test_webhook(
        &self,
        endpoint: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Uuid>, StoreError>>;

    /// Webhooks and what became of them.
    fn webhooks(&self, query: WebhookQuery) -> BoxFuture<'_, Result<Vec<Webhook>, StoreError>>;

    /// Has webhooks sent again, with all their tries and under the ids that they have.
    fn redeliver(
        &self,
        which: Redeliver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Redelivered, StoreError>>;

    /// How much there is.
    fn outbox_counts(&self) -> BoxFuture<'_, Result<OutboxCounts, StoreError>>;
}
