//! A store that is another one, but for one call that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campanile::auth::StoredKey;
use campanile::clock::Timestamp;
use campanile::delivery::{DeliveryPage, DeliveryQuery, Lookup, LookupQuery, Which};
use campanile::diagnosis::{DiagnosisQuery, Facts};
use campanile::inbox::Unread;
use campanile::log::Position;
use campanile::notification::{Entry, Notification};
use campanile::reminders::{NewReminder, Reminder};
use campanile::store::{
    Aged, Agenda, Appended, Asked, Cancel, Cancelled, Claim, ClaimedWebhooks, Commits, Counts,
    Duplicate, DuplicateQuery, EndpointChange, InboxEntry, InboxSlice, Inboxes, Kept, ListQuery,
    Marked, Outbox, OutboxCounts, Page, PageQuery, Pruned, Reclaimed, ReclaimedWebhooks, Redeliver,
    Redelivered, Released, ReminderHistory, ReminderQuery, Reminders, Retention, RetrySchedule,
    RevokedUsers, SettledWebhook, Start, StartQuery, Store, StoreError, Swept, Verdicts, Viewer,
    Webhook, WebhookClaim, WebhookQuery,
};
use campanile::waiting::{Unlock, Unlocked, Waiting, WaitingQuery};
use campanile::webhooks::{Attempt, Endpoint, Outgoing, Schedule};
use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

/// A call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Append,
    Release,
    Remind,
    Flush,
    Start,
    Page,
    Owed,
    Inbox,
    InboxEntry,
    Unread,
    MarkRead,
    MarkAllRead,
    Entries,
    Claim,
    Settle,
    Reclaim,
    Prune,
    Counts,
    ClaimWebhooks,
    BeginWebhook,
    SettleWebhook,
}

/// A store one of whose calls fails at one time.
pub struct Faulty {
    pub store: Arc<dyn Store>,
    pub call: Call,
    pub time: usize,
    pub called: AtomicUsize,
}

impl Faulty {
    /// Does what is asked, unless this is the time.
    fn unless<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        act: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if call == self.call && self.called.fetch_add(1, Ordering::SeqCst) + 1 == self.time {
            let error = StoreError::Unavailable("the disk does not answer".to_owned());
            return async move { Err(error) }.boxed();
        }
        act()
    }
}

impl Store for Faulty {
    fn append(
        &self,
        notifications: Vec<Notification>,
    ) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>> {
        self.unless(Call::Append, || self.store.append(notifications))
    }

    fn release(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Released, StoreError>> {
        self.unless(Call::Release, || self.store.release(now, limit))
    }

    fn agenda(&self) -> &Agenda {
        self.store.agenda()
    }

    fn cancel(&self, cancel: Cancel) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        self.store.cancel(cancel)
    }

    fn record(&self, verdicts: Verdicts) {
        self.store.record(verdicts);
    }

    fn commits(&self) -> &Commits {
        self.store.commits()
    }

    fn unwritten(&self) -> usize {
        self.store.unwritten()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.unless(Call::Flush, || self.store.flush())
    }

    fn start(&self, queries: Vec<StartQuery>) -> BoxFuture<'_, Vec<Result<Start, StoreError>>> {
        let asked = queries.len();
        let all = self.unless(Call::Start, || self.store.start(queries).map(Ok).boxed());
        all.map(move |all| all.unwrap_or_else(|error| vec![Err(error); asked]))
            .boxed()
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.unless(Call::Page, || self.store.page(query))
    }

    fn owed(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.unless(Call::Owed, || self.store.owed(query))
    }

    fn entries(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.unless(Call::Entries, || self.store.entries(after, limit))
    }

    fn claim(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        self.unless(Call::Claim, || self.store.claim(now, limit))
    }

    fn settle(
        &self,
        now: Timestamp,
        claims: Vec<Claim>,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Asked, StoreError>> {
        self.unless(Call::Settle, || self.store.settle(now, claims, schedule))
    }

    fn reclaim(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Reclaimed, StoreError>> {
        self.unless(Call::Reclaim, || self.store.reclaim(now, lease, schedule))
    }

    fn prune(
        &self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pruned, StoreError>> {
        self.unless(Call::Prune, || self.store.prune(now, retention, limit))
    }

    fn aged(
        &self,
        now: Timestamp,
        retention: Retention,
    ) -> BoxFuture<'_, Result<Aged, StoreError>> {
        self.store.aged(now, retention)
    }

    fn lookup(&self, query: LookupQuery) -> BoxFuture<'_, Result<Lookup, StoreError>> {
        self.store.lookup(query)
    }

    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'_, Result<DeliveryPage, StoreError>> {
        self.store.deliveries(query)
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.unless(Call::Counts, || self.store.counts())
    }

    fn duplicates(
        &self,
        query: DuplicateQuery,
    ) -> BoxFuture<'_, Result<Vec<Duplicate>, StoreError>> {
        self.store.duplicates(query)
    }

    fn waiting(&self, query: WaitingQuery) -> BoxFuture<'_, Result<Waiting, StoreError>> {
        self.store.waiting(query)
    }

    fn unlock(&self, unlock: Unlock) -> BoxFuture<'_, Result<Unlocked, StoreError>> {
        self.store.unlock(unlock)
    }

    fn diagnose(&self, query: DiagnosisQuery) -> BoxFuture<'_, Result<Facts, StoreError>> {
        self.store.diagnose(query)
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.ready()
    }

    fn insert_key(&self, key: StoredKey) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.insert_key(key)
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        self.store.keys()
    }

    fn revoke_key(&self, name: String, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.revoke_key(name, now)
    }

    fn revoke_user(&self, user: Arc<str>, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.revoke_user(user, at)
    }

    fn revoked_users(&self) -> BoxFuture<'_, Result<RevokedUsers, StoreError>> {
        self.store.revoked_users()
    }

    fn damaged(&self) -> BoxFuture<'_, String> {
        self.store.damaged()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.store.close()
    }
}

impl Inboxes for Faulty {
    fn inbox(&self, query: ListQuery) -> BoxFuture<'_, Result<InboxSlice, StoreError>> {
        self.unless(Call::Inbox, || self.store.inbox(query))
    }

    fn inbox_entry(
        &self,
        viewer: Viewer,
        which: Which,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<InboxEntry>, StoreError>> {
        self.unless(Call::InboxEntry, || {
            self.store.inbox_entry(viewer, which, now)
        })
    }

    fn unread(&self, viewer: Viewer, now: Timestamp) -> BoxFuture<'_, Result<Unread, StoreError>> {
        self.unless(Call::Unread, || self.store.unread(viewer, now))
    }

    fn mark_read(
        &self,
        viewer: Viewer,
        id: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>> {
        self.unless(Call::MarkRead, || self.store.mark_read(viewer, id, now))
    }

    fn mark_all_read(
        &self,
        user: Arc<str>,
        upto: Option<Position>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>> {
        self.unless(Call::MarkAllRead, || {
            self.store.mark_all_read(user, upto, now)
        })
    }
}

impl Outbox for Faulty {
    fn outbox_filled(&self) -> BoxFuture<'_, ()> {
        self.store.outbox_filled()
    }

    fn insert_endpoint(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.insert_endpoint(endpoint)
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Vec<Endpoint>, StoreError>> {
        self.store.endpoints()
    }

    fn change_endpoint(
        &self,
        id: Uuid,
        change: EndpointChange,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, StoreError>> {
        self.store.change_endpoint(id, change, now)
    }

    fn remove_endpoint(&self, id: Uuid, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.remove_endpoint(id, now)
    }

    fn claim_webhooks(
        &self,
        now: Timestamp,
        limit: usize,
        busy: Vec<Uuid>,
    ) -> BoxFuture<'_, Result<ClaimedWebhooks, StoreError>> {
        self.unless(Call::ClaimWebhooks, || {
            self.store.claim_webhooks(now, limit, busy)
        })
    }

    fn begin_webhook(
        &self,
        now: Timestamp,
        claim: WebhookClaim,
    ) -> BoxFuture<'_, Result<Option<Outgoing>, StoreError>> {
        self.unless(Call::BeginWebhook, || self.store.begin_webhook(now, claim))
    }

    fn settle_webhook(
        &self,
        claim: WebhookClaim,
        attempt: Attempt,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<SettledWebhook, StoreError>> {
        self.unless(Call::SettleWebhook, || {
            self.store.settle_webhook(claim, attempt, schedule)
        })
    }

    fn reclaim_webhooks(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: Schedule,
    ) -> BoxFuture<'_, Result<ReclaimedWebhooks, StoreError>> {
        self.store.reclaim_webhooks(now, lease, schedule)
    }

    fn test_webhook(
        &self,
        endpoint: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Uuid>, StoreError>> {
        self.store.test_webhook(endpoint, now)
    }

    fn webhooks(&self, query: WebhookQuery) -> BoxFuture<'_, Result<Vec<Webhook>, StoreError>> {
        self.store.webhooks(query)
    }

    fn redeliver(
        &self,
        which: Redeliver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Redelivered, StoreError>> {
        self.store.redeliver(which, now)
    }

    fn outbox_counts(&self) -> BoxFuture<'_, Result<OutboxCounts, StoreError>> {
        self.store.outbox_counts()
    }
}

impl Reminders for Faulty {
    fn keep_reminder(&self, reminder: NewReminder) -> BoxFuture<'_, Result<Kept, StoreError>> {
        self.store.keep_reminder(reminder)
    }

    fn remove_reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.remove_reminder(publisher, key)
    }

    fn reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<Option<Reminder>, StoreError>> {
        self.store.reminder(publisher, key)
    }

    fn reminders(&self, query: ReminderQuery) -> BoxFuture<'_, Result<Vec<Reminder>, StoreError>> {
        self.store.reminders(query)
    }

    fn reminded(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
        before: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<ReminderHistory, StoreError>> {
        self.store.reminded(publisher, key, before, limit)
    }

    fn remind(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.unless(Call::Remind, || self.store.remind(now, limit))
    }
}
