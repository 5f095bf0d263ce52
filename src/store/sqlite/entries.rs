//! Entries of the log as rows: how they come and how they are read; `prune.rs` has how they go.
//!
//! An entry stands once in `entry` and once for each recipient's key in `audience`, written and deleted together.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::audience::Audience;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::{Entry, Kind, Notification};
use crate::webhooks::Choice;

/// The columns that [`entry_of`] reads, in its order.
pub(super) const COLUMNS: &str = "position, kind, id, audience, created_ms, expires_ms, body";

/// A position as SQLite keeps it. One past what 63 bits hold can only come from a client, and is then past every entry.
pub(super) fn stored(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// A number of milliseconds as SQLite keeps it.
pub(super) fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

/// A count as SQLite keeps it.
pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The position in a column.
pub(super) fn position_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    unsigned(row, column).map(Position)
}

/// The moment in a column.
pub(super) fn moment_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    unsigned(row, column).map(Timestamp::from_millis)
}

/// The place in a column; 0 where what was accepted had none yet.
pub(super) fn place_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Position>> {
    let place = position_of(row, column)?;
    Ok((place > Position::START).then_some(place))
}

/// A place as [`place_of`] reads it.
pub(super) fn stored_place(place: Option<Position>) -> i64 {
    place.map_or(0, stored)
}

/// The number in a column that no version of this code makes negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Notification => "notification",
        Kind::Broadcast => "broadcast",
    }
}

/// The kind in a column.
pub(super) fn kind_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    match row.get_ref(column)?.as_str()? {
        "notification" => Ok(Kind::Notification),
        "broadcast" => Ok(Kind::Broadcast),
        _ => Err(rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            "an unknown kind of entry".into(),
        )),
    }
}

/// The entry in a row of [`COLUMNS`].
pub(super) fn entry_of(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let audience = Audience::from_text(row.get_ref(3)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(3, Type::Text, "not an audience".into())
    })?;
    let expires_at: Option<i64> = row.get(5)?;
    Ok(Entry {
        position: position_of(row, 0)?,
        id: Uuid::from_bytes(row.get(2)?),
        kind: kind_of(row, 1)?,
        audience,
        created_at: moment_of(row, 4)?,
        expires_at: expires_at.map(|_| moment_of(row, 5)).transpose()?,
        body: row.get_ref(6)?.as_str()?.into(),
    })
}

const ENTRY_SQL: &str =
    "INSERT INTO entry (position, kind, id, publisher, audience, created_ms, expires_ms, body, webhook)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const AUDIENCE_SQL: &str =
    "INSERT INTO audience (key, position, inbox, expires_ms) VALUES (?1, ?2, ?3, ?4)";

const HEAD_SQL: &str = "UPDATE hub SET head = ?1 WHERE id = 1";

/// The statements of an append, prepared once for all drafts of a commit.
pub(super) struct Inserts<'c> {
    entry: CachedStatement<'c>,
    audience: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            entry: connection.prepare_cached(ENTRY_SQL)?,
            audience: connection.prepare_cached(AUDIENCE_SQL)?,
        })
    }

    /// Stores an entry. The head is the caller's to move.
    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        publisher: &str,
        webhook: Option<Choice>,
    ) -> rusqlite::Result<()> {
        self.entry.execute(params![
            stored(entry.position),
            kind_name(entry.kind),
            entry.id.as_bytes(),
            publisher,
            entry.audience.to_text(),
            millis(entry.created_at),
            entry.expires_at.map(millis),
            entry.body,
            webhook.map(Choice::name),
        ])?;
        for recipient in entry.audience.recipients() {
            self.audience.execute(params![
                recipient.to_string(),
                stored(entry.position),
                entry.kind == Kind::Notification,
                entry.expires_at.map(millis),
            ])?;
        }
        Ok(())
    }
}

/// The entry of a notification's id.
pub(super) fn entry_at_id(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Entry>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE id = ?1"))?
        .query_row([id.as_bytes()], entry_of)
        .optional()
}

/// The entry that a notification became.
pub(super) fn placed(notification: &Notification, body: Arc<str>, position: Position) -> Entry {
    Entry {
        position,
        id: notification.id,
        kind: notification.kind,
        audience: notification.audience.clone(),
        created_at: notification.created_at,
        expires_at: notification.expires_at,
        body,
    }
}

/// How far the log has come. Asked of the database in each transaction and not remembered: no other writer that came in
/// between, by whatever mistake, can make a position be given twice.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Position> {
    connection
        .prepare_cached("SELECT head FROM hub")?
        .query_row([], |row| position_of(row, 0))
}

/// Stores how far the log has come.
pub(super) fn set_head(connection: &Connection, head: Position) -> rusqlite::Result<()> {
    connection
        .prepare_cached(HEAD_SQL)?
        .execute([stored(head)])?;
    Ok(())
}

/// When the entry at a position was accepted.
pub(super) fn created_at(
    connection: &Connection,
    position: Position,
) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT created_ms FROM entry WHERE position = ?1")?
        .query_row([stored(position)], |row| moment_of(row, 0))
        .optional()
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;

    use super::super::schema::tests::in_memory;
    use super::*;

    /// The steps of a statement's program, those of its triggers with them.
    fn program(sql: &str, parameters: usize) -> Vec<String> {
        let connection = in_memory();
        connection
            .pragma_update(None, "foreign_keys", true)
            .expect("as the writer has it");
        let mut program = connection
            .prepare(&format!("EXPLAIN {sql}"))
            .expect("a program");
        let values = params_from_iter(std::iter::repeat_n("1", parameters));
        let steps = program.query_map(values, |row| row.get("opcode"));
        steps
            .and_then(Iterator::collect::<rusqlite::Result<_>>)
            .expect("its steps")
    }

    #[test]
    fn storing_an_entry_makes_no_table_on_the_way_and_no_copies_of_pages() {
        for (sql, parameters) in [(ENTRY_SQL, 9), (AUDIENCE_SQL, 4)] {
            let program = program(sql, parameters);
            assert!(program.iter().any(|step| step.ends_with("Insert")));
            // A list of three values or more in a CHECK is a table, made anew for each row. A trigger, and a row counted
            // for a foreign key, can fail when the statement has written already: SQLite copies pages to undo it.
            for dear in ["OpenEphemeral", "Program", "FkCounter"] {
                assert!(!program.iter().any(|step| step == dear), "{program:?}");
            }
        }
    }

    #[test]
    fn moving_the_head_counts_what_it_passes_and_makes_no_table_for_that() {
        let program = program(HEAD_SQL, 1);
        let has = |wanted: &str| program.iter().any(|step| step == wanted);
        assert!(has("Program") && has("SeekGT"), "{program:?}");
        assert!(!has("OpenEphemeral"), "{program:?}");
    }
}
