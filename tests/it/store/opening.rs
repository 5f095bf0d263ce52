//! Opening SQLite's file: what it makes, and what it refuses and leaves as it is.

use std::os::unix::fs::PermissionsExt;

use campanile::audience::Recipient;
use campanile::delivery::{DeliveryQuery, Scope};
use campanile::diagnosis::{DiagnosisQuery, LEASE};
use campanile::inbox::{Filter, Unread};
use campanile::log::Position;
use campanile::store::sqlite::{Restore, back_up, restore};
use campanile::store::{ListQuery, OpenStoreError};
use rusqlite::Connection;

use super::*;

/// The present version of the schema.
const PRESENT: i64 = 8;

#[tokio::test]
async fn a_file_is_served_by_one_at_a_time() {
    let place = Directory::new();
    let store = place.open().store;
    let second = SqliteStore::open(&place.file(), SqliteOptions::default());
    assert!(matches!(second.err(), Some(OpenStoreError::Locked { .. })));
    store.close().await;
    drop(place.open());
}

#[tokio::test]
async fn what_is_made_is_for_its_owner_alone_and_is_one_file_when_closed() {
    let place = Directory::new();
    let store = place.open().store;
    stored(&*store, vec![to_user("42")]).await;
    let directory = place.file().with_file_name("");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
    };
    assert_eq!(mode(&directory) & 0o777, 0o700);
    let wal = place.file().with_extension("db-wal");
    for file in [&place.file(), &wal] {
        assert_eq!(mode(file) & 0o777, 0o600, "{}", file.display());
    }
    store.close().await;
    assert!(!wal.exists());
}

#[tokio::test]
async fn a_new_epoch_is_drawn_when_asked_for() {
    let place = Directory::new();
    let opened = place.open();
    stored(&*opened.store, vec![to_user("42")]).await;
    opened.store.close().await;
    let again = place.open_with(SqliteOptions {
        new_epoch: true,
        ..SqliteOptions::default()
    });
    assert_ne!(again.log.epoch, opened.log.epoch);
    assert_eq!(again.log.head, Position(1));
    again.store.close().await;
    assert_eq!(place.open().log.epoch, again.log.epoch);
}

/// Puts `contents` where a store would be and sees it refused, and untouched.
#[track_caller]
fn refused(contents: &[u8]) -> OpenStoreError {
    let place = Directory::new();
    let file = place.file();
    std::fs::create_dir(file.with_file_name("")).expect("a directory");
    std::fs::write(&file, contents).expect("a file");
    let error = SqliteStore::open(&file, SqliteOptions::default())
        .err()
        .expect("it is refused");
    assert_eq!(bytes(&file), contents);
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    assert!(matches!(
        refused(b"notes to myself\n"),
        OpenStoreError::Foreign { .. }
    ));
    let other = tempfile::NamedTempFile::new().expect("a file");
    Connection::open(other.path())
        .and_then(|c| c.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)"))
        .expect("another application's database");
    let error = refused(&bytes(other.path()));
    assert!(matches!(error, OpenStoreError::Foreign { .. }), "{error}");
    let cut_short = &bytes(other.path())[..50];
    assert!(matches!(refused(cut_short), OpenStoreError::Foreign { .. }));
}

#[tokio::test]
async fn a_later_versions_file_is_refused_and_left_as_it_is() {
    let mut file = closed_store().await;
    // The header's user version: SQLite file format, 1.3.
    let later = i32::try_from(PRESENT + 1).expect("a small number");
    file[60..64].copy_from_slice(&later.to_be_bytes());
    let error = refused(&file);
    assert!(
        matches!(
            error,
            OpenStoreError::Newer {
                found,
                known: PRESENT,
                ..
            } if found == PRESENT + 1
        ),
        "{error}"
    );
}

/// Puts a store of version 1 in place: two notifications for 42, of so many bytes, the second of them owed.
fn put_version_1(place: &Directory, bytes: usize) {
    std::fs::create_dir(place.file().with_file_name("")).expect("a directory");
    let old = Connection::open(place.file()).expect("a file");
    let body = "x".repeat(bytes);
    old.execute_batch(include_str!("../../../src/store/sqlite/schema/1.sql"))
        .and_then(|()| {
            old.execute_batch(&format!(
                "PRAGMA application_id = 0x43414d50; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
                 INSERT INTO hub (id, epoch, head, settled, created_ms) VALUES (1, 'old0', 2, 2, 5);
                 INSERT INTO entry VALUES (1, 'notification', randomblob(16), 'p', 'u:42', 5, NULL, '{body}'),
                                          (2, 'notification', randomblob(16), 'p', 'u:42', 6, NULL, '{body}');
                 INSERT INTO audience VALUES ('u:42', 1, 1, NULL), ('u:42', 2, 1, NULL);
                 INSERT INTO delivery (position, key, state, next_ms, changed_ms) VALUES (2, 'u:42', 'owed', 7, 7);",
            ))
        })
        .expect("a store of version 1");
}

/// What the store and its copies say of themselves: name, version, epoch and how many entries, sorted by name.
fn versions(place: &Directory) -> Vec<(String, i64, String, i64)> {
    let names = names(place);
    let files = names.iter().map(|name| place.file().with_file_name(name));
    let said = files.zip(&names).map(|(file, name)| {
        let file = Connection::open(file).expect("a file");
        let sql = "SELECT user_version, epoch, (SELECT count(*) FROM entry) FROM pragma_user_version, hub";
        let row = file.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (version, epoch, entries) = row.unwrap_or_default();
        (name.clone(), version, epoch, entries)
    });
    said.collect()
}

/// The store's files and its copies', sorted, without what SQLite has beside an open one.
fn names(place: &Directory) -> Vec<String> {
    let entries = std::fs::read_dir(place.file().with_file_name("")).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.starts_with("campanile.db"))
        .filter(|name| {
            !["-wal", "-shm", ".lock"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_earlier_versions_file_is_brought_up_to_date_after_a_copy() {
    let place = Directory::new();
    put_version_1(&place, 10);
    let opened = place.open();
    assert_eq!(opened.log.epoch.as_str(), "old0");
    assert_eq!(opened.log.head, Position(2));
    let counts = opened.store.counts().await.expect("an answer");
    assert_eq!((counts.notifications, counts.owed), (2, 1));
    let last = stored(&*opened.store, vec![to_user("42")]).await;
    assert_eq!(last, Position(3));
    opened.store.close().await;

    let copy = place.file().with_extension("db.v1");
    let mode = std::fs::metadata(&copy)
        .expect("a copy")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let [now, before] = &versions(&place)[..] else {
        panic!("{:?}", versions(&place))
    };
    assert_eq!(
        now,
        &("campanile.db".to_owned(), PRESENT, "old0".to_owned(), 3)
    );
    assert_eq!(
        (before.0.as_str(), before.1, before.3),
        ("campanile.db.v1", 1, 2)
    );
    // Whoever puts it back gives position 3 again: its streams must be told.
    assert_ne!(before.2, "old0");
    drop(place.open());
}

#[tokio::test]
async fn whatever_was_for_somebody_in_an_earlier_version_is_still_for_them_and_goes_with_its_age() {
    let place = Directory::new();
    put_version_1(&place, 10);
    let old = Connection::open(place.file()).expect("a file");
    old.execute_batch(
        "INSERT INTO entry VALUES (3, 'broadcast', randomblob(16), 'p', '*', 7, NULL, '{}'),
                                  (4, 'notification', randomblob(16), 'p', 'r:CREW', 7, NULL, '{}'),
                                  (5, 'broadcast', randomblob(16), 'p', 'u:42', 7, NULL, '{}'),
                                  (6, 'notification', randomblob(16), 'p', 'u:7', 7, 7, '{}');
         INSERT INTO audience VALUES ('*', 3, 0, NULL), ('r:CREW', 4, 1, NULL), ('u:42', 5, 0, NULL),
                                     ('u:7', 6, 0, 7); -- withdrawn
         INSERT INTO mark VALUES ('42', 1, 0);
         UPDATE hub SET head = 6, settled = 6;",
    )
    .and_then(|()| old.close().map_err(|(_, error)| error))
    .expect("more of version 1");

    let store = place.open().store;
    let last = stored(
        &*store,
        vec![notification(to(&["42", "7"], &[])), broadcast()],
    )
    .await;
    assert_eq!(last, Position(8));
    settled(&*store, 8).await;
    let crew = viewer("42", &["CREW"]);
    let page = seen(&*store, everything(crew.clone(), 8)).await;
    assert_eq!(page, [1, 2, 3, 4, 5, 7, 8]);
    let query = ListQuery {
        viewer: crew,
        filter: Filter::default(),
        before: None,
        limit: 50,
        now: Timestamp::now(),
    };
    let inbox = store.inbox(query).await.expect("an inbox");
    let listed: Vec<u64> = inbox.entries.iter().map(|one| one.position.0).collect();
    assert_eq!(
        (listed, inbox.unread),
        (vec![7, 4, 2, 1], Unread::counted(4))
    );
    let query = DeliveryQuery {
        scope: Scope::Of(Recipient::User("42".into()), None),
        publisher: None,
        since: Timestamp::default(),
        cursor: None,
        limit: 50,
    };
    let searched = store.deliveries(query.clone()).await.expect("deliveries");
    let found = searched.deliveries.iter().map(|one| one.position.0);
    assert_eq!(found.collect::<Vec<u64>>(), [7, 5, 2, 1]);

    let later = Timestamp::now().saturating_add(A_MINUTE);
    let pruned = store.prune(later, keeping(Duration::ZERO), 50).await;
    let gone = pruned.expect("pruned").gone;
    assert_eq!((gone.notifications, gone.broadcasts), (5, 3));
    let searched = store.deliveries(query).await.expect("deliveries");
    assert_eq!(searched.deliveries, []);
    let deep = DiagnosisQuery {
        now: later,
        lease: LEASE,
        deep: Some(A_MINUTE),
    };
    let facts = store.diagnose(deep).await.expect("a diagnosis");
    assert_eq!(facts.broken, []);
    assert_eq!(
        (facts.counts.notifications, facts.counts.broadcasts),
        (0, 0)
    );
}

#[tokio::test]
async fn a_copy_that_is_there_already_is_left_and_the_new_one_is_called_by_its_moment() {
    let place = Directory::new();
    put_version_1(&place, 10);
    let copy = place.file().with_extension("db.v1");
    std::fs::write(&copy, b"the only copy of something else").expect("a file");
    place.open().store.close().await;
    assert_eq!(bytes(&copy), b"the only copy of something else");
    let found = versions(&place);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!((names.len(), names[1]), (3, "campanile.db.v1"), "{names:?}");
    assert!(names[2].starts_with("campanile.db.v1.2"), "{names:?}");
    assert_eq!((found[2].1, found[2].3), (1, 2));
}

#[test]
fn a_copy_of_an_earlier_versions_store_is_of_this_one_and_the_store_is_left_as_it_is() {
    let place = Directory::new();
    put_version_1(&place, 10);
    let before = bytes(&place.file());
    let copy = place.file().with_extension("db.copy");
    let copied = back_up(&place.file(), &copy, false).expect("a copy");
    assert_eq!((copied.notifications, copied.broadcasts), (2, 0));
    assert_eq!(bytes(&place.file()), before);
    let found = versions(&place);
    let said: Vec<_> = found
        .iter()
        .map(|(_, version, _, n)| (*version, *n))
        .collect();
    assert_eq!(said, [(1, 2), (PRESENT, 2)]);
    // And what a start has put by can be put back.
    let there = place.0.path().join("there").join("campanile.db");
    restore(&place.file(), &there, Restore::default()).expect("restored");
    drop(SqliteStore::open(&there, SqliteOptions::default()).expect("it opens"));
}

/// Opens the store in a process that may write no file beyond 128 KiB; `before` says what becomes of it then.
fn open_without_room(place: &Directory, before: &str) -> std::process::ExitStatus {
    let script =
        format!("{before}; ulimit -c 0; ulimit -f 256; exec \"$0\" key list --data \"$1\"");
    let directory = place.file().with_file_name("");
    std::process::Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_campanile")])
        .arg(directory)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("it ran")
}

#[tokio::test]
async fn a_full_disk_or_a_kill_in_mid_copy_leaves_the_file_of_the_earlier_version_as_it_was() {
    use std::os::unix::process::ExitStatusExt;

    let place = Directory::new();
    put_version_1(&place, 500_000);
    let untouched = ("campanile.db".to_owned(), 1, "old0".to_owned(), 2);
    let status = open_without_room(&place, "trap '' XFSZ");
    assert_eq!(status.code(), Some(3), "{status}");
    assert_eq!(versions(&place), std::slice::from_ref(&untouched));

    let status = open_without_room(&place, "true");
    assert!(status.signal().is_some(), "it was killed: {status}");
    let left = names(&place);
    assert_eq!(left[..2], ["campanile.db", "campanile.db.v1.unfinished"]);

    place.open().store.close().await;
    assert_eq!(names(&place), ["campanile.db", "campanile.db.v1"]);
    let found = versions(&place);
    assert_eq!(
        (found[0].1, found[0].3, found[1].1, found[1].3),
        (PRESENT, 2, 1, 2)
    );
}

#[tokio::test]
async fn of_two_that_start_at_once_on_an_earlier_versions_file_one_brings_it_up_to_date() {
    let place = Directory::new();
    put_version_1(&place, 100_000);
    let file = place.file();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let file = file.clone();
            std::thread::spawn(move || SqliteStore::open(&file, SqliteOptions::default()))
        })
        .collect();
    let (mut opened, mut locked) = (Vec::new(), 0);
    for start in starts {
        match start.join().expect("no panic") {
            Ok(store) => opened.push(store),
            Err(OpenStoreError::Locked { .. }) => locked += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((opened.len(), locked), (1, 3));
    opened[0].store.close().await;
    let found = versions(&place);
    let said: Vec<_> = found
        .iter()
        .map(|(name, version, _, n)| (name.as_str(), *version, *n))
        .collect();
    assert_eq!(
        said,
        [("campanile.db", PRESENT, 2), ("campanile.db.v1", 1, 2)]
    );
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let whole = closed_store().await;
    let mut garbled = whole.clone();
    garbled[4_096..].fill(0xa5);
    let mut without_schema = whole.clone();
    without_schema[100..4_096].fill(0);
    let cut_short = whole[..8_192].to_vec();
    for file in [garbled, without_schema, cut_short] {
        let error = refused(&file);
        assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_write_ahead_log_that_has_lost_its_file_is_left_as_it_is() {
    let place = Directory::new();
    std::fs::create_dir(place.file().with_file_name("")).expect("a directory");
    let wal = place.file().with_extension("db-wal");
    std::fs::write(&wal, b"somebody's last words").expect("a file");
    let error = SqliteStore::open(&place.file(), SqliteOptions::default()).err();
    assert!(matches!(error, Some(OpenStoreError::Damaged { .. })));
    assert_eq!(bytes(&wal), b"somebody's last words");
    assert!(!place.file().exists());
}

#[test]
fn what_cannot_be_made_is_said_in_one_line() {
    let place = Directory::new();
    let directory = place.0.path().join("data");
    std::fs::write(directory, b"in the way").expect("a file");
    let error = SqliteStore::open(&place.file(), SqliteOptions::default()).err();
    let error = error.expect("it is refused");
    assert!(matches!(error, OpenStoreError::Io { .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}
