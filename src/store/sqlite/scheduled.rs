//! Notifications that are held back, as rows: they wait beside the log, and get their place in it when their time has come.
//!
//! A release is one transaction of the writer's: the row goes, the entry comes. So nobody claims anything here, nothing can
//! be half released, and two who release at once release different ones.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::deliveries::CLOSED;
use super::diagnosis::bound;
use super::entries::{
    COLUMNS, Inserts, count, entry_of, kind_name, kind_of, millis, moment_of, stored, unsigned,
};
use super::failure::Failure;
use super::references;
use crate::audience::{Audience, Recipient};
use crate::clock::Timestamp;
use crate::delivery::{Cancellation, Held, Which};
use crate::diagnosis::Overdue;
use crate::log::Position;
use crate::notification::{Entry, Kind, Notification};
use crate::store::{Cancel, Cancelled, MAX_SCHEDULED};
use crate::webhooks::Choice;

/// Those that are due (?1), the longest due first, so many (?2).
const DUE_SQL: &str = "SELECT n, id, kind, publisher, audience, expires_ms, body, webhook
    FROM scheduled INDEXED BY scheduled_due
    WHERE cancelled_ms IS NULL AND due_ms <= ?1 ORDER BY due_ms, n LIMIT ?2";

/// When the next one is due.
const NEXT_DUE_SQL: &str = "SELECT due_ms FROM scheduled INDEXED BY scheduled_due
    WHERE cancelled_ms IS NULL ORDER BY due_ms, n LIMIT 1";

/// Why somebody did not get one that was cancelled, as the delivery's reason says it.
const CANCELLED: &str = "it was cancelled before they came";

/// Whether one more may be held back.
pub(super) fn has_room(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT n < ?1 FROM counter WHERE name = 'scheduled'")?
        .query_row([count(MAX_SCHEDULED)], |row| row.get(0))
}

/// Holds a notification with this body back until it is due.
pub(super) fn hold(
    connection: &Connection,
    notification: &Notification,
    body: &str,
    due: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO scheduled (id, kind, publisher, audience, accepted_ms, due_ms, expires_ms, body, webhook)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            notification.id.as_bytes(),
            kind_name(notification.kind),
            notification.publisher,
            notification.audience.to_text(),
            millis(notification.created_at),
            millis(due),
            notification.expires_at.map(millis),
            body,
            notification.webhook.map(Choice::name),
        ])?;
    Ok(())
}

/// One that is released.
struct Due {
    n: i64,
    publisher: Arc<str>,
    webhook: Option<Choice>,
    entry: Entry,
}

/// Gives those that are due their places after `head`. The head is the caller's to move.
pub(super) fn release(
    connection: &Connection,
    inserts: &mut Inserts<'_>,
    now: Timestamp,
    limit: usize,
    mut head: Position,
) -> Result<Vec<Entry>, Failure> {
    let due: rusqlite::Result<Vec<Due>> = connection
        .prepare_cached(DUE_SQL)?
        .query_map(params![millis(now), count(limit)], |row| {
            head = head.next();
            let expires: Option<i64> = row.get(5)?;
            let entry = Entry {
                position: head,
                id: Uuid::from_bytes(row.get(1)?),
                kind: kind_of(row, 2)?,
                audience: audience_of(row, 4)?,
                created_at: now,
                expires_at: expires.map(|_| moment_of(row, 5)).transpose()?,
                body: row.get_ref(6)?.as_str()?.into(),
            };
            let webhook: Option<String> = row.get(7)?;
            Ok(Due {
                n: row.get(0)?,
                publisher: row.get(3)?,
                webhook: webhook.as_deref().and_then(Choice::named),
                entry,
            })
        })?
        .collect();
    let due = due?;
    let mut forget = connection.prepare_cached("DELETE FROM scheduled WHERE n = ?1")?;
    for one in &due {
        forget.execute([one.n])?;
        inserts.entry(&one.entry, &one.publisher, one.webhook)?;
    }
    Ok(due.into_iter().map(|one| one.entry).collect())
}

fn audience_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Audience> {
    Audience::from_text(row.get_ref(column)?.as_str()?).ok_or_else(|| {
        let text = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, text, "not an audience".into())
    })
}

/// When the next one is due.
pub(super) fn next_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(NEXT_DUE_SQL)?
        .query_row([], |row| moment_of(row, 0))
        .optional()
}

/// How many were due before `cutoff`, counted to a limit, and since when the first of them is.
pub(super) fn overdue(
    connection: &Connection,
    cutoff: Timestamp,
    limit: u64,
) -> rusqlite::Result<Overdue> {
    let since = next_due(connection)?.filter(|due| *due < cutoff);
    let count = connection
        .prepare_cached(
            "SELECT count(*) FROM (
                 SELECT 1 FROM scheduled INDEXED BY scheduled_due
                 WHERE cancelled_ms IS NULL AND due_ms < ?1 LIMIT ?2)",
        )?
        .query_row(params![millis(cutoff), bound(limit)], |row| {
            unsigned(row, 0)
        })?;
    Ok(Overdue { count, since })
}

/// One that is held back, or was cancelled while it was.
pub(super) fn held(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Held>> {
    connection
        .prepare_cached(
            "SELECT kind, audience, publisher, accepted_ms, due_ms, expires_ms, body, cancelled_ms, cancelled_by,
                    (SELECT reference FROM reference WHERE reference.id = scheduled.id)
             FROM scheduled WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            let expires: Option<i64> = row.get(5)?;
            Ok(Held {
                id,
                kind: kind_of(row, 0)?,
                audience: audience_of(row, 1)?,
                publisher: row.get(2)?,
                accepted_at: moment_of(row, 3)?,
                deliver_at: moment_of(row, 4)?,
                expires_at: expires.map(|_| moment_of(row, 5)).transpose()?,
                body: row.get(6)?,
                cancelled: cancellation_of(row, 7)?,
                reference: row.get(9)?,
            })
        })
        .optional()
}

/// Who cancelled it, and when: two columns from this one on.
pub(super) fn cancellation_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Cancellation>> {
    let by: Option<Arc<str>> = row.get(at + 1)?;
    by.map(|by| {
        Ok(Cancellation {
            at: moment_of(row, at)?,
            by,
        })
    })
    .transpose()
}

/// Cancels one that is held back; or withdraws one that nobody took, and that nobody is asked after for any more.
pub(super) fn cancel(connection: &Connection, cancel: &Cancel) -> Result<Cancelled, Failure> {
    let id = match &cancel.which {
        Which::Id(id) => Some(*id),
        Which::Reference(reference) => references::given(connection, reference)?.map(|(id, _)| id),
    };
    let Some(id) = id else {
        return Ok(Cancelled::Unknown);
    };
    if let Some(held) = held(connection, id)? {
        if !cancel.may(&held.publisher) {
            return Ok(Cancelled::Unknown);
        }
        if held.cancelled.is_some() {
            return Ok(Cancelled::Before);
        }
        connection
            .prepare_cached(
                "UPDATE scheduled SET cancelled_ms = ?2, cancelled_by = ?3 WHERE id = ?1",
            )?
            .execute(params![id.as_bytes(), millis(cancel.now), cancel.by])?;
        return Ok(Cancelled::Now {
            id,
            position: None,
            told: Vec::new(),
        });
    }
    withdraw(connection, id, cancel)
}

/// From the inboxes of its recipients, if it has failed for all of them.
fn withdraw(connection: &Connection, id: Uuid, cancel: &Cancel) -> Result<Cancelled, Failure> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, publisher, cancelled_ms IS NOT NULL,
                    (SELECT count(*) FROM delivery WHERE delivery.position = entry.position AND state = 'failed')
             FROM entry WHERE id = ?1"
        ))?
        .query_row([id.as_bytes()], |row| {
            Ok((
                entry_of(row)?,
                row.get::<_, Arc<str>>(7)?,
                row.get::<_, bool>(8)?,
                unsigned(row, 9)?,
            ))
        })
        .optional()?;
    let Some((entry, publisher, cancelled, failed)) = found else {
        return Ok(Cancelled::Unknown);
    };
    if !cancel.may(&publisher) {
        return Ok(Cancelled::Unknown);
    }
    if cancelled {
        return Ok(Cancelled::Before);
    }
    let recipients = entry.audience.recipients();
    if entry.kind != Kind::Notification || failed != recipients.len() as u64 {
        return Ok(Cancelled::TooLate);
    }
    let (position, now) = (stored(entry.position), millis(cancel.now));
    connection
        .prepare_cached(&format!(
            "UPDATE delivery SET state = 'cancelled', {CLOSED}, changed_ms = ?2, reason = ?3 WHERE position = ?1"
        ))?
        .execute(params![position, now, CANCELLED])?;
    // As if it had lapsed: then no stream is sent it, and it counts in nobody's inbox.
    let mut lapse = connection.prepare_cached(
        "UPDATE audience SET inbox = 0, expires_ms = ?3 WHERE key = ?1 AND inbox = 1 AND position = ?2",
    )?;
    for recipient in recipients {
        lapse.execute(params![recipient.to_string(), position, now])?;
    }
    connection
        .prepare_cached(
            "UPDATE entry SET expires_ms = ?2, cancelled_ms = ?2, cancelled_by = ?3 WHERE position = ?1",
        )?
        .execute(params![position, now, cancel.by])?;
    let told = recipients.iter().filter_map(|recipient| match recipient {
        Recipient::User(user) => Some(Arc::clone(user)),
        Recipient::Role(_) | Recipient::Everyone => None,
    });
    Ok(Cancelled::Now {
        id,
        position: Some(entry.position),
        told: told.collect(),
    })
}

/// Forgets those that were cancelled before `cutoff`, so many: how many went.
pub(super) fn forget_cancelled(
    connection: &Connection,
    cutoff: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(&format!(
            "DELETE FROM scheduled WHERE n IN ({OLD_CANCELLED_SQL})"
        ))?
        .execute(params![millis(cutoff), count(limit)])
}

/// Those cancelled before ?1, so many (?2).
pub(super) const OLD_CANCELLED_SQL: &str =
    "SELECT n FROM scheduled WHERE cancelled_ms < ?1 ORDER BY cancelled_ms LIMIT ?2";

#[cfg(test)]
mod tests {
    use super::super::pages::tests::{reads_an_index, searches_only};
    use super::*;

    #[test]
    fn what_is_due_is_read_off_its_index_however_much_is_held_back() {
        searches_only(DUE_SQL, 2);
        searches_only(OLD_CANCELLED_SQL, 2);
        reads_an_index(NEXT_DUE_SQL, 0);
    }
}
