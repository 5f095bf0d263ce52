//! What must always hold, looked for in the rows themselves.
//!
//! The schema forbids most of it, and the code never does it; but a disk, a copy taken at the wrong moment and a person with
//! the SQLite shell know nothing of either.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::diagnosis::{bound, number};
use super::entries::{stored, unsigned};
use super::failure::Failure;
use super::{outbox, pages};
use crate::diagnosis::{Broken, Deep, Rule};
use crate::log::Position;

/// How many lines of the file's own check are kept.
const MAX_DAMAGE: usize = 20;
/// How soon an interruption is repeated, in case that it fell between two statements.
const AGAIN: Duration = Duration::from_millis(50);

/// Rules that do not hold, of at most `limit` rows of each kind.
pub(super) fn broken(connection: &Connection, limit: u64) -> Result<Vec<Broken>, Failure> {
    let (head, settled) = connection
        .prepare_cached("SELECT head, settled FROM hub")?
        .query_row([], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
    let mut broken = Vec::new();
    if settled > head {
        broken.push(Broken {
            rule: Rule::SettledWithinTheLog,
            count: settled - head,
            example: format!("settled {settled}, head {head}"),
        });
    }
    broken.extend(past_the_head(connection, Position(head))?);
    for (rule, sql) in [
        (
            Rule::DeliveriesHaveEntries,
            "SELECT count(*), max(position), key
             FROM (SELECT position, key FROM delivery ORDER BY position DESC, key DESC LIMIT ?1) AS kept
             WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.position = kept.position)",
        ),
        (
            Rule::KeysHaveEntries,
            "SELECT count(*), max(position), key
             FROM (SELECT position, key FROM audience LIMIT ?1) AS kept
             WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.position = kept.position)",
        ),
        (
            Rule::OnlyOwedIsClaimed,
            "SELECT count(*), max(position), key
             FROM (SELECT position, key, state FROM delivery WHERE owner IS NOT NULL LIMIT ?1)
             WHERE state <> 'owed'",
        ),
    ] {
        broken.extend(rows_that_break(connection, rule, sql, limit)?);
    }
    broken.extend(counters(connection, limit)?);
    Ok(broken)
}

fn past_the_head(connection: &Connection, head: Position) -> rusqlite::Result<Option<Broken>> {
    let (past, last): (u64, Option<i64>) = connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM entry WHERE position > ?1), (SELECT max(position) FROM entry)",
        )?
        .query_row([stored(head)], |row| Ok((unsigned(row, 0)?, row.get(1)?)))?;
    Ok((past > 0).then(|| Broken {
        rule: Rule::NoEntryPastTheHead,
        count: past,
        example: format!("position {}, head {}", last.unwrap_or_default(), head.0),
    }))
}

/// How many rows a statement finds to break a rule, and the last of them.
fn rows_that_break(
    connection: &Connection,
    rule: Rule,
    sql: &str,
    limit: u64,
) -> rusqlite::Result<Option<Broken>> {
    let found: Option<(u64, i64, String)> = connection
        .prepare_cached(sql)?
        .query_row([bound(limit)], |row| {
            let count = unsigned(row, 0)?;
            if count == 0 {
                return Ok(None);
            }
            Ok(Some((count, row.get(1)?, row.get(2)?)))
        })
        .optional()?
        .flatten();
    Ok(found.map(|(count, position, key)| Broken {
        rule,
        count,
        example: format!("position {position}, {key}"),
    }))
}

/// What is counted as it comes and goes, against what is there. A counter past the limit is not recounted.
fn counters(connection: &Connection, limit: u64) -> Result<Option<Broken>, Failure> {
    let counts = pages::counts(connection)?;
    let entries = "SELECT count(*) FROM (SELECT 1 FROM entry WHERE kind = ?1 LIMIT ?2)";
    let deliveries = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE state = ?1 LIMIT ?2)";
    let scheduled = "SELECT count(*) FROM (SELECT 1 FROM scheduled WHERE cancelled_ms IS NULL AND ?1 <> '' LIMIT ?2)";
    let webhooks = "SELECT count(*) FROM (SELECT 1 FROM webhook WHERE state = 'waiting' AND ?1 = 'webhook' LIMIT ?2)";
    let mut wrong = Vec::new();
    for (name, counted, sql) in [
        ("notification", counts.notifications, entries),
        ("broadcast", counts.broadcasts, entries),
        ("owed", counts.owed, deliveries),
        ("failed", counts.failed, deliveries),
        ("scheduled", counts.scheduled, scheduled),
        ("webhook", outbox::counts(connection)?.waiting, webhooks),
    ] {
        if counted >= limit {
            continue;
        }
        let there = number(connection, sql, params![name, bound(limit)])?;
        if there != counted {
            wrong.push(format!("{name}: {counted}, and there are {there}"));
        }
    }
    Ok((!wrong.is_empty()).then(|| Broken {
        rule: Rule::CountersAreRight,
        count: wrong.len() as u64,
        example: wrong.join("; "),
    }))
}

/// The same for every row, and the file's own check, for as long as there is patience. Rules come only from a look that got
/// to its end.
pub(super) fn deep(
    connection: &Connection,
    patience: Duration,
) -> Result<(Deep, Option<Vec<Broken>>), Failure> {
    let looked = within(connection, patience, || {
        let rules = broken(connection, u64::MAX)?;
        let damage = quick_check(connection)?;
        Ok::<_, Failure>((rules, damage))
    });
    match looked {
        Ok((broken, damage)) => Ok((
            Deep {
                finished: true,
                damage,
            },
            Some(broken),
        )),
        Err(Failure::Sqlite(error)) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok((Deep::default(), None)),
            // Said, and not passed on: whoever serves the file finds out by itself what it cannot build on.
            Some(ErrorCode::DatabaseCorrupt) => Ok((
                Deep {
                    finished: false,
                    damage: vec![error.to_string()],
                },
                None,
            )),
            _ => Err(error.into()),
        },
        Err(failure) => Err(failure),
    }
}

/// What SQLite finds when it reads every page.
fn quick_check(connection: &Connection) -> Result<Vec<String>, Failure> {
    let lines: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA quick_check({MAX_DAMAGE})"))?
        .query_map([], |row| row.get(0))?
        .collect();
    let mut lines = lines?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}

/// Does some reading, and interrupts it when it has taken too long.
fn within<T>(connection: &Connection, patience: Duration, reading: impl FnOnce() -> T) -> T {
    let handle = connection.get_interrupt_handle();
    let (done, ended) = sync_channel::<()>(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut wait = patience;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                handle.interrupt();
                wait = AGAIN;
            }
        });
        let read = reading();
        drop(done);
        read
    })
}
