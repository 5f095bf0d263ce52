//! Opening SQLite's file: what it makes, and what it refuses and leaves as it is.

use std::os::unix::fs::PermissionsExt;

use campanile::log::Position;
use campanile::store::OpenStoreError;
use rusqlite::Connection;

use super::*;

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
    file[60..64].copy_from_slice(&7i32.to_be_bytes());
    let error = refused(&file);
    assert!(
        matches!(
            error,
            OpenStoreError::Newer {
                found: 7,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_earlier_versions_file_is_brought_up_to_date_after_a_copy() {
    let place = Directory::new();
    std::fs::create_dir(place.file().with_file_name("")).expect("a directory");
    let old = Connection::open(place.file()).expect("a file");
    old.execute_batch(include_str!("../../../src/store/sqlite/schema/1.sql"))
        .and_then(|()| {
            old.execute_batch(
                "PRAGMA application_id = 0x43414d50; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
                 INSERT INTO hub (id, epoch, head, settled, created_ms) VALUES (1, 'old0', 2, 2, 5);
                 INSERT INTO entry VALUES (1, 'notification', randomblob(16), 'p', 'u:42', 5, NULL, '{}'),
                                          (2, 'notification', randomblob(16), 'p', 'u:42', 6, NULL, '{}');
                 INSERT INTO audience VALUES ('u:42', 1, 1, NULL), ('u:42', 2, 1, NULL);
                 INSERT INTO delivery (position, key, state, next_ms, changed_ms) VALUES (2, 'u:42', 'owed', 7, 7);",
            )
        })
        .expect("a store of version 1");
    drop(old);

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
    let entries: i64 = Connection::open(copy)
        .and_then(|copy| copy.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)))
        .expect("the copy is whole");
    assert_eq!(entries, 2);
    drop(place.open());
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
