//! The part of the store's contract that is about reminders. Publishing one and moving it on to its next window are one
//! transaction, so it is published once in each, whoever else sweeps.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{StoreError, Webhook};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::reminders::{NewReminder, Reminded, Reminder};

/// What became of the wish to keep a reminder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    New(Reminder),
    /// There was one of this key, and it is so now.
    Changed(Reminder),
    /// There are [`crate::reminders::MAX_REMINDERS`] already.
    TooMany,
}

/// Which reminders are asked for.
#[derive(Clone, Debug)]
pub struct ReminderQuery {
    /// Of this publisher.
    pub publisher: Option<Arc<str>>,
    /// Those that are overdue at this moment.
    pub overdue_at: Option<Timestamp>,
    /// Made after the one of this number, for the next page.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// What one step of a sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was published, each with its public part.
    pub reminded: Vec<(Reminded, Arc<str>)>,
    /// The last of the places that they got.
    pub last: Option<Position>,
    /// How many are overdue, counted to [`crate::diagnosis::MAX_LOOKED`].
    pub overdue: u64,
    /// When the next one is due; at once, if this step ended at its limit.
    pub next_due: Option<Timestamp>,
}

/// What was published of a reminder, with the webhooks of each.
pub type ReminderHistory = Vec<(Reminded, Vec<Webhook>)>;

/// Reminders.
pub trait Reminders: Send + Sync + 'static {
    /// Makes a reminder, or changes the one of its key. Changing it opens no window anew: it is published no sooner than it
    /// would be after the last one.
    fn keep_reminder(&self, reminder: NewReminder) -> BoxFuture<'_, Result<Kept, StoreError>>;

    /// Forgets a reminder; false if there is none. What was published of it stays.
    fn remove_reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The reminder of a key.
    fn reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<Option<Reminder>, StoreError>>;

    /// Reminders, in the order of their making.
    fn reminders(&self, query: ReminderQuery) -> BoxFuture<'_, Result<Vec<Reminder>, StoreError>>;

    /// What was published of a reminder before the one of this number, the latest first, with the webhooks of each.
    fn reminded(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
        before: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<ReminderHistory, StoreError>>;

    /// Publishes reminders whose time has come, at most `limit` of them, the longest due first. The moment that counts is the
    /// latest of `now` and all that were ever seen here.
    fn remind(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>>;
}
