//! What became of recipients: `owed → sent | failed | expired`.
//!
//! Only those that nobody took it for at the first try have a row; see the contract in [`crate::store`]. All of this
//! runs on the writer, inside its transaction.

use std::time::Duration;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::entries::{count, millis, moment_of, position_of, stored};
use super::failure::Failure;
use super::mailbox::{Batch, Change};
use super::reading::READ;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::store::{Asked, MAX_FAILED_NAMED, Missed, RetrySchedule};

/// Why a recipient has failed, as the delivery's reason says it.
const NOBODY_TOOK_IT: &str = "nobody took it";

/// The positions that were committed but not settled when the store was opened: whether their recipients had them, a
/// crash made unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDoubt {
    /// The settled position at open.
    pub(super) after: Position,
    /// The head at open.
    pub(super) upto: Position,
}

impl InDoubt {
    fn contains(self, position: Position) -> bool {
        self.after < position && position <= self.upto
    }
}

/// Writes verdicts.
pub(super) fn apply(
    connection: &Connection,
    batch: &Batch,
    in_doubt: InDoubt,
    now: Timestamp,
    first_ask: Duration,
) -> Result<(), Failure> {
    if batch.settled > Position::START {
        connection
            .prepare_cached("UPDATE hub SET settled = max(settled, min(?1, head))")?
            .execute([stored(batch.settled)])?;
    }
    // From `entry`, so that a verdict about one that is pruned meanwhile comes to nothing.
    let mut owe = connection.prepare_cached(
        "INSERT INTO delivery (position, key, state, next_ms, reopened, changed_ms)
         SELECT position, ?2, 'owed', ?3, ?4, ?5 FROM entry WHERE position = ?1
         ON CONFLICT (position, key) DO NOTHING",
    )?;
    let mut send = connection.prepare_cached(
        "UPDATE delivery SET state = 'sent', next_ms = NULL, reopened = 0, changed_ms = ?3, reason = NULL
         WHERE position = ?1 AND key = ?2 AND state IN ('owed', 'failed')",
    )?;
    for change in &batch.changes {
        match change {
            Change::Owed(position, recipient) => owe.execute(params![
                stored(*position),
                recipient.to_string(),
                millis(now.saturating_add(first_ask)),
                in_doubt.contains(*position),
                millis(now),
            ])?,
            Change::Sent(position, recipient) => send.execute(params![
                stored(*position),
                recipient.to_string(),
                millis(now)
            ])?,
        };
    }
    let mut mark = connection.prepare_cached(
        "INSERT INTO mark (user, position, since) VALUES (?1, ?2, ?2)
         ON CONFLICT (user) DO UPDATE SET position = max(position, excluded.position)",
    )?;
    for (user, position) in &batch.marks {
        mark.execute(params![user, stored(*position)])?;
    }
    Ok(())
}

/// A client has come back with a place: what a crash had re-opened for these keys up to there was taken after all.
pub(super) fn settle_reopened(
    connection: &Connection,
    keys: &[String],
    place: Position,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut send = connection.prepare_cached(
        "UPDATE delivery SET state = 'sent', next_ms = NULL, reopened = 0, changed_ms = ?3, reason = NULL
         WHERE key = ?1 AND position <= ?2 AND reopened = 1",
    )?;
    for key in keys {
        send.execute(params![key, stored(place), millis(now)])?;
    }
    Ok(())
}

/// A recipient whose time to be asked has come.
struct Due {
    position: Position,
    notification: Uuid,
    key: String,
    attempts: usize,
    outcome: Option<Outcome>,
}

/// Why a recipient need not be asked any more.
#[derive(Clone, Copy)]
enum Outcome {
    /// The user that it names has read it in their inbox.
    Read,
    Expired,
}

/// Asks those who are due, the longest due first.
pub(super) fn ask_again(
    connection: &Connection,
    now: Timestamp,
    schedule: &RetrySchedule,
    limit: usize,
) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    let mut turn = connection.prepare_cached(
        "UPDATE delivery SET state = ?3, attempts = ?4, next_ms = ?5, changed_ms = ?6, reason = ?7,
                reopened = CASE WHEN ?3 IN ('sent', 'expired') THEN 0 ELSE reopened END
         WHERE position = ?1 AND key = ?2",
    )?;
    for due in due(connection, now, limit)? {
        let attempts = due.attempts + usize::from(due.outcome.is_none());
        let next = match due.outcome {
            None => schedule.delays.get(attempts),
            Some(_) => None,
        };
        let (state, reason) = match (due.outcome, next) {
            (Some(Outcome::Read), _) => {
                asked.read += 1;
                ("sent", Some(READ))
            }
            (Some(Outcome::Expired), _) => {
                asked.expired += 1;
                ("expired", None)
            }
            (None, Some(_)) => {
                asked.still_owed += 1;
                ("owed", None)
            }
            (None, None) => {
                asked.failed += 1;
                if asked.missed.len() < MAX_FAILED_NAMED {
                    asked.missed.push(Missed {
                        notification: due.notification,
                        recipient: due.key.clone(),
                    });
                }
                ("failed", Some(NOBODY_TOOK_IT))
            }
        };
        turn.execute(params![
            stored(due.position),
            due.key,
            state,
            count(attempts),
            next.map(|delay| millis(now.saturating_add(*delay))),
            millis(now),
            reason,
        ])?;
    }
    asked.next_due = connection
        .prepare_cached(
            "SELECT next_ms FROM delivery WHERE state = 'owed' ORDER BY next_ms LIMIT 1",
        )?
        .query_map([], |row| moment_of(row, 0))?
        .next()
        .transpose()?;
    Ok(asked)
}

fn due(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
    connection
        .prepare_cached(
            // `u:` and the user: only who is named can have read it for themselves.
            "SELECT position, key, attempts, coalesce(expires_ms <= ?1, 0),
                    substr(key, 1, 2) = 'u:' AND (
                        EXISTS (SELECT 1 FROM reading
                                WHERE user = substr(key, 3) AND upto >= delivery.position)
                        OR EXISTS (SELECT 1 FROM read_mark
                                   WHERE user = substr(key, 3) AND position = delivery.position)),
                    id
             FROM delivery JOIN entry USING (position)
             WHERE state = 'owed' AND next_ms <= ?1
             ORDER BY next_ms LIMIT ?2",
        )?
        .query_map(params![millis(now), count(limit)], |row| {
            Ok(Due {
                position: position_of(row, 0)?,
                notification: Uuid::from_bytes(row.get(5)?),
                key: row.get(1)?,
                attempts: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                outcome: match (row.get(4)?, row.get(3)?) {
                    (true, _) => Some(Outcome::Read),
                    (false, true) => Some(Outcome::Expired),
                    (false, false) => None,
                },
            })
        })?
        .collect()
}
