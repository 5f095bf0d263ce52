//! Reminders: kept, told of, and swept when somebody asks. The hub sweeps by itself as well, in its own time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::Hub;
use crate::clock::Timestamp;
use crate::reminders::{NewReminder, Reminded, Reminder};
use crate::schedule::remind;
use crate::store::{
    Kept, ReminderHistory, ReminderQuery, StoreError, WebhookQuery, WebhookState, WebhooksOf,
};

/// How many are published in one commit.
const STEP: usize = 100;
/// The most that one sweep names; it publishes the others as well.
const MAX_NAMED: usize = 1_000;
/// How long a sweep waits to hear what became of webhooks ...
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(2);
/// ... and for how many of those that it published.
const MAX_WAITED_FOR: usize = 100;

/// What a sweep came to.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// How many reminders are overdue, published just now or within their window.
    pub overdue: u64,
    /// How many were published.
    pub sent: usize,
    /// The first of these.
    pub named: Vec<Named>,
}

/// A reminder that was published just now.
#[derive(Clone, Debug)]
pub struct Named {
    /// Which, and as what.
    pub reminded: Reminded,
    /// What its receivers see.
    pub body: Arc<str>,
    /// What became of its webhooks, as far as that is known.
    pub webhook: Option<WebhookState>,
}

impl Hub {
    /// Makes a reminder, or changes the one of its key.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn keep_reminder(&self, reminder: NewReminder) -> Result<Kept, StoreError> {
        let hub = Arc::clone(&self.0);
        // Whoever asked may hang up; the hub knows when it is due all the same.
        let keeping = self
            .0
            .tasks
            .spawn(async move { hub.store.keep_reminder(reminder).await });
        keeping
            .await
            .map_err(|error| StoreError::Unavailable(format!("it was cut off: {error}")))?
    }

    /// Forgets a reminder; false if there is none.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn remove_reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> Result<bool, StoreError> {
        self.0.store.remove_reminder(publisher, key).await
    }

    /// A publisher's reminder.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> Result<Option<Reminder>, StoreError> {
        self.0.store.reminder(publisher, key).await
    }

    /// Reminders, in the order of their making.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn reminders(&self, query: ReminderQuery) -> Result<Vec<Reminder>, StoreError> {
        self.0.store.reminders(query).await
    }

    /// What was published of a reminder, the latest first, and what became of its webhooks.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn reminded(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
        before: i64,
        limit: usize,
    ) -> Result<ReminderHistory, StoreError> {
        self.0.store.reminded(publisher, key, before, limit).await
    }

    /// Publishes whatever is overdue and not within its window, and waits a moment for what becomes of its webhooks. It may
    /// be called at any rate and from many places at once.
    ///
    /// # Errors
    /// If the store does not answer; what was published by then stays so.
    pub async fn check_overdue(&self) -> Result<Sweep, StoreError> {
        let hub = Arc::clone(&self.0);
        // Whoever asked may hang up; what was published counts as published all the same.
        let sweeping = self.0.tasks.spawn(async move {
            let mut sweep = Sweep::default();
            loop {
                let now = Timestamp::now();
                let swept = remind(&*hub.store, &hub.metrics, &hub.head, now, STEP).await?;
                sweep.overdue = swept.overdue;
                sweep.sent += swept.reminded.len();
                let room = MAX_NAMED - sweep.named.len();
                let full = swept.reminded.len() == STEP;
                let named = swept.reminded.into_iter().take(room);
                sweep.named.extend(named.map(|(reminded, body)| Named {
                    reminded,
                    body,
                    webhook: None,
                }));
                if !full {
                    return Ok::<_, StoreError>(sweep);
                }
            }
        });
        let mut sweep = sweeping
            .await
            .map_err(|error| StoreError::Unavailable(format!("it was cut off: {error}")))??;
        if !sweep.named.is_empty() && self.0.store.outbox_counts().await?.enabled > 0 {
            self.wait_for_webhooks(&mut sweep).await?;
        }
        Ok(sweep)
    }

    async fn wait_for_webhooks(&self, sweep: &mut Sweep) -> Result<(), StoreError> {
        let until = Instant::now() + WEBHOOK_PATIENCE;
        loop {
            // Before looking: what is settled in between is not missed.
            let settled = self.0.webhook_settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let mut open = false;
            for named in sweep.named.iter_mut().take(MAX_WAITED_FOR) {
                if !named.webhook.is_some_and(is_done) {
                    named.webhook = self.webhooks_of(named.reminded.notification).await?;
                    open |= !named.webhook.is_some_and(is_done);
                }
            }
            if !open || Instant::now() >= until {
                return Ok(());
            }
            // At the end of its patience it looks once more: what waits still is told as waiting.
            let _ = timeout_at(until, settled).await;
        }
    }

    /// How a notification's webhooks stand as a whole; none if there is none.
    async fn webhooks_of(&self, notification: Uuid) -> Result<Option<WebhookState>, StoreError> {
        let query = WebhookQuery {
            of: WebhooksOf::Notification(notification),
            state: None,
            before: None,
            limit: crate::webhooks::MAX_ENDPOINTS,
        };
        let webhooks = self.0.store.webhooks(query).await?;
        let any = |state| webhooks.iter().any(|webhook| webhook.state == state);
        let worst = [
            WebhookState::Failed,
            WebhookState::Sending,
            WebhookState::Waiting,
            WebhookState::Sent,
        ];
        Ok(worst.into_iter().find(|state| any(*state)))
    }
}

fn is_done(state: WebhookState) -> bool {
    matches!(state, WebhookState::Sent | WebhookState::Failed)
}
