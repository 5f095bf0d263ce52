//! The log as one viewer sees it: where their stream begins, and the pages that follow.
//!
//! A viewer's entries are the union of short lists, two for each of their keys (what is in the inbox, and what is not), each
//! in position order in the `audience` table. SQLite merges them lazily, so a page reads no more rows than it returns (and
//! the expired ones between); a test here holds it to that plan. Everything of one question is read in one snapshot.

use rusqlite::{Connection, OptionalExtension, Rows, ToSql, params};

use super::entries::{COLUMNS, count, created_at, entry_of, millis, position_of, stored, unsigned};
use super::failure::Failure;
use super::reading::{self, Visits};
use crate::audience::Recipient;
use crate::log::Position;
use crate::notification::{Entry, MAX_ROLES};
use crate::store::{Counts, Page, PageEntry, PageQuery, Start, StartQuery, Viewer};

/// The keys of the entries that a viewer may see: their own, their roles', everyone's.
pub(super) fn keys(viewer: &Viewer) -> Vec<String> {
    let roles = viewer.roles.iter().take(MAX_ROLES);
    std::iter::once(Recipient::User(viewer.user.clone()))
        .chain(roles.cloned().map(Recipient::Role))
        .chain(std::iter::once(Recipient::Everyone))
        .map(|recipient| recipient.to_string())
        .collect()
}

/// The key under which a viewer is addressed by name.
pub(super) fn own_key(viewer: &Viewer) -> String {
    Recipient::User(viewer.user.clone()).to_string()
}

/// Positions that have any of so many keys, each once, rising. ?1: after; ?2: up to; then the keys.
fn positions_sql(keys: usize) -> String {
    let lists: Vec<String> = (3..keys + 3)
        .flat_map(|key| [(key, 1), (key, 0)])
        .map(|(key, inbox)| {
            format!(
                "SELECT position FROM audience
                 WHERE key = ?{key} AND inbox = {inbox} AND position > ?1 AND position <= ?2"
            )
        })
        .collect();
    format!("{} ORDER BY position", lists.join(" UNION "))
}

/// One entry (?1), and whether one of so many keys is owed or failed there. Most entries have no such row for anybody,
/// which takes one look to see instead of one for each key.
fn entry_sql(keys: usize) -> String {
    let keys: Vec<String> = (2..keys + 2).map(|i| format!("?{i}")).collect();
    format!(
        "SELECT {COLUMNS}, CASE WHEN EXISTS (SELECT 1 FROM delivery WHERE position = ?1)
             THEN EXISTS (
                 SELECT 1 FROM delivery
                 WHERE position = ?1 AND key IN ({}) AND state IN ('owed', 'failed'))
             ELSE 0 END
         FROM entry WHERE position = ?1",
        keys.join(", ")
    )
}

/// Positions that are owed to a key or have failed for it (?3), rising. ?1: after; ?2: up to.
const OPEN_SQL: &str = "SELECT position FROM delivery
    WHERE key = ?3 AND state IN ('owed', 'failed') AND position > ?1 AND position <= ?2
    ORDER BY position";

/// The first position that is owed to anybody.
const OLDEST_OWED_SQL: &str = "SELECT position FROM delivery INDEXED BY delivery_oldest
    WHERE state = 'owed' ORDER BY position LIMIT 1";

/// A range and keys, as [`positions_sql`] and [`OPEN_SQL`] take them.
fn range<'a>(after: &'a i64, upto: &'a i64, keys: &'a [String]) -> Vec<&'a dyn ToSql> {
    let mut values: Vec<&dyn ToSql> = vec![after, upto];
    values.extend(keys.iter().map(|key| key as &dyn ToSql));
    values
}

/// Where a stream begins, and what is to be written before it does.
pub(super) struct Beginning {
    pub(super) start: Start,
    /// Its user has never had one before.
    pub(super) first_visit: Option<Visits>,
    /// A crash re-opened something that its place settles.
    pub(super) reopened: bool,
    /// It is told a place before it is sent what was re-opened for its user at or below: that place will prove nothing.
    pub(super) unproven: bool,
}

/// Where a stream begins.
pub(super) fn start(connection: &Connection, query: &StartQuery) -> Result<Beginning, Failure> {
    let (inbox_floor, broadcast_floor) = connection
        .prepare_cached("SELECT inbox_floor, broadcast_floor FROM hub")?
        .query_row([], |row| Ok((position_of(row, 0)?, position_of(row, 1)?)))?;
    let visits = reading::visits(connection, &query.viewer.user)?;
    let since = visits.map_or(query.head, |visits| visits.since);
    let unread = reading::unread(connection, &query.viewer, Some(since), query.now)?;
    let known_place = query.cursor.or(visits.map(|visits| visits.mark));
    let Some(place) = known_place.map(|place| place.min(query.head)) else {
        // A first visit misses nothing.
        let start = Start {
            place: query.head,
            gap: false,
            broadcasts_missed: false,
            owes: owes(connection, query, query.head)?,
            unread,
        };
        return Ok(Beginning {
            start,
            first_visit: Some(Visits {
                mark: query.head,
                since,
            }),
            reopened: false,
            unproven: any_reopened(connection, &[own_key(&query.viewer)], query.head)?,
        });
    };
    let keys = keys(&query.viewer);
    let gap = place < inbox_floor || more_than_the_limit(connection, query, &keys, place)?;
    let goes_on_from = if gap { query.head } else { place };
    let start = Start {
        place,
        gap,
        broadcasts_missed: place < broadcast_floor,
        owes: owes(connection, query, goes_on_from)?,
        unread,
    };
    let proves = query.cursor.is_some() || visits.is_some_and(Visits::served);
    Ok(Beginning {
        start,
        first_visit: visits.is_none().then_some(Visits {
            mark: goes_on_from,
            since,
        }),
        reopened: proves && any_reopened(connection, &keys, place)?,
        // Without a cursor, or with one that is answered with a gap, it may be told the head at once.
        unproven: (gap || query.cursor.is_none())
            && any_reopened(connection, &[own_key(&query.viewer)], query.head)?,
    })
}

fn more_than_the_limit(
    connection: &Connection,
    query: &StartQuery,
    keys: &[String],
    place: Position,
) -> rusqlite::Result<bool> {
    // Not more than there are positions: most who come back have missed little, and nothing is read to see that.
    let between = query.head.0.saturating_sub(place.0);
    if between <= query.replay_limit as u64 {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(&positions_sql(keys.len()))?;
    let (after, upto) = (stored(place), stored(query.head));
    let mut rows = statement.query(range(&after, &upto, keys).as_slice())?;
    for _ in 0..query.replay_limit {
        if rows.next()?.is_none() {
            return Ok(false);
        }
    }
    Ok(rows.next()?.is_some())
}

fn owes(connection: &Connection, query: &StartQuery, upto: Position) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (
                 SELECT 1 FROM delivery JOIN entry USING (position)
                 WHERE key = ?1 AND state IN ('owed', 'failed') AND position <= ?2
                   AND (expires_ms IS NULL OR expires_ms > ?3))",
        )?
        .query_row(
            params![own_key(&query.viewer), stored(upto), millis(query.now)],
            |row| row.get(0),
        )
}

fn any_reopened(
    connection: &Connection,
    keys: &[String],
    place: Position,
) -> rusqlite::Result<bool> {
    let any_at_all: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE reopened = 1)")?
        .query_row([], |row| row.get(0))?;
    if !any_at_all {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM delivery WHERE key = ?1 AND position <= ?2 AND reopened = 1)",
    )?;
    for key in keys {
        if statement.query_row(params![key, stored(place)], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries of the log for one viewer.
pub(super) fn page(connection: &Connection, query: &PageQuery) -> Result<Page, Failure> {
    let keys = keys(&query.viewer);
    let mut statement = connection.prepare_cached(&positions_sql(keys.len()))?;
    let (after, upto) = (stored(query.after), stored(query.upto));
    let rows = statement.query(range(&after, &upto, &keys).as_slice())?;
    fill(connection, query, &keys, rows)
}

/// Those addressed to the viewer by name that are still owed or failed.
pub(super) fn owed(connection: &Connection, query: &PageQuery) -> Result<Page, Failure> {
    let keys = [own_key(&query.viewer)];
    let mut statement = connection.prepare_cached(OPEN_SQL)?;
    let (after, upto) = (stored(query.after), stored(query.upto));
    let rows = statement.query(range(&after, &upto, &keys).as_slice())?;
    fill(connection, query, &keys, rows)
}

fn fill(
    connection: &Connection,
    query: &PageQuery,
    keys: &[String],
    mut positions: Rows<'_>,
) -> Result<Page, Failure> {
    let settled = connection
        .prepare_cached("SELECT settled FROM hub")?
        .query_row([], |row| position_of(row, 0))?;
    let mut page = Page {
        entries: Vec::new(),
        covers: query.upto,
    };
    let mut bytes = 0;
    while let Some(row) = positions.next()? {
        let position = position_of(row, 0)?;
        let (entry, open) = entry_at(connection, position, keys)?;
        if entry.expired(query.now) {
            continue;
        }
        bytes += entry.body.len();
        if let Some(last) = page.entries.last()
            && (page.entries.len() >= query.limit || bytes > query.max_bytes)
        {
            page.covers = last.entry.position;
            break;
        }
        page.entries.push(PageEntry {
            undecided: open || position > settled,
            entry,
        });
    }
    Ok(page)
}

fn entry_at(
    connection: &Connection,
    position: Position,
    keys: &[String],
) -> Result<(Entry, bool), Failure> {
    let place = stored(position);
    let mut values: Vec<&dyn ToSql> = vec![&place];
    values.extend(keys.iter().map(|key| key as &dyn ToSql));
    connection
        .prepare_cached(&entry_sql(keys.len()))?
        .query_row(values.as_slice(), |row| Ok((entry_of(row)?, row.get(7)?)))
        .optional()?
        .ok_or_else(|| Failure::Damaged(format!("the entry at position {position} is missing")))
}

/// The log itself.
pub(super) fn entries(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> Result<Vec<Entry>, Failure> {
    let entries: rusqlite::Result<Vec<Entry>> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entry WHERE position > ?1 ORDER BY position LIMIT ?2"
        ))?
        .query_map(params![stored(after), count(limit)], entry_of)?
        .collect();
    Ok(entries?)
}

/// How much there is of everything.
pub(super) fn counts(connection: &Connection) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    let mut statement = connection.prepare_cached("SELECT name, n FROM counter")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let n = unsigned(row, 1)?;
        match row.get_ref(0)?.as_str().unwrap_or_default() {
            "notification" => counts.notifications = n,
            "broadcast" => counts.broadcasts = n,
            "owed" => counts.owed = n,
            "failed" => counts.failed = n,
            "scheduled" => counts.scheduled = n,
            // These are counted with what belongs to them.
            "webhook" | "reminder" => {}
            other => return Err(Failure::Damaged(format!("an unknown counter {other:?}"))),
        }
    }
    let oldest = connection
        .prepare_cached(OLDEST_OWED_SQL)?
        .query_row([], |row| position_of(row, 0))
        .optional()?;
    counts.oldest_owed = match oldest {
        Some(position) => created_at(connection, position)?,
        None => None,
    };
    Ok(counts)
}

#[cfg(test)]
pub(super) mod tests {
    use rusqlite::params_from_iter;

    use super::super::schema::tests::in_memory;
    use super::*;

    fn plan(connection: &Connection, sql: &str, parameters: usize) -> Vec<String> {
        connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .and_then(|mut statement| {
                statement
                    .query_map(
                        params_from_iter(std::iter::repeat_n("1", parameters)),
                        |row| row.get(3),
                    )?
                    .collect()
            })
            .expect("a plan")
    }

    /// That a query reads its rows off indexes, in their order, one at a time.
    #[track_caller]
    pub(in crate::store::sqlite) fn searches_only(sql: &str, parameters: usize) {
        let connection = in_memory();
        let plan = plan(&connection, sql, parameters);
        let lazy = plan
            .iter()
            .all(|step| !step.contains("SCAN") && !step.contains("TEMP B-TREE"));
        assert!(lazy, "{plan:#?}");
        assert!(plan.iter().any(|step| step.contains("SEARCH")), "{plan:#?}");
    }

    /// That a query reads its rows off an index that it does not sort, the first ones first.
    #[track_caller]
    pub(in crate::store::sqlite) fn reads_an_index(sql: &str, parameters: usize) {
        let plan = plan(&in_memory(), sql, parameters);
        let lazy = plan
            .iter()
            .all(|step| step.contains("USING") && !step.contains("TEMP B-TREE"));
        assert!(lazy, "{plan:#?}");
    }

    #[test]
    fn a_page_is_merged_from_the_index_and_never_scanned_or_sorted() {
        for keys in [2, 3, 7, MAX_ROLES + 2] {
            searches_only(&positions_sql(keys), keys + 2);
            searches_only(&entry_sql(keys), keys + 1);
        }
        searches_only(OPEN_SQL, 3);
        reads_an_index(OLDEST_OWED_SQL, 0);
    }
}
