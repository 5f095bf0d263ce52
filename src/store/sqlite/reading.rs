//! What users have read: a watermark each, and single marks above it.
//!
//! An unread count merges two lists as SQLite yields them, the viewer's inbox and their single marks, both in position
//! order from the watermark on, and stops at [`MAX_UNREAD`]. What it may have to pass over on the way is bounded too:
//! by [`MAX_SINGLE`] and [`MAX_LAPSED`]. So it costs the same however much is stored; a test here holds it to its plan.

use rusqlite::{Connection, OptionalExtension, params};

use super::deliveries::CLOSED;
use super::entries::{self, count, entry_at_id, millis, position_of, stored};
use super::failure::Failure;
use super::inbox::{Lists, Order};
use super::pages::own_key;
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::inbox::{MAX_UNREAD, Unread};
use crate::log::Position;
use crate::notification::{Entry, Kind};
use crate::store::{Marked, Viewer};

/// The most notifications that a user has read one by one above their watermark. With one more the watermark rises to
/// the oldest of them, and what lies unread below it counts as read: a count never has to pass over more than these.
pub(super) const MAX_SINGLE: usize = 5_000;

/// How many expired notifications a count passes over; whatever expired beyond these is counted as unread.
const MAX_LAPSED: usize = 1_000;

/// The most rows of a kind that one step of [`clear`] changes.
const CLEAR_STEP: usize = 500;

/// Why a delivery is `sent` though no stream took it, as its reason says it.
pub(super) const READ: &str = "they read it in their inbox";

/// What is known of a user's visits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visits {
    /// The highest position served to any of their streams; before that, the place at which the first began.
    pub(super) mark: Position,
    /// Where the log stood at the first.
    pub(super) since: Position,
}

impl Visits {
    /// Whether a stream of theirs has been served past the first visit. Where the first visit began proves nothing:
    /// what was open at that time may never have reached them.
    pub(super) fn served(self) -> bool {
        self.mark > self.since
    }
}

/// A user's visits; none if they never opened a stream.
pub(super) fn visits(connection: &Connection, user: &str) -> rusqlite::Result<Option<Visits>> {
    connection
        .prepare_cached("SELECT position, since FROM mark WHERE user = ?1")?
        .query_row([user], |row| {
            Ok(Visits {
                mark: position_of(row, 0)?,
                since: position_of(row, 1)?,
            })
        })
        .optional()
}

/// Keeps a first visit; an earlier one stays as it is.
pub(super) fn visit(connection: &Connection, user: &str, first: Visits) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO mark (user, position, since) VALUES (?1, ?2, ?3) ON CONFLICT (user) DO NOTHING",
        )?
        .execute(params![user, stored(first.mark), stored(first.since)])?;
    Ok(())
}

/// Up to here a user has read everything.
pub(super) fn watermark(connection: &Connection, user: &str) -> rusqlite::Result<Position> {
    let upto = connection
        .prepare_cached("SELECT upto FROM reading WHERE user = ?1")?
        .query_row([user], |row| position_of(row, 0))
        .optional()?;
    Ok(upto.unwrap_or_default())
}

/// What a user (?1) has read one by one after ?2, rising.
const SINGLE_SQL: &str =
    "SELECT position FROM read_mark WHERE user = ?1 AND position > ?2 ORDER BY position";

/// How much of a viewer's inbox is unread. `since` is where the log stood at their first visit; without one, only what
/// is addressed to them by name is theirs.
pub(super) fn unread(
    connection: &Connection,
    viewer: &Viewer,
    since: Option<Position>,
    now: Timestamp,
) -> Result<Unread, Failure> {
    let watermark = watermark(connection, &viewer.user)?;
    let lists = Lists::of(viewer, since, watermark);
    let mut inbox = connection.prepare_cached(&lists.sql(Order::Rising))?;
    let mut inbox = inbox.query(lists.values(&i64::MAX).as_slice())?;
    let mut single = connection.prepare_cached(SINGLE_SQL)?;
    let mut single = single.query(params![viewer.user, stored(watermark)])?;

    let now = millis(now);
    let (mut unread, mut lapsed) = (0, 0);
    let mut read: Option<i64> = single.next()?.map(|row| row.get(0)).transpose()?;
    while unread <= MAX_UNREAD
        && let Some(row) = inbox.next()?
    {
        let position: i64 = row.get(0)?;
        while read.is_some_and(|read| read < position) {
            read = single.next()?.map(|row| row.get(0)).transpose()?;
        }
        if read == Some(position) {
            continue;
        }
        let expires: Option<i64> = row.get(1)?;
        if lapsed < MAX_LAPSED && expires.is_some_and(|moment| moment <= now) {
            lapsed += 1;
            continue;
        }
        unread += 1;
    }
    Ok(Unread::counted(unread))
}

/// Whether a user has read what stands at a position.
pub(super) fn is_read(
    connection: &Connection,
    user: &str,
    position: Position,
) -> rusqlite::Result<bool> {
    if position <= watermark(connection, user)? {
        return Ok(true);
    }
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM read_mark WHERE user = ?1 AND position = ?2)",
        )?
        .query_row(params![user, stored(position)], |row| row.get(0))
}

/// Whether an entry is in a viewer's inbox, expired or not.
pub(super) fn is_in_inbox(
    connection: &Connection,
    entry: &Entry,
    viewer: &Viewer,
) -> Result<bool, Failure> {
    if entry.kind != Kind::Notification || !entry.audience.includes(&viewer.user, &viewer.roles) {
        return Ok(false);
    }
    let withdrawn: bool = connection
        .prepare_cached("SELECT cancelled_ms IS NOT NULL FROM entry WHERE position = ?1")?
        .query_row([stored(entry.position)], |row| row.get(0))?;
    if withdrawn {
        return Ok(false);
    }
    let by_name = entry
        .audience
        .recipients()
        .contains(&Recipient::User(viewer.user.clone()));
    Ok(by_name
        || visits(connection, &viewer.user)?.is_some_and(|visits| entry.position > visits.since))
}

/// Marks one notification of a viewer's inbox read. What was owed to them by name is settled by that.
pub(super) fn mark_read(
    connection: &Connection,
    viewer: &Viewer,
    id: uuid::Uuid,
    now: Timestamp,
) -> Result<Marked, Failure> {
    let Some(entry) = entry_at_id(connection, id)? else {
        return Ok(Marked::Unknown);
    };
    if !is_in_inbox(connection, &entry, viewer)? {
        return Ok(Marked::Unknown);
    }
    let (user, place) = (&viewer.user, stored(entry.position));
    if entry.position <= watermark(connection, user)? {
        return Ok(Marked::Unchanged);
    }
    connection
        .prepare_cached("INSERT INTO reading (user) VALUES (?1) ON CONFLICT (user) DO NOTHING")?
        .execute([user])?;
    let marked = connection
        .prepare_cached(
            "INSERT INTO read_mark (user, position) VALUES (?1, ?2) ON CONFLICT (user, position) DO NOTHING",
        )?
        .execute(params![user, place])?;
    if marked == 0 {
        return Ok(Marked::Unchanged);
    }
    connection
        .prepare_cached(&format!(
            "UPDATE delivery SET state = 'sent', {CLOSED}, changed_ms = ?3, reason = ?4
             WHERE position = ?1 AND key = ?2 AND state IN ('owed', 'failed')"
        ))?
        .execute(params![place, own_key(viewer), millis(now), READ])?;
    fold(connection, user)?;
    Ok(Marked::Changed)
}

/// Keeps a user's single marks within their bound.
fn fold(connection: &Connection, user: &str) -> rusqlite::Result<()> {
    let oldest: Option<i64> = connection
        .prepare_cached(
            "SELECT (SELECT min(position) FROM read_mark WHERE user = ?1) FROM reading
             WHERE user = ?1 AND single > ?2",
        )?
        .query_row(params![user, count(MAX_SINGLE)], |row| row.get(0))
        .optional()?
        .flatten();
    let Some(oldest) = oldest else { return Ok(()) };
    connection
        .prepare_cached("UPDATE reading SET upto = max(upto, ?2) WHERE user = ?1")?
        .execute(params![user, oldest])?;
    connection
        .prepare_cached("DELETE FROM read_mark WHERE user = ?1 AND position = ?2")?
        .execute(params![user, oldest])?;
    Ok(())
}

/// Raises a user's watermark to `upto`, or to the head. What it makes superfluous is left to [`clear`].
pub(super) fn mark_all_read(
    connection: &Connection,
    user: &str,
    upto: Option<Position>,
) -> Result<Marked, Failure> {
    let head = entries::head(connection)?;
    let upto = upto.unwrap_or(head);
    if upto > head {
        return Ok(Marked::Unknown);
    }
    if upto <= watermark(connection, user)? {
        return Ok(Marked::Unchanged);
    }
    connection
        .prepare_cached(
            "INSERT INTO reading (user, upto) VALUES (?1, ?2)
             ON CONFLICT (user) DO UPDATE SET upto = excluded.upto",
        )?
        .execute(params![user, stored(upto)])?;
    Ok(Marked::Changed)
}

/// One step of what follows from a raised watermark: single marks at or below it go, and what is owed there to the user
/// by name is settled. Whether there may be more.
pub(super) fn clear(connection: &Connection, user: &str, now: Timestamp) -> Result<bool, Failure> {
    let upto = stored(watermark(connection, user)?);
    let step = count(CLEAR_STEP);
    let deleted = connection
        .prepare_cached(
            "DELETE FROM read_mark WHERE user = ?1 AND position IN (
                 SELECT position FROM read_mark WHERE user = ?1 AND position <= ?2 LIMIT ?3)",
        )?
        .execute(params![user, upto, step])?;
    let own_key = Recipient::User(user.into()).to_string();
    let settled = connection
        .prepare_cached(&format!(
            "UPDATE delivery SET state = 'sent', {CLOSED}, changed_ms = ?4, reason = ?5
             WHERE key = ?1 AND position IN (
                 SELECT position FROM delivery
                 WHERE key = ?1 AND state IN ('owed', 'failed') AND position <= ?2 LIMIT ?3)"
        ))?
        .execute(params![own_key, upto, step, millis(now), READ])?;
    Ok(deleted == CLEAR_STEP || settled == CLEAR_STEP)
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::searches_only;
    use super::*;

    #[test]
    fn single_marks_are_read_off_their_index_and_never_scanned_or_sorted() {
        searches_only(SINGLE_SQL, 2);
    }
}
