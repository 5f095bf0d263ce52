//! Keys and their answers as rows, and the audit of their being used again.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::entries::{count, millis, moment_of, place_of, stored_place};
use super::failure::Failure;
use crate::notification::Notification;
use crate::store::{Duplicate, DuplicateOutcome, DuplicateQuery, Placed, Refused};

/// What an earlier request under the same key was answered, which this one is told as well; or that this is another
/// request. None if it has no key, or a new one.
pub(super) fn answer(
    connection: &Connection,
    notification: &Notification,
) -> Result<Option<Result<Placed, Refused>>, Failure> {
    let Some(once) = &notification.once else {
        return Ok(None);
    };
    let found = connection
        .prepare_cached(
            "SELECT id, position, created_ms, reference, throttled, fingerprint FROM idempotency
             WHERE key = ?2 AND publisher = ?1",
        )?
        .query_row(params![notification.publisher, once.key], |row| {
            Ok((placed_of(row)?, row.get::<_, [u8; 32]>(5)?))
        })
        .optional()?;
    let Some((earlier, fingerprint)) = found else {
        return Ok(None);
    };
    let same = fingerprint == *once.fingerprint.as_bytes();
    let outcome = if same { ANSWERED } else { REFUSED };
    connection
        .prepare_cached(
            "INSERT INTO duplicate (publisher, key, outcome, id, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            notification.publisher,
            once.key,
            outcome,
            earlier.id.as_bytes(),
            millis(notification.created_at)
        ])?;
    Ok(Some(if same {
        Ok(earlier)
    } else {
        Err(Refused::KeyReused)
    }))
}

const ANSWERED: &str = "answered";
const REFUSED: &str = "refused";

/// The answer of [`answer`]'s first columns.
fn placed_of(row: &Row<'_>) -> rusqlite::Result<Placed> {
    Ok(Placed {
        id: Uuid::from_bytes(row.get(0)?),
        position: place_of(row, 1)?,
        created_at: moment_of(row, 2)?,
        reference: row.get(3)?,
        throttled: row.get(4)?,
        duplicate: true,
    })
}

/// Keeps answers under their keys, for all notifications of a commit.
pub(super) struct Keys<'c> {
    connection: &'c Connection,
    /// Prepared for the first of them that has a key.
    keep: Option<CachedStatement<'c>>,
}

impl<'c> Keys<'c> {
    pub(super) fn of(connection: &'c Connection) -> Self {
        let keep = None;
        Self { connection, keep }
    }

    /// Keeps the answer under the notification's key, if it has one. False if the key has an answer already: then that stays.
    pub(super) fn keep(
        &mut self,
        notification: &Notification,
        answer: &Placed,
    ) -> Result<bool, Failure> {
        let Some(once) = &notification.once else {
            return Ok(true);
        };
        let keep = match &mut self.keep {
            Some(keep) => keep,
            none => none.insert(self.connection.prepare_cached(KEEP_SQL)?),
        };
        let kept = keep.execute(params![
            notification.publisher,
            once.key,
            once.fingerprint.as_bytes(),
            millis(notification.created_at),
            answer.id.as_bytes(),
            stored_place(answer.position),
            millis(answer.created_at),
            answer.reference,
            answer.throttled,
        ])?;
        Ok(kept == 1)
    }
}

const KEEP_SQL: &str = "INSERT INTO idempotency
         (publisher, key, fingerprint, kept_ms, id, position, created_ms, reference, throttled)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     ON CONFLICT (key, publisher) DO NOTHING";

/// Uses of keys that had an answer, the latest first.
pub(super) fn duplicates(
    connection: &Connection,
    query: &DuplicateQuery,
) -> Result<Vec<Duplicate>, Failure> {
    // One statement for each shape, so that each has an index to walk.
    let filter = match (&query.key, &query.publisher) {
        (Some(_), _) => "key = ?1 AND (?2 IS NULL OR publisher = ?2)",
        (None, Some(_)) => "?1 IS NULL AND publisher = ?2",
        (None, None) => "?1 IS NULL AND ?2 IS NULL",
    };
    let found: rusqlite::Result<Vec<Duplicate>> = connection
        .prepare_cached(&format!(
            "SELECT n, publisher, key, outcome, id, at_ms FROM duplicate
             WHERE {filter} AND n < ?3 AND at_ms >= ?4 AND at_ms < ?5 ORDER BY n DESC LIMIT ?6"
        ))?
        .query_map(
            params![
                query.key,
                query.publisher,
                query.before.unwrap_or(i64::MAX),
                millis(query.since),
                millis(query.until),
                count(query.limit)
            ],
            |row| {
                Ok(Duplicate {
                    number: row.get(0)?,
                    publisher: row.get(1)?,
                    key: row.get(2)?,
                    outcome: match row.get_ref(3)?.as_str()? {
                        ANSWERED => DuplicateOutcome::Answered,
                        _ => DuplicateOutcome::Refused,
                    },
                    notification_id: Uuid::from_bytes(row.get(4)?),
                    at: moment_of(row, 5)?,
                })
            },
        )?
        .collect();
    Ok(found?)
}
