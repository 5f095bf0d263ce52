//! Timed work is claimed before it is done, so that nobody does it twice and nothing is stuck with whoever died over it.
//!
//! A claim is one statement: it takes rows that are due and have no owner, writes its owner and the time into them, and
//! counts the attempt. The act then holds only for a row that still has that owner and that attempt. A lease that has
//! lapsed is taken back while attempts are left; a row that has used them up has failed. A row without an owner is not
//! being worked on, so there is no state in between that nobody looks after.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::entries::{count, millis, moment_of, position_of, stored};
use super::failure::Failure;
use super::reading::READ;
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::store::{Asked, Claim, Nobody, Reclaimed, RetrySchedule};

/// Why a recipient has expired, as its reason says it.
const EXPIRED: &str = "it expired before they came";
/// Why a recipient has failed whose leases lapsed until no attempt was left.
const LEASES_LAPSED: &str = "whoever asked after it stopped half way, until no attempt was left";

/// Claims for an owner (?1) at a time (?2) so many (?3). The index is named because the planner would as soon take the one by
/// state, and sort all that is owed for each claim.
const CLAIM_SQL: &str = "UPDATE delivery SET owner = ?1, leased_ms = ?2, attempts = attempts + 1
    WHERE (position, key) IN (
        SELECT position, key FROM delivery INDEXED BY delivery_due
        WHERE state = 'owed' AND owner IS NULL AND next_ms <= ?2
        ORDER BY next_ms LIMIT ?3)
    RETURNING position, key, attempts, (SELECT id FROM entry WHERE entry.position = delivery.position)";

/// When the next one is due.
const NEXT_DUE_SQL: &str = "SELECT next_ms FROM delivery INDEXED BY delivery_due
    WHERE state = 'owed' AND owner IS NULL ORDER BY next_ms LIMIT 1";

/// Takes recipients that are owed and due, the longest due first.
pub(super) fn claim(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Claim>, Failure> {
    let claims: rusqlite::Result<Vec<Claim>> = connection
        .prepare_cached(CLAIM_SQL)?
        .query_map(params![owner, millis(now), count(limit)], |row| {
            let key: String = row.get(1)?;
            Ok(Claim {
                position: position_of(row, 0)?,
                recipient: Recipient::parse(&key).unwrap_or(Recipient::Everyone),
                attempt: row.get(2)?,
                notification: Uuid::from_bytes(row.get(3)?),
            })
        })?
        .collect();
    Ok(claims?)
}

/// What a claimed recipient turned out to be, looked at once more just before the act.
enum Found {
    /// The user whom it names has read it in their inbox.
    Read,
    Expired,
    Owed,
}

/// Says of each claimed recipient what has become of it, if it is still this owner's.
pub(super) fn settle(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    claims: &[Claim],
    schedule: &RetrySchedule,
) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    for claim in claims {
        let Some(found) = look(connection, claim, now)? else {
            asked.aborted += 1;
            continue;
        };
        let attempts = usize::try_from(claim.attempt).unwrap_or(usize::MAX);
        let next = match found {
            Found::Owed => schedule.delays.get(attempts),
            Found::Read | Found::Expired => None,
        };
        let (state, reason) = match (&found, next) {
            (Found::Read, _) => ("sent", Some(READ)),
            (Found::Expired, _) => ("expired", Some(EXPIRED)),
            (Found::Owed, Some(_)) => ("owed", None),
            (Found::Owed, None) => ("failed", None),
        };
        let next = next.map(|delay| millis(now.saturating_add(*delay)));
        let changed = connection
            .prepare_cached(
                "UPDATE delivery SET state = ?3, next_ms = ?4, changed_ms = ?5, reason = coalesce(?6, reason),
                        owner = NULL, leased_ms = NULL,
                        reopened = CASE WHEN ?3 IN ('sent', 'expired') THEN 0 ELSE reopened END
                 WHERE position = ?1 AND key = ?2 AND state = 'owed' AND owner = ?7 AND attempts = ?8",
            )?
            .execute(params![
                stored(claim.position),
                claim.recipient.to_string(),
                state,
                next,
                millis(now),
                reason,
                owner,
                claim.attempt
            ])?;
        match (changed, found, next) {
            (0, ..) => asked.conflicts += 1,
            (_, Found::Read, _) => asked.read += 1,
            (_, Found::Expired, _) => asked.expired += 1,
            (_, Found::Owed, Some(_)) => asked.still_owed += 1,
            (_, Found::Owed, None) => {
                asked.failed += 1;
                asked.nobody_took.push(Nobody {
                    notification: claim.notification,
                    recipient: claim.recipient.clone(),
                });
            }
        }
    }
    asked.next_due = next_due(connection)?;
    Ok(asked)
}

/// A claimed recipient as it is now; none if it is not owed any more.
fn look(connection: &Connection, claim: &Claim, now: Timestamp) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(
            // `u:` and the user: only who is named can have read it for themselves.
            "SELECT coalesce(expires_ms <= ?3, 0),
                    substr(key, 1, 2) = 'u:' AND (
                        EXISTS (SELECT 1 FROM reading
                                WHERE user = substr(key, 3) AND upto >= delivery.position)
                        OR EXISTS (SELECT 1 FROM read_mark
                                   WHERE user = substr(key, 3) AND position = delivery.position))
             FROM delivery JOIN entry USING (position)
             WHERE position = ?1 AND key = ?2 AND state = 'owed'",
        )?
        .query_row(
            params![
                stored(claim.position),
                claim.recipient.to_string(),
                millis(now)
            ],
            |row| {
                Ok(match (row.get(1)?, row.get(0)?) {
                    (true, _) => Found::Read,
                    (false, true) => Found::Expired,
                    (false, false) => Found::Owed,
                })
            },
        )
        .optional()
}

fn next_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(NEXT_DUE_SQL)?
        .query_row([], |row| moment_of(row, 0))
        .optional()
}

/// Takes back leases that have lapsed: of this owner's after `lease`, and of every other's too, at once if only one process
/// may serve the file (`exclusive`), because whoever had them is gone.
pub(super) fn reclaim(
    connection: &Connection,
    owner: &str,
    exclusive: bool,
    now: Timestamp,
    lease: Duration,
    schedule: &RetrySchedule,
) -> Result<Reclaimed, Failure> {
    put_right(connection, now, schedule)?;
    // Without a schedule there is one look all the same.
    let max_attempts = schedule.delays.len().max(1);
    let lapsed = millis(now.saturating_sub(lease));
    let change = |attempts: &str, set: &str| {
        connection
            .prepare_cached(&format!(
                "UPDATE delivery SET owner = NULL, leased_ms = NULL, changed_ms = ?1, {set}
                 WHERE owner IS NOT NULL AND (leased_ms <= ?2 OR (?3 AND owner <> ?4)) AND attempts {attempts} ?5"
            ))?
            .execute(params![
                millis(now),
                lapsed,
                exclusive,
                owner,
                count(max_attempts)
            ])
    };
    Ok(Reclaimed {
        back: change("<", "next_ms = ?1")?,
        failed: change(
            ">=",
            &format!("state = 'failed', next_ms = NULL, reason = '{LEASES_LAPSED}'"),
        )?,
    })
}

/// A clock that was ahead and has been set back left times that would not come for long: nothing waits longer than the
/// schedule says, and no lease began in the future.
fn put_right(
    connection: &Connection,
    now: Timestamp,
    schedule: &RetrySchedule,
) -> Result<(), Failure> {
    let longest = schedule.delays.iter().max().copied();
    let latest = now.saturating_add(longest.unwrap_or_default().max(Duration::from_secs(1)));
    for (statement, bound) in [
        (
            "UPDATE delivery SET next_ms = ?2 WHERE state = 'owed' AND owner IS NULL AND next_ms > ?1",
            latest,
        ),
        (
            "UPDATE delivery SET leased_ms = ?2 WHERE owner IS NOT NULL AND leased_ms > ?1",
            now,
        ),
    ] {
        connection
            .prepare_cached(statement)?
            .execute(params![millis(bound), millis(now)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::{reads_an_index, searches_only};
    use super::*;

    #[test]
    fn what_is_due_is_read_off_its_index_however_much_is_owed() {
        searches_only(CLAIM_SQL, 3);
        reads_an_index(NEXT_DUE_SQL, 0);
    }
}
