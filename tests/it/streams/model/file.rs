//! The store's file: looked at from outside when nobody serves it, and made older, since nobody can wait for a month.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Row};

use super::plan::{ROLES, To, USERS};
use super::rules::Model;

/// Columns that say how long and not when.
const LENGTHS: [&str; 1] = ["window_ms"];

fn rows<T>(
    file: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = file.prepare(sql).expect("a statement");
    let rows = statement.query_map([], row).expect("an answer");
    rows.collect::<Result<_, _>>().expect("rows")
}

fn number(file: &Connection, sql: &str) -> u64 {
    let number = |row: &Row<'_>| row.get::<_, i64>(0);
    let number: i64 = file.query_row(sql, [], number).expect("a number");
    number.try_into().expect("not negative")
}

/// Makes everything in it so many minutes older.
pub fn make_older(path: &Path, minutes: u64) {
    let file = Connection::open(path).expect("the file");
    let tables = "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                  WHERE m.type = 'table' AND c.name LIKE '%\\_ms' ESCAPE '\\'";
    let moments = rows(&file, tables, |row| Ok((row.get(0)?, row.get(1)?)));
    let moments: Vec<(String, String)> = moments;
    assert!(moments.len() > 10, "{moments:?}");
    for (table, column) in moments {
        if !LENGTHS.contains(&column.as_str()) {
            let older = format!(
                "UPDATE {table} SET {column} = {column} - {}",
                minutes * 60_000
            );
            file.execute(&older, []).expect("it is older");
        }
    }
}

fn keys(to: &To) -> String {
    let mut keys: Vec<String> = to
        .users
        .iter()
        .map(|u| format!("u:{}", USERS[*u].0))
        .collect();
    keys.extend(to.roles.iter().map(|r| format!("r:{}", ROLES[*r])));
    if to.everyone {
        keys.push("*".to_owned());
    }
    keys.sort();
    keys.join("\n")
}

/// That a file which nobody serves holds what the model does, and nothing else.
pub fn check(path: &Path, model: &Model) {
    let file = Connection::open(path).expect("the file");
    assert_eq!(number(&file, "SELECT head FROM hub"), model.head());
    assert_eq!(number(&file, "SELECT settled FROM hub"), model.head());

    let log = "SELECT position, kind, hex(id), audience, json_extract(body, '$.message'),
                      json_extract(body, '$.reference') FROM entry ORDER BY position";
    let log = rows(&file, log, |row| {
        let mut audience: Vec<String> = row
            .get::<_, String>(3)?
            .split('\n')
            .map(str::to_owned)
            .collect();
        audience.sort();
        Ok((
            row.get::<_, i64>(0)? as u64,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            audience.join("\n"),
            row.get::<_, String>(4)?,
            row.get::<_, Option<String>>(5)?,
        ))
    });
    let bare = |id: &str| id.replace('-', "").to_uppercase();
    let due: Vec<_> = (1..)
        .zip(&model.log)
        .filter(|(_, entry)| !entry.pruned)
        .map(|(position, entry)| {
            (
                position,
                if entry.broadcast {
                    "broadcast"
                } else {
                    "notification"
                }
                .to_owned(),
                bare(entry.id.as_deref().expect("it was answered")),
                keys(&entry.to),
                entry.message.clone(),
                entry.reference.clone(),
            )
        })
        .collect();
    assert_eq!(log, due);
    let audience = number(&file, "SELECT count(*) FROM audience");
    let recipients = |position: &(u64, String, String, String, String, Option<String>)| {
        position.3.split('\n').count() as u64
    };
    assert_eq!(audience, due.iter().map(recipients).sum::<u64>());

    let references = rows(&file, "SELECT reference, position FROM reference", |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
    });
    let references: BTreeMap<String, u64> = references.into_iter().collect();
    assert_eq!(references, model.references);

    let keys = "SELECT key, hex(id), throttled FROM idempotency ORDER BY key, 2";
    let mut keys = rows(&file, keys, |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    });
    let mut kept: Vec<(String, String, bool)> = model
        .keys
        .iter()
        .map(|((_, key), kept)| {
            let id = model.entry(kept.position).id.as_deref().expect("an id");
            (key.clone(), bare(id), kept.throttled)
        })
        .collect();
    keys.sort();
    kept.sort();
    assert_eq!(keys, kept);
    let used = |outcome| {
        let sql = format!("SELECT count(*) FROM duplicate WHERE outcome = '{outcome}'");
        number(&file, &sql) as usize
    };
    let answered = model.duplicates.iter().filter(|(_, answered)| *answered);
    let answered = answered.count();
    let refused = model.duplicates.len() - answered;
    assert_eq!((used("answered"), used("refused")), (answered, refused));

    let throttles = "SELECT key, window_ms / 60000, position FROM throttle";
    let mut throttles = rows(&file, throttles, |row| {
        Ok((
            row.get(0)?,
            row.get::<_, i64>(1)? as u64,
            row.get::<_, i64>(2)? as u64,
        ))
    });
    let mut held: Vec<(String, u64, u64)> = model
        .throttles
        .iter()
        .map(|((_, key, window), (_, position))| (key.clone(), *window, *position))
        .collect();
    throttles.sort();
    held.sort();
    assert_eq!(throttles, held);

    let stuck = "SELECT count(*) FROM delivery WHERE owner IS NOT NULL OR leased_ms IS NOT NULL";
    assert_eq!(
        number(&file, stuck),
        0,
        "processing, and nobody processes it"
    );
    let counted = "SELECT n FROM counter WHERE name = 'owed'";
    let owed = number(&file, "SELECT count(*) FROM delivery WHERE state = 'owed'");
    assert_eq!(number(&file, counted), owed);
    let orphans =
        "SELECT count(*) FROM delivery WHERE position NOT IN (SELECT position FROM entry)";
    assert_eq!(number(&file, orphans), 0);
}
