//! What the store says about itself: one read in one snapshot.
//!
//! Nothing is looked at without a bound, because a diagnosis is asked for when things are bad already: a count stops, and
//! a comparison looks at the newest. Who asks to go deep lifts the bounds and gives a time instead.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use uuid::Uuid;

use super::entries::{count, millis, moment_of, position_of, stored, unsigned};
use super::failure::Failure;
use super::invariants;
use super::pages;
use super::scheduled;
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::diagnosis::{
    Accepted, Addressee, Counter, Counts, DOUBLE_WITHIN, DiagnosisQuery, Double, Facts, Failed,
    Listed, MAX_COMPARED, MAX_COMPARED_BYTES, MAX_LOOKED, MAX_NAMED, NEAR_THE_LAST_NUMBER, OVERDUE,
    Queue, Stuck, WINDOW, doubles,
};
use crate::reference::Zone;

/// No place on earth is further from UTC, in one direction or the other: whatever zone the months of references are in,
/// the present one is that of now and so long before or after.
const FURTHEST_ZONE: std::time::Duration = std::time::Duration::from_hours(14);

/// All of it.
pub(super) fn diagnose(connection: &Connection, query: &DiagnosisQuery) -> Result<Facts, Failure> {
    let since = query.now.saturating_sub(WINDOW);
    let (doubles, compared) = likely_doubles(connection, since)?;
    let mut facts = Facts {
        at: query.now,
        counts: counts(connection)?,
        queue: queue(connection)?,
        overdue: scheduled::overdue(connection, query.now.saturating_sub(OVERDUE), MAX_LOOKED)?,
        stuck: stuck(connection, query.now.saturating_sub(query.lease))?,
        failed: failed(connection, since)?,
        duplicates: duplicates(connection, since)?,
        doubles,
        compared,
        references: references(connection, query.now)?,
        broken: invariants::broken(connection, MAX_LOOKED)?,
        deep: None,
    };
    if let Some(patience) = query.deep {
        let (deep, broken) = invariants::deep(connection, patience)?;
        facts.deep = Some(deep);
        facts.broken = broken.unwrap_or(facts.broken);
    }
    Ok(facts)
}

/// A number that one row holds.
pub(super) fn number(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(sql)?
        .query_row(parameters, |row| unsigned(row, 0))
}

/// The recipient whose key stands in a column.
pub(super) fn addressee(row: &Row<'_>, column: usize) -> rusqlite::Result<Addressee> {
    let key = row.get_ref(column)?.as_str()?;
    Ok(Recipient::parse(key).unwrap_or(Recipient::Everyone).into())
}

/// A notification's id; one that is not there, because its entry is missing, is all zeros.
pub(super) fn id_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let id: Option<[u8; 16]> = row.get(column)?;
    Ok(id.map_or(Uuid::nil(), Uuid::from_bytes))
}

/// The moment in a column that may hold none.
pub(super) fn moment_if_any(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let moment: Option<i64> = row.get(column)?;
    moment.map(|_| moment_of(row, column)).transpose()
}

/// How much there is, by what became of it.
pub(super) fn counts(connection: &Connection) -> Result<Counts, Failure> {
    let stored = pages::counts(connection)?;
    let processing = number(
        connection,
        "SELECT count(*) FROM delivery WHERE owner IS NOT NULL AND state = 'owed'",
        [],
    )?;
    let to_a_bound = |state: &str| {
        number(
            connection,
            "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE state = ?1 LIMIT ?2)",
            params![state, bound(MAX_LOOKED)],
        )
    };
    Ok(Counts {
        pending: stored.owed.saturating_sub(processing),
        processing,
        sent: to_a_bound("sent")?,
        failed: stored.failed,
        expired: to_a_bound("expired")?,
        scheduled: stored.scheduled,
        notifications: stored.notifications,
        broadcasts: stored.broadcasts,
        oldest_owed_at: stored.oldest_owed,
    })
}

/// A bound as SQLite takes it.
pub(super) fn bound(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// How far the log is through the fan-out.
pub(super) fn queue(connection: &Connection) -> Result<Queue, Failure> {
    let (head, settled) = connection
        .prepare_cached("SELECT head, settled FROM hub")?
        .query_row([], |row| Ok((position_of(row, 0)?, position_of(row, 1)?)))?;
    let oldest_at = connection
        .prepare_cached(
            "SELECT created_ms FROM entry WHERE position > ?1 ORDER BY position LIMIT 1",
        )?
        .query_row([stored(settled)], |row| moment_of(row, 0))
        .optional()?;
    Ok(Queue {
        head,
        settled,
        oldest_at,
    })
}

fn stuck(connection: &Connection, cutoff: Timestamp) -> Result<Listed<Stuck>, Failure> {
    let stuck: rusqlite::Result<Vec<Stuck>> = connection
        .prepare_cached(
            "SELECT (SELECT id FROM entry WHERE entry.position = delivery.position),
                    key, owner, leased_ms, attempts
             FROM delivery WHERE owner IS NOT NULL AND state = 'owed' AND leased_ms <= ?1
             ORDER BY leased_ms LIMIT ?2",
        )?
        .query_map(params![millis(cutoff), count(MAX_NAMED)], |row| {
            Ok(Stuck {
                notification_id: id_of(row, 0)?,
                recipient: addressee(row, 1)?,
                owner: row.get(2)?,
                since: moment_of(row, 3)?,
                attempts: row.get(4)?,
            })
        })?
        .collect();
    Ok(Listed {
        count: number(
            connection,
            "SELECT count(*) FROM delivery
             WHERE owner IS NOT NULL AND state = 'owed' AND leased_ms <= ?1",
            [millis(cutoff)],
        )?,
        first: stuck?,
    })
}

fn failed(connection: &Connection, since: Timestamp) -> Result<Listed<Failed>, Failure> {
    let failed: rusqlite::Result<Vec<Failed>> = connection
        .prepare_cached(
            "SELECT (SELECT id FROM entry WHERE entry.position = delivery.position),
                    key, changed_ms, attempts, reason
             FROM delivery WHERE state = 'failed' AND changed_ms >= ?1
             ORDER BY changed_ms DESC LIMIT ?2",
        )?
        .query_map(params![millis(since), count(MAX_NAMED)], |row| {
            Ok(Failed {
                notification_id: id_of(row, 0)?,
                recipient: addressee(row, 1)?,
                at: moment_of(row, 2)?,
                attempts: row.get(3)?,
                reason: row.get(4)?,
            })
        })?
        .collect();
    Ok(Listed {
        count: number(
            connection,
            "SELECT count(*) FROM (
                 SELECT 1 FROM delivery WHERE state = 'failed' AND changed_ms >= ?1 LIMIT ?2)",
            params![millis(since), bound(MAX_LOOKED)],
        )?,
        first: failed?,
    })
}

fn duplicates(connection: &Connection, since: Timestamp) -> rusqlite::Result<u64> {
    // They have no index by time, but their numbers rise with it.
    number(
        connection,
        "SELECT count(*) FROM (SELECT at_ms FROM duplicate ORDER BY n DESC LIMIT ?2)
         WHERE at_ms >= ?1",
        params![millis(since), bound(MAX_LOOKED)],
    )
}

/// What was likely sent twice, and among how many.
fn likely_doubles(
    connection: &Connection,
    since: Timestamp,
) -> rusqlite::Result<(Listed<Double>, u64)> {
    let keyed = keyed(connection, since.saturating_sub(DOUBLE_WITHIN))?;
    let mut statement = connection.prepare_cached(
        "SELECT id, publisher, audience, created_ms, body, kind FROM entry
         WHERE position > (SELECT head FROM hub) - ?1 ORDER BY position DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([count(MAX_COMPARED)])?;
    let (mut accepted, mut compared, mut bytes) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        let at = moment_of(row, 3)?;
        if at < since {
            // Not the end: an entry from a day when the clock was behind must not hide those before it.
            continue;
        }
        let (audience, body) = (row.get_ref(2)?.as_str()?, row.get_ref(4)?.as_str()?);
        let publisher: Arc<str> = row.get(1)?;
        bytes += body.len();
        if bytes > MAX_COMPARED_BYTES {
            break;
        }
        compared += 1;
        let id = id_of(row, 0)?;
        let is_test = row.get_ref(5)?.as_str()? == "broadcast" && to_oneself(&publisher, audience);
        if !keyed.contains(&id) && !is_test {
            accepted.push(Accepted::new(id, publisher, at, audience, body));
        }
    }
    Ok((doubles(accepted), compared))
}

/// A test: a person presses that button as often as they like.
fn to_oneself(publisher: &str, audience: &str) -> bool {
    let user = audience.strip_prefix("u:");
    user.is_some_and(|user| {
        let issuer = publisher.strip_suffix(user);
        issuer.is_some_and(|issuer| issuer.starts_with("user:") && issuer.ends_with('/'))
    })
}

/// What came under a key lately.
fn keyed(connection: &Connection, since: Timestamp) -> rusqlite::Result<HashSet<Uuid>> {
    // By number, which rises with time as well.
    connection
        .prepare_cached(
            "SELECT id FROM (SELECT id, kept_ms FROM idempotency ORDER BY n DESC LIMIT ?2)
             WHERE kept_ms >= ?1",
        )?
        .query_map(params![millis(since), bound(MAX_LOOKED)], |row| {
            id_of(row, 0)
        })?
        .collect()
}

/// Counters of the present month that are near their last number of four digits.
fn references(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Counter>> {
    let zone = Zone::default();
    connection
        .prepare_cached(
            "SELECT prefix, month, last FROM (SELECT * FROM reference_counter LIMIT ?5)
             WHERE month IN (?1, ?2) AND last >= ?3 ORDER BY last DESC, prefix, month LIMIT ?4",
        )?
        .query_map(
            params![
                zone.month(now.saturating_sub(FURTHEST_ZONE)),
                zone.month(now.saturating_add(FURTHEST_ZONE)),
                bound(NEAR_THE_LAST_NUMBER),
                count(MAX_NAMED),
                bound(MAX_LOOKED)
            ],
            |row| {
                Ok(Counter {
                    prefix: row.get(0)?,
                    month: row.get(1)?,
                    last: unsigned(row, 2)?,
                })
            },
        )?
        .collect()
}
