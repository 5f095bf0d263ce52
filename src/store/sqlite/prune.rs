//! What is older than it is kept, and how it goes: a step at a time, each inside one commit of the writer.
//!
//! A step is bounded twice: by how many things go, and by the rows that hang on them, because one notification may
//! be for a thousand users. Whoever publishes shares the commit, and must not notice.

use rusqlite::{Connection, params};

use super::entries::{count, kind_name, millis, position_of, stored, unsigned};
use super::failure::Failure;
use super::reminders::OLD_REMINDED_SQL;
use super::scheduled;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::Kind;
use crate::store::{Aged, MAX_COUNTED, Pruned, Retention};

/// The most rows of audiences and deliveries that go in a step; the entry that passes it still goes whole.
const MAX_ROWS: usize = 4_000;

/// How many rows of a table that is in the order of its coming are looked at for old ones. It is in order of age as
/// well, but for days when the clock was ahead: so many rows of such a day hold nothing up.
const LOOK: usize = 1_000;

/// Settled entries of a kind (?1) made before ?2, the oldest first. By age and not by position: an entry from a day when
/// the clock was ahead must not hold up all that follow it.
const TOO_OLD_SQL: &str = "SELECT position, audience FROM entry
    WHERE kind = ?1 AND created_ms < ?2 AND position <= (SELECT settled FROM hub WHERE id = 1)
    ORDER BY created_ms, position LIMIT ?3";

/// What stands at a position (?3) for a key (?1), in its inbox (?2) or not.
const FORGET_SQL: &str = "DELETE FROM audience WHERE key = ?1 AND inbox = ?2 AND position = ?3";

/// Throttles whose window was over before ?1, the oldest first.
const OVER_SQL: &str = "SELECT publisher, key, window_ms FROM throttle
    WHERE accepted_ms + window_ms < ?1 ORDER BY accepted_ms + window_ms LIMIT ?2";

/// Webhooks that had come to an end before ?1, among the first ?3 rows, at most ?2 of them. As long as what one tells of is
/// kept it is kept as well, because it stands for there being no second one.
const ENDED_SQL: &str = "DELETE FROM webhook WHERE n IN (
    SELECT n FROM (SELECT n, changed_ms, state, notification FROM webhook ORDER BY n LIMIT ?3) AS old
    WHERE changed_ms < ?1 AND state <> 'waiting'
        AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id = old.notification) LIMIT ?2)";

/// What a step may still do.
struct Room {
    things: usize,
    rows: usize,
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.things == 0 || self.rows == 0
    }
}

/// One step.
pub(super) fn prune(
    connection: &Connection,
    now: Timestamp,
    retention: Retention,
    limit: usize,
) -> Result<Pruned, Failure> {
    let Retention {
        notifications,
        broadcasts,
        idempotency,
        audit,
        webhooks,
    } = retention;
    let before = |kept| now.saturating_sub(kept);
    let mut room = Room {
        things: limit,
        rows: MAX_ROWS,
    };
    let mut pruned = Pruned::default();
    let mut step = |kind, cutoff, room: &mut Room| {
        let (gone, read_marks) = entries(connection, kind, cutoff, room)?;
        pruned.read_marks += read_marks;
        Ok::<u64, Failure>(gone)
    };
    pruned.gone.broadcasts = step(Kind::Broadcast, before(broadcasts), &mut room)?;
    pruned.gone.notifications = step(Kind::Notification, before(notifications), &mut room)?;
    pruned.gone.notifications += beside_the_log(connection, before(notifications), &mut room)?;
    pruned.gone.idempotency = idempotency_keys(connection, before(idempotency), &mut room)?;
    pruned.gone.audit = duplicates(connection, before(audit), &mut room)?;
    pruned.gone.throttles = throttles(connection, now, &mut room)?;
    pruned.gone.webhooks = in_order(connection, ENDED_SQL, before(webhooks), &mut room)?;
    pruned.more = room.is_used_up();
    Ok(pruned)
}

/// Entries of a kind with all that hangs on them, raising its floor: how many entries went, and how many read marks. Any
/// number of users may have read one, so each of their marks counts like an entry.
fn entries(
    connection: &Connection,
    kind: Kind,
    cutoff: Timestamp,
    room: &mut Room,
) -> Result<(u64, u64), Failure> {
    let (mut gone, mut read_marks, mut floor) = (0, 0, None);
    if room.is_used_up() {
        return Ok((gone, read_marks));
    }
    for (position, audience) in too_old(connection, kind, cutoff, room.things)? {
        let forgotten = forget_reads(connection, position, room.things)?;
        read_marks += forgotten as u64;
        room.things -= forgotten;
        if room.is_used_up() {
            // It goes in the next step, after the rest of its marks.
            break;
        }
        let rows = delete(connection, kind, position, &audience)?;
        room.rows = room.rows.saturating_sub(rows);
        room.things -= 1;
        gone += 1;
        floor = floor.max(Some(position));
        if room.is_used_up() {
            break;
        }
    }
    if let Some(floor) = floor {
        let raise = match kind {
            Kind::Broadcast => "UPDATE hub SET broadcast_floor = max(broadcast_floor, ?1)",
            Kind::Notification => "UPDATE hub SET inbox_floor = max(inbox_floor, ?1)",
        };
        connection.prepare_cached(raise)?.execute([stored(floor)])?;
    }
    Ok((gone, read_marks))
}

fn too_old(
    connection: &Connection,
    kind: Kind,
    cutoff: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(Position, String)>> {
    connection
        .prepare_cached(TOO_OLD_SQL)?
        .query_map(
            params![kind_name(kind), millis(cutoff), count(limit)],
            |row| Ok((position_of(row, 0)?, row.get(1)?)),
        )?
        .collect()
}

fn forget_reads(
    connection: &Connection,
    position: Position,
    limit: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM read_mark WHERE position = ?1 AND user IN (
                 SELECT user FROM read_mark WHERE position = ?1 LIMIT ?2)",
        )?
        .execute(params![stored(position), count(limit)])
}

/// An entry, its audience and its deliveries: how many rows that were.
fn delete(
    connection: &Connection,
    kind: Kind,
    position: Position,
    audience: &str,
) -> rusqlite::Result<usize> {
    let mut rows = connection
        .prepare_cached("DELETE FROM delivery WHERE position = ?1")?
        .execute([stored(position)])?;
    let mut forget = connection.prepare_cached(FORGET_SQL)?;
    let in_inbox = kind == Kind::Notification;
    for key in audience.split('\n') {
        let mut gone = forget.execute(params![key, in_inbox, stored(position)])?;
        if gone == 0 {
            // One that was withdrawn is in no inbox any more.
            gone = forget.execute(params![key, !in_inbox, stored(position)])?;
        }
        rows += gone;
    }
    rows += connection
        .prepare_cached("DELETE FROM entry WHERE position = ?1")?
        .execute([stored(position)])?;
    Ok(rows)
}

/// Those that were cancelled before they came into the log, and what is known of reminders that were published.
fn beside_the_log(
    connection: &Connection,
    cutoff: Timestamp,
    room: &mut Room,
) -> Result<u64, Failure> {
    if room.is_used_up() {
        return Ok(0);
    }
    let gone = scheduled::forget_cancelled(connection, cutoff, room.things)?;
    room.things -= gone;
    // Uncounted, as deliveries are.
    in_order(connection, OLD_REMINDED_SQL, cutoff, room)?;
    Ok(gone as u64)
}

fn idempotency_keys(
    connection: &Connection,
    cutoff: Timestamp,
    room: &mut Room,
) -> Result<u64, Failure> {
    let sql = "DELETE FROM idempotency WHERE n IN (
        SELECT n FROM (SELECT n, kept_ms FROM idempotency ORDER BY n LIMIT ?3) WHERE kept_ms < ?1 LIMIT ?2)";
    in_order(connection, sql, cutoff, room)
}

fn duplicates(connection: &Connection, cutoff: Timestamp, room: &mut Room) -> Result<u64, Failure> {
    let sql = "DELETE FROM duplicate WHERE n IN (
        SELECT n FROM (SELECT n, at_ms FROM duplicate ORDER BY n LIMIT ?3) WHERE at_ms < ?1 LIMIT ?2)";
    in_order(connection, sql, cutoff, room)
}

/// What is older than ?1 among the first ?3 rows, at most ?2 of them.
fn in_order(
    connection: &Connection,
    sql: &str,
    cutoff: Timestamp,
    room: &mut Room,
) -> Result<u64, Failure> {
    if room.is_used_up() {
        return Ok(0);
    }
    let gone = connection.prepare_cached(sql)?.execute(params![
        millis(cutoff),
        count(room.things),
        count(LOOK)
    ])?;
    room.things -= gone;
    Ok(gone as u64)
}

fn throttles(connection: &Connection, now: Timestamp, room: &mut Room) -> Result<u64, Failure> {
    if room.is_used_up() {
        return Ok(0);
    }
    let gone = connection
        .prepare_cached(&format!(
            "DELETE FROM throttle WHERE (publisher, key, window_ms) IN ({OVER_SQL})"
        ))?
        .execute(params![millis(now), count(room.things)])?;
    room.things -= gone;
    Ok(gone as u64)
}

/// How much there is to prune. What is not old is not looked at.
pub(super) fn aged(
    connection: &Connection,
    now: Timestamp,
    retention: Retention,
) -> Result<Aged, Failure> {
    let most = i64::try_from(MAX_COUNTED).unwrap_or(i64::MAX);
    let before = |kept| millis(now.saturating_sub(kept));
    let entries = |kind, cutoff: i64| {
        connection
            .prepare_cached(&format!("SELECT count(*) FROM ({TOO_OLD_SQL})"))?
            .query_row(params![kind_name(kind), cutoff, most], |row| {
                unsigned(row, 0)
            })
    };
    let first = |sql: &str, cutoff: i64| {
        connection
            .prepare_cached(sql)?
            .query_row(params![cutoff, most], |row| unsigned(row, 0))
    };
    Ok(Aged {
        notifications: entries(Kind::Notification, before(retention.notifications))?
            + first(
                &format!("SELECT count(*) FROM ({})", scheduled::OLD_CANCELLED_SQL),
                before(retention.notifications),
            )?,
        broadcasts: entries(Kind::Broadcast, before(retention.broadcasts))?,
        idempotency: first(
            "SELECT count(*) FROM (SELECT 1 FROM idempotency WHERE n < coalesce(
                 (SELECT n FROM idempotency WHERE kept_ms >= ?1 ORDER BY n LIMIT 1), 1 << 62) LIMIT ?2)",
            before(retention.idempotency),
        )?,
        audit: first(
            "SELECT count(*) FROM (SELECT 1 FROM duplicate WHERE n < coalesce(
                 (SELECT n FROM duplicate WHERE at_ms >= ?1 ORDER BY n LIMIT 1), 1 << 62) LIMIT ?2)",
            before(retention.audit),
        )?,
        throttles: first(
            &format!("SELECT count(*) FROM ({OVER_SQL})"),
            millis(now),
        )?,
        webhooks: first(
            "SELECT count(*) FROM (SELECT 1 FROM webhook WHERE changed_ms < ?1 AND state <> 'waiting'
                 AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id = webhook.notification) LIMIT ?2)",
            before(retention.webhooks),
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::searches_only;
    use super::*;

    #[test]
    fn what_is_old_is_found_off_an_index_and_never_scanned_or_sorted() {
        searches_only(TOO_OLD_SQL, 3);
        searches_only(FORGET_SQL, 3);
        searches_only(OVER_SQL, 2);
    }
}
