//! The store's face towards webhooks.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{SqliteStore, endpoints, outbox, sending};
use crate::clock::Timestamp;
use crate::store::{
    ClaimedWebhooks, EndpointChange, Outbox, OutboxCounts, ReclaimedWebhooks, Redeliver,
    Redelivered, SettledWebhook, StoreError, Webhook, WebhookClaim, WebhookQuery,
};
use crate::webhooks::{Attempt, Endpoint, Outgoing, Schedule};

impl Outbox for SqliteStore {
    fn outbox_filled(&self) -> BoxFuture<'_, ()> {
        self.filled.notified().boxed()
    }

    fn insert_endpoint(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |c| endpoints::insert(c, &endpoint)).boxed()
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Vec<Endpoint>, StoreError>> {
        self.readers.ask(endpoints::all).boxed()
    }

    fn change_endpoint(
        &self,
        id: Uuid,
        change: EndpointChange,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, StoreError>> {
        self.write(move |c| endpoints::change(c, id, &change, now))
            .boxed()
    }

    fn remove_endpoint(&self, id: Uuid, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |c| endpoints::remove(c, id, now)).boxed()
    }

    fn claim_webhooks(
        &self,
        now: Timestamp,
        limit: usize,
        busy: Vec<Uuid>,
    ) -> BoxFuture<'_, Result<ClaimedWebhooks, StoreError>> {
        let owner = self.run.clone();
        self.write(move |c| sending::claim(c, &owner, now, limit, &busy))
            .boxed()
    }

    fn begin_webhook(
        &self,
        now: Timestamp,
        claim: WebhookClaim,
    ) -> BoxFuture<'_, Result<Option<Outgoing>, StoreError>> {
        let owner = self.run.clone();
        self.write(move |c| sending::begin(c, &owner, now, claim))
            .boxed()
    }

    fn settle_webhook(
        &self,
        claim: WebhookClaim,
        attempt: Attempt,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<SettledWebhook, StoreError>> {
        let owner = self.run.clone();
        let now = Timestamp::now();
        self.write(move |c| sending::settle(c, &owner, claim, &attempt, &schedule, now))
            .boxed()
    }

    fn reclaim_webhooks(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<ReclaimedWebhooks, StoreError>> {
        let (owner, exclusive) = (self.run.clone(), self.exclusive);
        self.write(move |c| sending::reclaim(c, &owner, exclusive, now, lease, &schedule))
            .boxed()
    }

    fn test_webhook(
        &self,
        endpoint: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Uuid>, StoreError>> {
        async move {
            let test = self.write(move |c| outbox::test(c, endpoint, now)).await?;
            self.filled.notify_one();
            Ok(test)
        }
        .boxed()
    }

    fn webhooks(&self, query: WebhookQuery) -> BoxFuture<'_, Result<Vec<Webhook>, StoreError>> {
        self.readers.ask(move |c| outbox::list(c, &query)).boxed()
    }

    fn redeliver(
        &self,
        which: Redeliver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Redelivered, StoreError>> {
        async move {
            let waiting = self
                .write(move |c| outbox::redeliver(c, which, now))
                .await?;
            self.filled.notify_one();
            Ok(waiting)
        }
        .boxed()
    }

    fn outbox_counts(&self) -> BoxFuture<'_, Result<OutboxCounts, StoreError>> {
        self.readers.ask(outbox::counts).boxed()
    }
}
