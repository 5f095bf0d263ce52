//! Webhook endpoints, and what became of the webhooks that went there.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::Hub;
use crate::clock::Timestamp;
use crate::store::{
    EndpointChange, Redeliver, Redelivered, StoreError, Webhook, WebhookQuery, WebhookState,
    WebhooksOf,
};
use crate::webhooks::{Endpoint, Filter, On, Reach, SECRET_OVERLAP, Secret};

/// How long beyond its own limit a test may take: something else may be on its way to the endpoint.
const TEST_PATIENCE: Duration = Duration::from_secs(20);

/// Why a test of an endpoint could not be sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TestError {
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    Unknown,
    /// It gets nothing.
    #[error("the endpoint is disabled")]
    Disabled,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Draining,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// Where webhooks may go.
    pub fn webhook_reach(&self) -> &Reach {
        self.0.sender.reach()
    }

    /// Makes an endpoint, with a secret of its own; none if there are too many. Its URL is the caller's to have checked.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn create_endpoint(
        &self,
        url: String,
        on: On,
        filter: Filter,
    ) -> Result<Option<Endpoint>, StoreError> {
        let endpoint = Endpoint {
            id: Uuid::now_v7(),
            url,
            on,
            filter,
            secret: Secret::random(),
            old_secret: None,
            created_at: Timestamp::now(),
            failing_since: None,
            disabled: None,
        };
        let kept = self.0.store.insert_endpoint(endpoint.clone()).await?;
        Ok(kept.then_some(endpoint))
    }

    /// Every endpoint, in the order in which they were made.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        self.0.store.endpoints().await
    }

    /// One of them.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn endpoint(&self, id: Uuid) -> Result<Option<Endpoint>, StoreError> {
        let endpoints = self.0.store.endpoints().await?;
        Ok(endpoints.into_iter().find(|endpoint| endpoint.id == id))
    }

    /// Changes an endpoint: as it is then.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn change_endpoint(
        &self,
        id: Uuid,
        change: EndpointChange,
    ) -> Result<Option<Endpoint>, StoreError> {
        let now = Timestamp::now();
        self.0.store.change_endpoint(id, change, now).await
    }

    /// Draws an endpoint a new secret. The one before signs as well for another 24 h.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn rotate_secret(&self, id: Uuid) -> Result<Option<Endpoint>, StoreError> {
        let until = Timestamp::now().saturating_add(SECRET_OVERLAP);
        let change = EndpointChange {
            secret: Some((Secret::random(), until)),
            ..EndpointChange::default()
        };
        self.change_endpoint(id, change).await
    }

    /// Forgets an endpoint; false if there is none.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn remove_endpoint(&self, id: Uuid) -> Result<bool, StoreError> {
        self.0.store.remove_endpoint(id, Timestamp::now()).await
    }

    /// Sends a test to an endpoint, once, and waits for what comes of it. It is in the history like any other.
    ///
    /// # Errors
    /// [`TestError`]; then nothing was sent.
    pub async fn test_endpoint(&self, id: Uuid) -> Result<Webhook, TestError> {
        let hub = &*self.0;
        if self.is_draining() {
            return Err(TestError::Draining);
        }
        let deadline = Instant::now() + hub.config.webhooks.timeout + TEST_PATIENCE;
        let Some(test) = hub.store.test_webhook(id, Timestamp::now()).await? else {
            return Err(match self.endpoint(id).await? {
                Some(_) => TestError::Disabled,
                None => TestError::Unknown,
            });
        };
        loop {
            // Before looking: what is settled in between is not missed.
            let settled = hub.webhook_settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let query = WebhookQuery {
                of: WebhooksOf::Id(test),
                state: None,
                before: None,
                limit: 1,
            };
            let Some(webhook) = hub.store.webhooks(query).await?.pop() else {
                return Err(TestError::Unknown);
            };
            let ended = matches!(webhook.state, WebhookState::Sent | WebhookState::Failed);
            let stop = async {
                tokio::select! {
                    () = settled => {}
                    () = hub.stop.cancelled() => {}
                }
            };
            if ended || hub.stop.is_cancelled() || timeout_at(deadline, stop).await.is_err() {
                return Ok(webhook);
            }
        }
    }

    /// Webhooks and what became of them.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn webhooks(&self, query: WebhookQuery) -> Result<Vec<Webhook>, StoreError> {
        self.0.store.webhooks(query).await
    }

    /// Has webhooks sent again, with all their tries and under the ids that they have.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn redeliver(&self, which: Redeliver) -> Result<Redelivered, StoreError> {
        self.0.store.redeliver(which, Timestamp::now()).await
    }
}
