//! Inboxes as they are listed, and the store's face towards them; `reading.rs` has what is read in them.
//!
//! An inbox is the union of short lists, one for each of its viewer's keys, each in position order, with no broadcast in it
//! and nothing that was withdrawn. SQLite merges them lazily, forwards for a count and backwards for a page, so either
//! reads no more rows than it looks at; tests here hold it to its plan and to the steps that it takes.
//!
//! What a filter passes over is looked at as well. So a page ends after [`MAX_LOOKED_AT`] of them whatever it has found, and
//! says where to go on.

#[cfg(test)]
mod cost;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Rows, ToSql, params};
use uuid::Uuid;

use super::entries::{entry_at_id, head, millis, moment_of, position_of, stored};
use super::failure::Failure;
use super::pages::{keys, own_key};
use super::{SqliteStore, reading, references};
use crate::clock::Timestamp;
use crate::delivery::Which;
use crate::inbox::Unread;
use crate::log::Position;
use crate::store::{InboxEntry, InboxSlice, Inboxes, ListQuery, Marked, StoreError, Viewer};

/// The most entries that a page looks at: what it is asked for may be rare.
const MAX_LOOKED_AT: usize = 2_000;
/// The most bytes of public parts that it reads, but always one entry.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// In which order an inbox is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Rising,
    Falling,
}

/// The lists that a viewer's inbox is merged from, and where they begin.
pub(super) struct Lists {
    keys: Vec<String>,
    own_after: i64,
    others_after: i64,
}

impl Lists {
    /// Of what stands after a place. `since` is where the log stood at the viewer's first visit; without one, only what is
    /// addressed to them by name is theirs.
    pub(super) fn of(viewer: &Viewer, since: Option<Position>, after: Position) -> Self {
        Self {
            keys: match since {
                Some(_) => keys(viewer),
                None => vec![own_key(viewer)],
            },
            own_after: stored(after),
            others_after: stored(since.unwrap_or_default().max(after)),
        }
    }

    /// The query that merges them.
    pub(super) fn sql(&self, order: Order) -> String {
        inbox_sql(self.keys.len(), order)
    }

    /// Its parameters.
    pub(super) fn values<'a>(&'a self, before: &'a i64) -> Vec<&'a dyn ToSql> {
        let mut values: Vec<&dyn ToSql> = vec![&self.own_after, &self.others_after, before];
        values.extend(self.keys.iter().map(|key| key as &dyn ToSql));
        values
    }
}

/// The notifications for any of so many keys, each once. ?1: after, for the first key; ?2: after, for the others; ?3:
/// before; then the keys. With a single key nothing refers to the second, but those that follow make room for it.
pub(super) fn inbox_sql(keys: usize, order: Order) -> String {
    let lists: Vec<String> = (0..keys)
        .map(|i| {
            format!(
                "SELECT position, expires_ms FROM audience
                 WHERE key = ?{} AND inbox = 1 AND position > ?{} AND position < ?3",
                i + 4,
                if i == 0 { 1 } else { 2 },
            )
        })
        .collect();
    // A union is sorted by all of its columns; falling in one and rising in the other is not how they stand.
    let order = match order {
        Order::Rising => "position, expires_ms",
        Order::Falling => "position DESC, expires_ms DESC",
    };
    format!("{} ORDER BY {order}", lists.join(" UNION "))
}

/// What a user (?1) has read one by one after ?2 and before ?3, falling.
const SINGLE_SQL: &str =
    "SELECT position FROM read_mark WHERE user = ?1 AND position > ?2 AND position < ?3
    ORDER BY position DESC";

/// A user's single marks, walked down beside the list of their inbox.
struct Marks<'s> {
    rows: Rows<'s>,
    next: Option<i64>,
    watermark: i64,
}

impl<'s> Marks<'s> {
    fn new(mut rows: Rows<'s>, watermark: i64) -> rusqlite::Result<Self> {
        let next = rows.next()?.map(|row| row.get(0)).transpose()?;
        Ok(Self {
            rows,
            next,
            watermark,
        })
    }

    /// Whether a position is read. Asked about falling positions only.
    fn has(&mut self, position: i64) -> rusqlite::Result<bool> {
        if position <= self.watermark {
            return Ok(true);
        }
        while self.next.is_some_and(|mark| mark > position) {
            self.next = self.rows.next()?.map(|row| row.get(0)).transpose()?;
        }
        Ok(self.next == Some(position))
    }
}

/// A part of a viewer's inbox. The transaction is the caller's: all of it is of one moment.
fn list(connection: &Connection, query: &ListQuery) -> Result<InboxSlice, Failure> {
    let ListQuery { viewer, filter, .. } = query;
    let since = reading::visits(connection, &viewer.user)?.map(|visits| visits.since);
    let watermark = reading::watermark(connection, &viewer.user)?;
    // Below the watermark nothing is unread.
    let after = if filter.unread {
        watermark
    } else {
        Position::START
    };
    let lists = Lists::of(viewer, since, after);
    let before = query.before.map_or(i64::MAX, stored);
    let mut inbox = connection.prepare_cached(&lists.sql(Order::Falling))?;
    let mut inbox = inbox.query(lists.values(&before).as_slice())?;
    let watermark = stored(watermark);
    let mut single = connection.prepare_cached(SINGLE_SQL)?;
    let single = single.query(params![viewer.user, watermark, before])?;
    let mut marks = Marks::new(single, watermark)?;

    let now = millis(query.now);
    let (mut looked_at, mut bytes) = (0, 0);
    let (mut entries, mut last, mut next) = (Vec::new(), None, None);
    while let Some(row) = inbox.next()? {
        if entries.len() >= query.limit.max(1) || looked_at == MAX_LOOKED_AT || bytes >= MAX_BYTES {
            next = last;
            break;
        }
        let position = position_of(row, 0)?;
        let expires: Option<i64> = row.get(1)?;
        looked_at += 1;
        last = Some(position);
        if expires.is_some_and(|moment| moment <= now) {
            continue;
        }
        let read = marks.has(stored(position))?;
        if filter.unread && read {
            continue;
        }
        let entry = entry_at(connection, position, read)?;
        bytes += entry.body.len();
        if filter.lets_through(&entry.body) {
            entries.push(entry);
        }
    }
    Ok(InboxSlice {
        entries,
        next,
        unread: reading::unread(connection, viewer, since, query.now)?,
        head: head(connection)?,
    })
}

fn entry_at(
    connection: &Connection,
    position: Position,
    read: bool,
) -> Result<InboxEntry, Failure> {
    connection
        .prepare_cached("SELECT id, created_ms, body FROM entry WHERE position = ?1")?
        .query_row([stored(position)], |row| {
            Ok(InboxEntry {
                position,
                id: Uuid::from_bytes(row.get(0)?),
                created_at: moment_of(row, 1)?,
                read,
                body: row.get_ref(2)?.as_str()?.into(),
            })
        })
        .optional()?
        .ok_or_else(|| Failure::Damaged(format!("the entry at position {position} is missing")))
}

/// One notification of a viewer's inbox.
fn entry(
    connection: &Connection,
    viewer: &Viewer,
    which: &Which,
    now: Timestamp,
) -> Result<Option<InboxEntry>, Failure> {
    let id = match which {
        Which::Id(id) => Some(*id),
        Which::Reference(reference) => references::given(connection, reference)?.map(|(id, _)| id),
    };
    let entry = id.map(|id| entry_at_id(connection, id)).transpose()?;
    let Some(entry) = entry.flatten() else {
        return Ok(None);
    };
    if entry.expired(now) || !reading::is_in_inbox(connection, &entry, viewer)? {
        return Ok(None);
    }
    Ok(Some(InboxEntry {
        position: entry.position,
        id: entry.id,
        created_at: entry.created_at,
        read: reading::is_read(connection, &viewer.user, entry.position)?,
        body: entry.body,
    }))
}

impl Inboxes for SqliteStore {
    fn inbox(&self, query: ListQuery) -> BoxFuture<'_, Result<InboxSlice, StoreError>> {
        self.readers.ask(move |c| list(c, &query)).boxed()
    }

    fn inbox_entry(
        &self,
        viewer: Viewer,
        which: Which,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<InboxEntry>, StoreError>> {
        self.readers
            .ask(move |c| entry(c, &viewer, &which, now))
            .boxed()
    }

    fn unread(&self, viewer: Viewer, now: Timestamp) -> BoxFuture<'_, Result<Unread, StoreError>> {
        self.readers
            .ask(move |c| {
                let since = reading::visits(c, &viewer.user)?.map(|visits| visits.since);
                reading::unread(c, &viewer, since, now)
            })
            .boxed()
    }

    fn mark_read(
        &self,
        viewer: Viewer,
        id: Uuid,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>> {
        self.write(move |c| reading::mark_read(c, &viewer, id, now))
            .boxed()
    }

    fn mark_all_read(
        &self,
        user: Arc<str>,
        upto: Option<Position>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Marked, StoreError>> {
        async move {
            let raised = user.clone();
            let marked = self
                .write(move |c| reading::mark_all_read(c, &raised, upto))
                .await?;
            // Each step is a commit of its own: nobody's publish waits for the marks of a diligent reader. Also when
            // nothing was raised, because a crash may have left some.
            let mut more = marked != Marked::Unknown;
            while more {
                let user = user.clone();
                more = self.write(move |c| reading::clear(c, &user, now)).await?;
            }
            Ok(marked)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::searches_only;
    use super::*;
    use crate::notification::MAX_ROLES;

    #[test]
    fn an_inbox_is_merged_from_the_index_either_way_and_never_scanned_or_sorted() {
        for keys in [1, 2, 3, 7, MAX_ROLES + 2] {
            for order in [Order::Rising, Order::Falling] {
                searches_only(&inbox_sql(keys, order), keys + 3);
            }
        }
        searches_only(SINGLE_SQL, 3);
    }
}
