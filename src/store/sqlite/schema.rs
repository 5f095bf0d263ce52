//! The schema, as the steps that lead to it: a new file takes all of them, an older one those that it lacks. So what a new
//! file has and what an old one becomes cannot differ.
//!
//! A step that has been released is never changed.

use rusqlite::Connection;

/// Each version's step, from 1 on.
const STEPS: [&str; 8] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
];

/// The version that this Campanile reads and writes.
#[allow(clippy::cast_possible_wrap, reason = "a handful of steps")]
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The tables of [`VERSION`].
pub(super) const TABLES: [&str; 21] = [
    "api_key",
    "audience",
    "counter",
    "delivery",
    "duplicate",
    "entry",
    "hub",
    "idempotency",
    "mark",
    "read_mark",
    "reading",
    "reference",
    "reference_counter",
    "reminded",
    "reminder",
    "revocation",
    "scheduled",
    "throttle",
    "webhook",
    "webhook_endpoint",
    "webhook_verdict",
];

/// Takes a database of version `from` (0: an empty one) to [`VERSION`]. The transaction is the caller's.
pub(super) fn build(connection: &Connection, from: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "user_version", VERSION)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An empty database of this version, in memory.
    pub(in crate::store::sqlite) fn in_memory() -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        build(&connection, 0).expect("the schema");
        connection
    }

    #[test]
    fn the_tables_are_those_that_opening_looks_for() {
        let connection = in_memory();
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
            .expect("the tables");
        assert_eq!(tables, TABLES);
    }
}
