//! Reminders as rows, and the sweep that publishes them.
//!
//! A sweep is one transaction of the writer's: it raises the latest moment that was ever seen, takes what is due by that,
//! publishes it and moves it on by its window. What is due is never compared with a clock that was set back.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::diagnosis::{bound, moment_if_any};
use super::entries::{self, Inserts, count, millis, moment_of, unsigned};
use super::failure::Failure;
use super::writer::{Job, Remind};
use super::{SqliteStore, outbox};
use crate::clock::Timestamp;
use crate::diagnosis::MAX_LOOKED;
use crate::log::Position;
use crate::notification::Entry;
use crate::reminders::{MAX_REMINDERS, NewReminder, Reminded, Reminder};
use crate::store::{
    Kept, ReminderHistory, ReminderQuery, Reminders, StoreError, Swept, WebhookQuery, WebhooksOf,
};
use crate::webhooks::MAX_ENDPOINTS;

/// The columns that [`reminder_of`] reads, in its order.
const COLUMNS: &str =
    "n, publisher, key, due_ms, repeat_ms, next_ms, last_ms, sent, created_ms, changed_ms, draft";

/// Those whose time has come (?1), the longest due first, so many (?2).
fn due_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM reminder INDEXED BY reminder_next
         WHERE next_ms IS NOT NULL AND next_ms <= ?1 ORDER BY next_ms, n LIMIT ?2"
    )
}

/// When the next one is due.
const NEXT_DUE_SQL: &str = "SELECT next_ms FROM reminder INDEXED BY reminder_next
    WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT 1";

/// How soon one is tried again whose draft cannot be published any more, if it has no window.
const UNPUBLISHABLE_PAUSE: Duration = Duration::from_hours(1);

fn reminder_of(row: &Row<'_>) -> rusqlite::Result<Reminder> {
    let repeat: Option<i64> = row.get(4)?;
    Ok(Reminder {
        number: row.get(0)?,
        publisher: row.get(1)?,
        key: row.get(2)?,
        due_at: moment_of(row, 3)?,
        repeat_every: repeat
            .map(|_| unsigned(row, 4).map(Duration::from_millis))
            .transpose()?,
        next_at: moment_if_any(row, 5)?,
        last_at: moment_if_any(row, 6)?,
        sent: unsigned(row, 7)?,
        created_at: moment_of(row, 8)?,
        changed_at: moment_of(row, 9)?,
        draft: row.get(10)?,
    })
}

fn of_key(
    connection: &Connection,
    publisher: &str,
    key: &str,
) -> rusqlite::Result<Option<Reminder>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM reminder WHERE publisher = ?1 AND key = ?2"
        ))?
        .query_row([publisher, key], reminder_of)
        .optional()
}

/// When a reminder that is changed is published next: no sooner than a window after the last one. One that is not repeated
/// is published again only if it has a new time, which is after that.
fn next(new: &NewReminder, old: &Reminder) -> Option<Timestamp> {
    match (old.last_at, new.repeat_every) {
        (None, _) => Some(new.due_at),
        (Some(last), Some(every)) => Some(new.due_at.max(last.saturating_add(every))),
        (Some(last), None) => (new.due_at > last).then_some(new.due_at),
    }
}

fn keep(connection: &Connection, new: &NewReminder) -> Result<Kept, Failure> {
    let repeat = new
        .repeat_every
        .map(|every| i64::try_from(every.as_millis()).unwrap_or(i64::MAX));
    let old = of_key(connection, &new.publisher, &new.key)?;
    let is_new = old.is_none();
    match old {
        None => {
            let has_room: bool = connection
                .prepare_cached("SELECT n < ?1 FROM counter WHERE name = 'reminder'")?
                .query_row([count(MAX_REMINDERS)], |row| row.get(0))?;
            if !has_room {
                return Ok(Kept::TooMany);
            }
            connection
                .prepare_cached(
                    "INSERT INTO reminder (publisher, key, draft, due_ms, repeat_ms, next_ms, created_ms, changed_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?4, ?6, ?6)",
                )?
                .execute(params![
                    new.publisher,
                    new.key,
                    new.draft,
                    millis(new.due_at),
                    repeat,
                    millis(new.now)
                ])?;
        }
        Some(old) => {
            connection
                .prepare_cached(
                    "UPDATE reminder SET draft = ?2, due_ms = ?3, repeat_ms = ?4, next_ms = ?5, changed_ms = ?6
                     WHERE n = ?1",
                )?
                .execute(params![
                    old.number,
                    new.draft,
                    millis(new.due_at),
                    repeat,
                    next(new, &old).map(millis),
                    millis(new.now)
                ])?;
        }
    }
    let kept = of_key(connection, &new.publisher, &new.key)?
        .ok_or_else(|| Failure::Damaged("a reminder that was written is not there".to_owned()))?;
    Ok(if is_new {
        Kept::New(kept)
    } else {
        Kept::Changed(kept)
    })
}

fn remove(connection: &Connection, publisher: &str, key: &str) -> Result<bool, Failure> {
    let removed = connection
        .prepare_cached("DELETE FROM reminder WHERE publisher = ?1 AND key = ?2")?
        .execute([publisher, key])?;
    Ok(removed == 1)
}

fn list(connection: &Connection, query: &ReminderQuery) -> Result<Vec<Reminder>, Failure> {
    // The rows of one publisher lie together in an index.
    let of = if query.publisher.is_some() {
        "publisher = ?2"
    } else {
        "?2 IS NULL"
    };
    let found: rusqlite::Result<Vec<Reminder>> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM reminder
             WHERE {of} AND n > ?1 AND (?3 IS NULL OR due_ms <= ?3) ORDER BY n LIMIT ?4"
        ))?
        .query_map(
            params![
                query.after,
                query.publisher,
                query.overdue_at.map(millis),
                count(query.limit)
            ],
            reminder_of,
        )?
        .collect();
    Ok(found?)
}

fn history(
    connection: &Connection,
    publisher: &str,
    key: &str,
    before: i64,
    limit: usize,
) -> Result<ReminderHistory, Failure> {
    let reminded: rusqlite::Result<Vec<Reminded>> = connection
        .prepare_cached(
            "SELECT n, publisher, key, id, at_ms, overdue_ms FROM reminded
             WHERE publisher = ?1 AND key = ?2 AND n < ?3 ORDER BY n DESC LIMIT ?4",
        )?
        .query_map(params![publisher, key, before, count(limit)], |row| {
            Ok(Reminded {
                number: row.get(0)?,
                publisher: row.get(1)?,
                key: row.get(2)?,
                notification: Uuid::from_bytes(row.get(3)?),
                at: moment_of(row, 4)?,
                overdue: Duration::from_millis(unsigned(row, 5)?),
            })
        })?
        .collect();
    reminded?
        .into_iter()
        .map(|one| {
            let query = WebhookQuery {
                of: WebhooksOf::Notification(one.notification),
                state: None,
                before: None,
                limit: MAX_ENDPOINTS,
            };
            Ok((one, outbox::list(connection, &query)?))
        })
        .collect()
}

/// What a sweep published, and the entries that it became.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) swept: Swept,
    pub(super) entries: Vec<Entry>,
}

/// One step of a sweep. The head is the caller's to move.
pub(super) fn sweep(
    connection: &Connection,
    inserts: &mut Inserts<'_>,
    now: Timestamp,
    limit: usize,
    mut head: Position,
) -> Result<Sweep, Failure> {
    let latest = connection
        .prepare_cached("UPDATE hub SET latest_ms = max(latest_ms, ?1) RETURNING latest_ms")?
        .query_map([millis(now)], |row| moment_of(row, 0))?
        .next()
        .transpose()?
        .unwrap_or(now);
    let due: rusqlite::Result<Vec<Reminder>> = connection
        .prepare_cached(&due_sql())?
        .query_map(params![millis(latest), count(limit)], reminder_of)?
        .collect();
    let (mut swept, mut entries) = (Swept::default(), Vec::new());
    for reminder in due? {
        let overdue = latest.since(reminder.due_at);
        let notification = match reminder.publish(overdue, now) {
            Ok(notification) => notification,
            Err(error) => {
                tracing::warn!(%error, key = %reminder.key, "a reminder cannot be published; trying again later");
                let pause = reminder.repeat_every.unwrap_or(UNPUBLISHABLE_PAUSE);
                move_on(
                    connection,
                    &reminder,
                    Some(latest.saturating_add(pause)),
                    None,
                )?;
                continue;
            }
        };
        head = head.next();
        let entry = entries::placed(&notification, Arc::clone(&notification.body), head);
        inserts.entry(&entry, &notification.publisher, notification.webhook)?;
        let next = reminder
            .repeat_every
            .map(|every| latest.saturating_add(every));
        move_on(connection, &reminder, next, Some(latest))?;
        let number = connection
            .prepare_cached(
                "INSERT INTO reminded (publisher, key, id, at_ms, overdue_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 RETURNING n",
            )?
            .query_row(
                params![
                    reminder.publisher,
                    reminder.key,
                    entry.id.as_bytes(),
                    millis(now),
                    i64::try_from(overdue.as_millis()).unwrap_or(i64::MAX)
                ],
                |row| row.get(0),
            )?;
        swept.last = Some(entry.position);
        swept.reminded.push((
            Reminded {
                number,
                publisher: reminder.publisher,
                key: reminder.key,
                notification: entry.id,
                at: now,
                overdue,
            },
            Arc::clone(&entry.body),
        ));
        entries.push(entry);
    }
    swept.overdue = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM reminder INDEXED BY reminder_due WHERE due_ms <= ?1 LIMIT ?2)",
        )?
        .query_row(params![millis(latest), bound(MAX_LOOKED)], |row| unsigned(row, 0))?;
    swept.next_due = connection
        .prepare_cached(NEXT_DUE_SQL)?
        .query_row([], |row| moment_of(row, 0))
        .optional()?;
    Ok(Sweep { swept, entries })
}

fn move_on(
    connection: &Connection,
    reminder: &Reminder,
    next: Option<Timestamp>,
    sent_at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE reminder SET next_ms = ?2, last_ms = coalesce(?3, last_ms), sent = sent + (?3 IS NOT NULL)
             WHERE n = ?1",
        )?
        .execute(params![reminder.number, next.map(millis), sent_at.map(millis)])?;
    Ok(())
}

/// Forgets what was published before `cutoff`, so many of the first: how many went.
pub(super) const OLD_REMINDED_SQL: &str = "DELETE FROM reminded WHERE n IN (
    SELECT n FROM (SELECT n, at_ms FROM reminded ORDER BY n LIMIT ?3) WHERE at_ms < ?1 LIMIT ?2)";

impl Reminders for SqliteStore {
    fn keep_reminder(&self, reminder: NewReminder) -> BoxFuture<'_, Result<Kept, StoreError>> {
        async move {
            let kept = self.write(move |c| keep(c, &reminder)).await?;
            if let Kept::New(reminder) | Kept::Changed(reminder) = &kept
                && let Some(next) = reminder.next_at
            {
                self.agenda.due(next);
            }
            Ok(kept)
        }
        .boxed()
    }

    fn remove_reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |c| remove(c, &publisher, &key)).boxed()
    }

    fn reminder(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
    ) -> BoxFuture<'_, Result<Option<Reminder>, StoreError>> {
        self.readers
            .ask(move |c| Ok(of_key(c, &publisher, &key)?))
            .boxed()
    }

    fn reminders(&self, query: ReminderQuery) -> BoxFuture<'_, Result<Vec<Reminder>, StoreError>> {
        self.readers.ask(move |c| list(c, &query)).boxed()
    }

    fn reminded(
        &self,
        publisher: Arc<str>,
        key: Arc<str>,
        before: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<ReminderHistory, StoreError>> {
        self.readers
            .ask(move |c| history(c, &publisher, &key, before, limit))
            .boxed()
    }

    fn remind(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        let remind = move |answer, room| {
            Job::Remind(Remind {
                now,
                limit,
                answer,
                _room: room,
            })
        };
        self.hand_in(remind).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::{reads_an_index, searches_only};
    use super::*;

    #[test]
    fn what_is_due_is_read_off_its_index_however_many_reminders_there_are() {
        searches_only(&due_sql(), 2);
        reads_an_index(NEXT_DUE_SQL, 0);
    }
}
