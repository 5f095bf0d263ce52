//! What a page and the count cost, in the steps of SQLite's own machine: the same number each time, unlike a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

use super::super::schema::tests::in_memory;
use super::list;
use crate::clock::Timestamp;
use crate::inbox::{DEFAULT_PAGE, Filter, Unread};
use crate::log::Position;
use crate::notification::{MAX_ROLES, Severity};
use crate::store::{ListQuery, Viewer};

/// A log in which every second entry is in the inbox of a user with as many roles as may be.
fn log_of(entries: usize) -> Connection {
    let connection = in_memory();
    let fill = format!(
        "CREATE TEMP TABLE made AS
             WITH RECURSIVE n(position) AS (
                 SELECT 1 UNION ALL SELECT position + 1 FROM n WHERE position < {entries})
             SELECT position, position % 6 <> 4 AS inbox, CASE position % 6
                 WHEN 0 THEN 'u:me'
                 WHEN 1 THEN 'r:mine-' || (position / 6 % {MAX_ROLES})
                 WHEN 2 THEN '*'
                 WHEN 3 THEN 'u:other-' || (position % 100)
                 WHEN 4 THEN '*'
                 ELSE 'r:theirs-' || (position % 10) END AS key
             FROM n;
         INSERT INTO entry (position, kind, id, publisher, audience, created_ms, body)
             SELECT position, iif(inbox, 'notification', 'broadcast'), randomblob(16), 'key:tests', key, 0,
                 '{{\"message\":\"m\",\"severity\":\"low\"}}' FROM made;
         INSERT INTO audience (key, position, inbox) SELECT key, position, inbox FROM made;
         INSERT INTO mark (user, position, since) VALUES ('me', 1, 0);
         INSERT INTO hub (id, epoch, head, settled, created_ms) VALUES (1, 'e', {entries}, {entries}, 0);"
    );
    connection.execute_batch(&fill).expect("entries");
    connection
}

fn everything(filter: Filter, before: Option<Position>) -> ListQuery {
    let roles = (0..MAX_ROLES).map(|i| Arc::from(format!("mine-{i}")));
    ListQuery {
        viewer: Viewer {
            user: "me".into(),
            roles: roles.collect(),
        },
        filter,
        before,
        limit: DEFAULT_PAGE,
        now: Timestamp::from_millis(1),
    }
}

/// How many steps SQLite's machine takes for all that something asks of it.
fn steps_of<T>(connection: &mut Connection, asked: impl FnOnce(&Connection) -> T) -> (T, i32) {
    // What each statement has come to since it was prepared: its steps, and its rows scanned and sorted.
    let noted: Arc<Mutex<HashMap<String, (i32, i32)>>> = Arc::default();
    let notes = Arc::clone(&noted);
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Profile(statement, _) = event {
            let of = |status| statement.get_status(status);
            let scanned = of(StatementStatus::FullscanStep) + of(StatementStatus::Sort);
            let sum = (of(StatementStatus::VmStep), scanned);
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.insert(statement.sql().into_owned(), sum);
        }
    };
    connection.flush_prepared_statement_cache();
    connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note))
        .expect("traced");
    let answer = asked(connection);
    let noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        noted.len() >= 7,
        "there are more statements than these: {noted:?}"
    );
    // The one row of the hub has no index to be found by.
    let scans = noted
        .iter()
        .filter(|(sql, (_, scanned))| *scanned > 0 && !sql.ends_with("FROM hub"));
    assert_eq!(scans.collect::<Vec<_>>(), []);
    (answer, noted.values().map(|(steps, _)| steps).sum())
}

#[test]
fn a_page_and_the_count_cost_the_same_however_much_is_stored() {
    let (few, many) = (6_000, 120_000);
    let mut logs = [log_of(few), log_of(many)];
    let only = |severity| Filter {
        severities: vec![severity],
        ..Filter::default()
    };
    let unread = Filter {
        unread: true,
        ..Filter::default()
    };
    for (filter, before, due) in [
        (Filter::default(), None, DEFAULT_PAGE),
        (
            Filter::default(),
            Some(Position(few as u64 / 2)),
            DEFAULT_PAGE,
        ),
        (unread, None, DEFAULT_PAGE),
        (only(Severity::Low), None, DEFAULT_PAGE),
        // What there is none of.
        (only(Severity::Critical), None, 0),
    ] {
        let costs = logs.each_mut().map(|log| {
            let query = everything(filter.clone(), before);
            let (slice, steps) = steps_of(log, |log| list(log, &query).expect("a page"));
            assert_eq!(
                (slice.entries.len(), slice.unread),
                (due, Unread::counted(usize::MAX))
            );
            let first = slice.entries.first().map(|entry| entry.position);
            assert!(first < query.before.or(Some(Position(u64::MAX))));
            assert!(slice.next.is_some());
            steps
        });
        let [few, many] = costs;
        assert!(many <= few + few / 50, "{filter:?}: {few} and {many} steps");
    }
}
