//! SQLite's file on a disk that is full, page by page: whichever statement of an append needs the page that is not there,
//! nothing of that append is there, and with the next page it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use campanile::clock::Timestamp;
use campanile::notification::{Draft, Kind, Notification, Validated};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Opened, Placed, Store, StoreError};
use rusqlite::Connection;
use serde_json::{Value, json};

/// What an append writes to.
const TABLES: [&str; 7] = [
    "audience",
    "duplicate",
    "entry",
    "idempotency",
    "reference",
    "reference_counter",
    "throttle",
];
/// More than it takes until each of them has met a full disk.
const MAX_APPENDS: u32 = 2_000;

/// A draft with everything that a draft may have, so that it writes to each table.
fn draft(number: u32) -> Notification {
    let long = |what: &str| format!("{what}-{number}-{}", "x".repeat(90));
    let draft: Value = json!({
        "targetUserIds": [long("ann"), long("bob")], "targetRoles": [long("crew")],
        "message": "x".repeat(300), "idempotencyKey": long("key"),
        "throttle": {"key": long("throttle"), "window": "1h"},
        "reference": {"prefix": format!("PREFIX{number:010}")},
    });
    let draft: Draft = serde_json::from_value(draft).expect("a draft");
    match draft.validate(Kind::Notification, "key:tests".into(), Timestamp::now()) {
        Ok(Validated::Notification(notification)) => notification,
        other => panic!("{other:?}"),
    }
}

fn open(file: &Path, max_pages: u32) -> Opened {
    let options = SqliteOptions {
        max_pages: Some(max_pages),
        ..SqliteOptions::default()
    };
    SqliteStore::open(file, options).expect("the store opens")
}

async fn ask(store: &dyn Store, draft: &Notification) -> Result<Placed, StoreError> {
    let mut answers = store.append(vec![draft.clone()]).await?;
    Ok(answers.remove(0).expect("it is not refused"))
}

/// By table and index, how many rows it has and how many pages they take.
fn look(file: &Connection) -> (BTreeMap<&'static str, i64>, BTreeMap<String, i64>) {
    let number = |sql: &str| file.query_row(sql, [], |row| row.get(0)).expect("a number");
    let rows = TABLES.map(|table| (table, number(&format!("SELECT count(*) FROM {table}"))));
    let mut pages = file
        .prepare(
            "SELECT s.tbl_name, count(*) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name GROUP BY 1",
        )
        .expect("a statement");
    let pages = pages.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let pages = pages.expect("pages").collect::<Result<_, _>>();
    (rows.into(), pages.expect("pages"))
}

#[tokio::test]
async fn whichever_statement_meets_a_full_disk_the_append_is_whole_or_not_there() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("campanile.db");
    let mut max_pages = 1;
    let mut opened = open(&file, max_pages);
    let looking = Connection::open(&file).expect("a connection");
    max_pages = looking
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .expect("a number");
    let (mut rows, mut pages) = look(&looking);
    let mut met = BTreeSet::new();
    let mut refused = 0;
    let mut made: Vec<(Notification, Placed)> = Vec::new();
    for number in 0..MAX_APPENDS {
        if TABLES.iter().all(|table| met.contains(*table)) {
            break;
        }
        // Two of three times something new, and one of three times what was made before.
        let again = (number % 3 == 2).then(|| &made[made.len() / 2]);
        let draft = again.map_or_else(|| draft(number), |(draft, _)| draft.clone());
        let mut was_refused = false;
        let placed = loop {
            match ask(&*opened.store, &draft).await {
                Ok(placed) => break placed,
                Err(StoreError::Unavailable(why)) => {
                    assert_eq!(why, "there is no room left to write");
                }
                Err(other) => panic!("{other:?}"),
            }
            (was_refused, refused) = (true, refused + 1);
            // Nothing of it is there, now and when it is opened again, with one page more.
            assert_eq!(look(&looking).0, rows);
            opened.store.close().await;
            max_pages += 1;
            opened = open(&file, max_pages);
            assert_eq!(look(&looking).0, rows);
            assert_eq!(opened.log.head.0, made.len() as u64);
        };
        let (rows_now, pages_now) = look(&looking);
        match again {
            Some((_, earlier)) => {
                let answer = Placed {
                    duplicate: true,
                    ..earlier.clone()
                };
                assert_eq!(placed, answer);
                rows.entry("duplicate").and_modify(|n| *n += 1);
            }
            None => {
                assert_eq!((placed.duplicate, placed.throttled), (false, false));
                assert_eq!(placed.position.expect("a place").0, made.len() as u64 + 1);
                let reference = placed.reference.as_deref().expect("a reference");
                assert!(
                    reference.ends_with("-0001"),
                    "{reference}: what failed used none up"
                );
                for (table, n) in &mut rows {
                    *n += match *table {
                        "audience" => 3,
                        "duplicate" => 0,
                        _ => 1,
                    };
                }
                made.push((draft, placed));
            }
        }
        assert_eq!(rows_now, rows);
        if was_refused {
            let grew = pages_now
                .iter()
                .filter(|(name, n)| pages.get(*name) < Some(*n));
            met.extend(grew.map(|(name, _)| name.clone()));
        }
        pages = pages_now;
    }
    opened.store.close().await;
    let missing: Vec<&&str> = TABLES
        .iter()
        .filter(|table| !met.contains(**table))
        .collect();
    assert!(missing.is_empty(), "never met a full disk: {missing:?}");
    println!(
        "{refused} appends met a full disk, {} were made",
        made.len()
    );
}
