//! What is owed to whom, and claims that are taken back by hand.
//!
//! Both read the rows that `claims.rs` writes. What is taken back is owed again and due now, in the transaction that
//! names it, so that whoever asked after it meanwhile finds that it is not theirs any more.

use rusqlite::{Connection, OptionalExtension, params};

use super::diagnosis::{addressee, counts, id_of, moment_if_any, number, queue};
use super::entries::{count, millis, moment_of, position_of, stored};
use super::failure::Failure;
use crate::log::Position;
use crate::waiting::{
    MAX_UNLOCKED_NAMED, Owed, OwedState, StaleClaim, Unlock, Unlocked, Waiting, WaitingCursor,
    WaitingQuery,
};

/// Those that are owed after a place (?1, ?2), the oldest notification first. ?3: at most so many. The index is named, since
/// another, by state alone, looks cheaper and would have all of them sorted for each page.
const OWED_SQL: &str =
    "SELECT position, key, id, created_ms, attempts, reason, next_ms, owner, leased_ms
    FROM delivery INDEXED BY delivery_oldest JOIN entry USING (position)
    WHERE state = 'owed' AND (position > ?1 OR (position = ?1 AND key > ?2)) AND position >= ?1
    ORDER BY position, key LIMIT ?3";

/// What is owed, and how much of everything waits.
pub(super) fn waiting(connection: &Connection, query: &WaitingQuery) -> Result<Waiting, Failure> {
    let (after, key) = match &query.after {
        Some(cursor) => (cursor.position, cursor.key.as_str()),
        None => (Position::START, ""),
    };
    let mut owed = Vec::new();
    let mut last = None;
    let mut statement = connection.prepare_cached(OWED_SQL)?;
    let mut rows = statement.query(params![stored(after), key, count(query.limit)])?;
    while let Some(row) = rows.next()? {
        let owner: Option<_> = row.get(7)?;
        let state = match owner {
            Some(_) => OwedState::Processing,
            None => OwedState::Pending,
        };
        last = Some(WaitingCursor {
            position: position_of(row, 0)?,
            key: row.get(1)?,
        });
        owed.push(Owed {
            notification_id: id_of(row, 2)?,
            recipient: addressee(row, 1)?,
            state,
            attempts: row.get(4)?,
            reason: row.get(5)?,
            created_at: moment_of(row, 3)?,
            next_at: moment_if_any(row, 6)?.filter(|_| state == OwedState::Pending),
            owner,
            since: moment_if_any(row, 8)?,
        });
    }
    let first_moment = |sql: &str| {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([], |row| moment_of(row, 0)).optional()
    };
    Ok(Waiting {
        queue: queue(connection)?,
        counts: counts(connection)?,
        oldest_claim: first_moment(
            "SELECT leased_ms FROM delivery WHERE owner IS NOT NULL ORDER BY leased_ms LIMIT 1",
        )?,
        oldest_failed: first_moment(
            "SELECT changed_ms FROM delivery WHERE state = 'failed' ORDER BY changed_ms LIMIT 1",
        )?,
        next: last.filter(|_| owed.len() == query.limit),
        owed,
    })
}

/// Claims that are old (?1), or somebody else's (?3) where only one may serve the file (?2).
const STALE: &str =
    "owner IS NOT NULL AND state = 'owed' AND (leased_ms <= ?1 OR (?2 AND owner <> ?3))";

/// What would be taken back.
pub(super) fn stale(
    connection: &Connection,
    owner: &str,
    exclusive: bool,
    unlock: &Unlock,
) -> Result<Unlocked, Failure> {
    let cutoff = millis(unlock.now.saturating_sub(unlock.older_than));
    let max_attempts = count(unlock.max_attempts);
    let claims: rusqlite::Result<Vec<StaleClaim>> = connection
        .prepare_cached(&format!(
            "SELECT (SELECT id FROM entry WHERE entry.position = delivery.position),
                    key, owner, leased_ms, attempts, ?4 OR attempts < ?5
             FROM delivery WHERE {STALE} ORDER BY leased_ms, position, key LIMIT ?6"
        ))?
        .query_map(
            params![
                cutoff,
                exclusive,
                owner,
                unlock.force,
                max_attempts,
                count(MAX_UNLOCKED_NAMED)
            ],
            |row| {
                Ok(StaleClaim {
                    notification_id: id_of(row, 0)?,
                    recipient: addressee(row, 1)?,
                    owner: row.get(2)?,
                    since: moment_of(row, 3)?,
                    attempts: row.get(4)?,
                    released: row.get(5)?,
                })
            },
        )?
        .collect();
    let so_many = |which: &str| {
        number(
            connection,
            &format!("SELECT count(*) FROM delivery WHERE {STALE} AND {which}"),
            params![cutoff, exclusive, owner, unlock.force, max_attempts],
        )
    };
    Ok(Unlocked {
        executed: false,
        released: so_many("(?4 OR attempts < ?5)")?,
        kept: so_many("NOT (?4 OR attempts < ?5)")?,
        claims: claims?,
    })
}

/// Takes it back.
pub(super) fn unlock(
    connection: &Connection,
    owner: &str,
    exclusive: bool,
    unlock: &Unlock,
) -> Result<Unlocked, Failure> {
    let found = stale(connection, owner, exclusive, unlock)?;
    connection
        .prepare_cached(&format!(
            "UPDATE delivery SET owner = NULL, leased_ms = NULL, next_ms = ?6, changed_ms = ?6,
                    attempts = CASE WHEN attempts < ?5 THEN attempts ELSE 0 END
             WHERE {STALE} AND (?4 OR attempts < ?5)"
        ))?
        .execute(params![
            millis(unlock.now.saturating_sub(unlock.older_than)),
            exclusive,
            owner,
            unlock.force,
            count(unlock.max_attempts),
            millis(unlock.now)
        ])?;
    Ok(Unlocked {
        executed: true,
        ..found
    })
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::searches_only;
    use super::OWED_SQL;

    #[test]
    fn a_page_of_what_is_owed_is_read_off_an_index() {
        searches_only(OWED_SQL, 3);
    }
}
