//! `campanile backup` and `campanile restore`: what is in a copy, what its streams are told, and what is never overwritten.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{BinaryHub, EventStream, Open, command, token};

/// A data directory, and beside it a place for copies.
struct Home {
    data: TempDir,
    copies: TempDir,
    client: reqwest::Client,
}

impl Home {
    fn new() -> Self {
        let directory = || tempfile::tempdir().expect("a directory");
        Self {
            data: directory(),
            copies: directory(),
            client: reqwest::Client::new(),
        }
    }

    fn database(&self) -> PathBuf {
        self.data.path().join("campanile.db")
    }

    fn copy(&self) -> PathBuf {
        self.copies.path().join("copy.db")
    }

    async fn serve(&self) -> BinaryHub {
        BinaryHub::serve(self.data.path(), &[]).await
    }

    async fn backup(&self, more: &[&str]) -> (i32, String, String) {
        let file = self.copy();
        let arguments = [&["backup", text(&file)], more].concat();
        command(self.data.path(), &arguments).await
    }

    async fn restore(&self, more: &[&str]) -> (i32, String, String) {
        let file = self.copy();
        let arguments = [&["restore", text(&file)], more].concat();
        command(self.data.path(), &arguments).await
    }

    /// A hub has run here, and has `messages` for ann.
    async fn with(messages: &[&str]) -> Self {
        let home = Self::new();
        let hub = home.serve().await;
        let publisher = home.publisher().await;
        for message in messages {
            home.post(&hub, &publisher, message).await;
        }
        assert_eq!(hub.terminate().await, Some(0));
        home
    }

    async fn publisher(&self) -> String {
        token(&self.data, "backend", &["--scope", "publish"]).await
    }

    async fn stream(&self, hub: &BinaryHub, cursor: Option<String>) -> EventStream {
        let open = Open {
            last_event_id: cursor,
            ..Open::default()
        };
        EventStream::open(hub.addr(), &token(&self.data, "ann", &[]).await, open).await
    }

    /// Publishes for ann what must be acknowledged: the answer.
    async fn post(&self, hub: &BinaryHub, token: &str, message: &str) -> Value {
        let answer = self
            .client
            .post(hub.url("/notifications"))
            .bearer_auth(token)
            .json(&json!({"targetUserId": "ann", "message": message}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 201);
        answer.json().await.expect("JSON")
    }

    /// The names in the data directory that begin like the store's.
    fn stores(&self) -> Vec<String> {
        names(self.data.path(), "campanile.db")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn names(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.starts_with(prefix) && !name.ends_with(".lock"))
        .collect();
    names.sort();
    names
}

/// A value of the store's one row, or another query's.
fn read<T: rusqlite::types::FromSql>(file: &Path, sql: &str) -> T {
    let file = Connection::open(file).expect("the file");
    file.query_row(sql, [], |row| row.get(0)).expect("a value")
}

fn messages(file: &Path) -> Vec<String> {
    let file = Connection::open(file).expect("the file");
    let sql = "SELECT json_extract(body, '$.message') FROM entry ORDER BY position";
    file.prepare(sql)
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .expect("messages")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_before_a_backup_under_load_is_in_it_where_it_was() {
    let home = Arc::new(Home::new());
    let hub = Arc::new(home.serve().await);
    let publisher = home.publisher().await;
    // Position → id and message, of everything that was answered with 201.
    let acknowledged = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..4)
        .map(|publisher_number| {
            let (home, hub, publisher) = (home.clone(), hub.clone(), publisher.clone());
            let (acknowledged, over) = (acknowledged.clone(), over.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let message = format!("{publisher_number}:{number} {}", "x".repeat(3_000));
                    let answer = home.post(&hub, &publisher, &message).await;
                    let (_, position) = answer["eventId"]
                        .as_str()
                        .and_then(|id| id.split_once('-'))
                        .expect("an event id");
                    let id = answer["notificationId"].as_str().expect("an id").to_owned();
                    let position: i64 = position.parse().expect("a position");
                    let mut acknowledged = acknowledged.lock().expect("no panic");
                    acknowledged.insert(position, (id, message));
                    drop(acknowledged);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        })
        .collect();
    let count = || acknowledged.lock().expect("no panic").len();
    while count() < 300 {
        tokio::task::yield_now().await;
    }
    let before = acknowledged.lock().expect("no panic").clone();
    let (code, stdout, stderr) = home.backup(&[]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let after = count();
    over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.expect("it does not panic");
    }
    assert!(after > before.len(), "publishing went on meanwhile");
    drop(hub);

    // Restored elsewhere, as after the loss of a machine.
    let there = tempfile::tempdir().expect("a directory");
    let file = home.copy();
    let (code, stdout, stderr) = command(there.path(), &["restore", text(&file)]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let restored = Connection::open(there.path().join("campanile.db")).expect("the store");
    let mut at = restored
        .prepare(
            "SELECT lower(hex(id)), json_extract(body, '$.message') FROM entry WHERE position = ?1",
        )
        .expect("a query");
    for (position, (id, message)) in before {
        let found: Option<(String, String)> = at
            .query_row([position], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .expect("an answer");
        assert_eq!(
            found,
            Some((id.replace('-', ""), message)),
            "position {position}"
        );
    }
    let whole =
        "SELECT count(*) = max(position) AND max(position) = (SELECT head FROM hub) FROM entry";
    let whole: bool = restored
        .query_row(whole, [], |row| row.get(0))
        .expect("an answer");
    assert!(whole, "one moment of the log, without holes");
}

#[tokio::test]
async fn a_stream_with_a_cursor_from_before_is_told_of_another_epoch_and_then_what_follows() {
    let home = Home::with(&["kept"]).await;
    assert_eq!(home.backup(&[]).await.0, 0);
    let hub = home.serve().await;
    let mut stream = home.stream(&hub, None).await;
    let publisher = home.publisher().await;
    home.post(&hub, &publisher, "lost with the store").await;
    while stream.notification().await.message() != "lost with the store" {}
    let cursor = stream.last_id.clone().expect("an id");
    drop(stream);
    assert_eq!(hub.terminate().await, Some(0));

    let (code, _, stderr) = home.restore(&["--force"]).await;
    assert_eq!(code, 0, "{stderr}");
    let hub = home.serve().await;
    // Its position is given again now, to another.
    let mut stream = home.stream(&hub, Some(cursor.clone())).await;
    let gap = stream.next().await;
    assert_eq!(
        (gap.kind(), &gap.data["data"]["scope"]),
        ("gap", &json!("epoch"))
    );
    let again = home.post(&hub, &publisher, "after").await;
    let position = |id: &str| id.split_once('-').map(|(_, position)| position.to_owned());
    let id = again["eventId"].as_str().expect("an id");
    assert_eq!(position(id), position(&cursor));
    while stream.notification().await.message() != "after" {}

    // The place in the new epoch is one like any other, also after a restart.
    let cursor = gap.id.expect("the gap's place");
    drop(stream);
    assert_eq!(hub.terminate().await, Some(0));
    let hub = home.serve().await;
    let mut stream = home.stream(&hub, Some(cursor)).await;
    stream.expect_next_message("after").await;
}

#[tokio::test]
async fn a_copy_put_in_place_by_hand_gets_its_epoch_from_the_first_hub_that_serves_it() {
    let home = Home::with(&["kept"]).await;
    assert_eq!(home.backup(&[]).await.0, 0);
    let epoch = |file: &Path| read::<String>(file, "SELECT epoch FROM hub");
    let first = epoch(&home.database());
    assert_eq!(epoch(&home.copy()), first);

    let elsewhere = Home::new();
    std::fs::copy(home.copy(), elsewhere.database()).expect("a copy");
    // A command that looks in is not a hub.
    let key = ["key", "create", "--name", "shop", "--scope", "publish"];
    let (code, _, stderr) = command(elsewhere.data.path(), &key).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(epoch(&elsewhere.database()), first);
    let mut epochs = vec![first];
    for _ in 0..2 {
        let hub = elsewhere.serve().await;
        assert_eq!(hub.terminate().await, Some(0));
        epochs.push(epoch(&elsewhere.database()));
    }
    assert_ne!(epochs[0], epochs[1]);
    assert_eq!(epochs[1], epochs[2], "drawn once");
}

#[tokio::test]
async fn one_copy_restored_twice_has_two_epochs() {
    let home = Home::with(&["kept"]).await;
    assert_eq!(home.backup(&[]).await.0, 0);
    let mut epochs = Vec::new();
    for _ in 0..2 {
        assert_eq!(home.restore(&["--force"]).await.0, 0);
        assert_eq!(home.serve().await.terminate().await, Some(0));
        epochs.push(read::<String>(&home.database(), "SELECT epoch FROM hub"));
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[tokio::test]
async fn references_are_advanced_past_the_numbers_that_were_given_after_the_copy() {
    let home = Home::with(&["kept"]).await;
    let store = Connection::open(home.database()).expect("the store");
    store
        .execute_batch(
            "INSERT INTO reference_counter (prefix, month, last)
             VALUES ('CNC', '0919', 12), ('CNC', '1019', 3), ('SAV', '1019', 40)",
        )
        .expect("counters");
    drop(store);
    assert_eq!(home.backup(&[]).await.0, 0);
    let restore = ["--force", "--advance-references", "100"];
    let (code, _, stderr) = home.restore(&restore).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("reference counters were advanced by 100;"),
        "{stderr}"
    );
    let counters = |months: &str| -> String {
        let sql = format!(
            "SELECT group_concat(prefix || ' ' || last, ', ') FROM
             (SELECT * FROM reference_counter WHERE month {months} ORDER BY month, prefix)"
        );
        read(&home.database(), &sql)
    };
    assert_eq!(counters("IN ('0919', '1019')"), "CNC 112, CNC 103, SAV 140");
    // Of the present month the copy knew nothing, and numbers may have been given in it: on either side of midnight,
    // wherever the hub is.
    let present = counters("NOT IN ('0919', '1019')");
    let one = "CNC 100, SAV 100";
    assert!(
        present == one || present == format!("{one}, {one}"),
        "{present}"
    );

    assert_eq!(home.restore(&["--force"]).await.0, 0);
    assert_eq!(counters("IS NOT NULL"), "CNC 12, CNC 3, SAV 40");
}

#[tokio::test]
async fn restore_refuses_while_a_hub_runs_and_the_hub_goes_on() {
    let home = Home::with(&["kept"]).await;
    assert_eq!(home.backup(&[]).await.0, 0);
    let hub = home.serve().await;
    let (code, stdout, stderr) = home.restore(&["--force"]).await;
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(
        stderr.contains("is in use by another campanile"),
        "{stderr}"
    );
    let publisher = home.publisher().await;
    home.post(&hub, &publisher, "after").await;
    assert_eq!(hub.terminate().await, Some(0));
    assert_eq!(messages(&home.database()), ["kept", "after"]);
    assert_eq!(home.stores(), ["campanile.db"]);
}

#[tokio::test]
async fn restore_leaves_a_store_that_is_there_unless_forced_and_then_it_is_moved_aside() {
    let home = Home::with(&["kept"]).await;
    assert_eq!(home.backup(&[]).await.0, 0);
    let hub = home.serve().await;
    let publisher = home.publisher().await;
    home.post(&hub, &publisher, "only here").await;
    // Killed, so that what it committed last is not in the file but in the log beside it.
    hub.kill().await;
    let wal = home.data.path().join("campanile.db-wal");
    assert!(std::fs::metadata(&wal).expect("a log").len() > 0);

    let before = std::fs::read(home.database()).expect("a file");
    let (code, _, stderr) = home.restore(&[]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("campanile.db is in the way: it exists already"),
        "{stderr}"
    );
    assert_eq!(std::fs::read(home.database()).expect("a file"), before);
    // Its log alone is in the way as well.
    let hidden = home.data.path().join("hidden");
    std::fs::rename(home.database(), &hidden).expect("renamed");
    let (code, _, stderr) = home.restore(&[]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("campanile.db-wal is in the way"),
        "{stderr}"
    );
    std::fs::rename(&hidden, home.database()).expect("renamed");

    let (code, _, stderr) = home.restore(&["--force"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(messages(&home.database()), ["kept"]);
    let stores = home.stores();
    let aside = stores
        .iter()
        .find(|name| name.starts_with("campanile.db.2"));
    let aside = home.data.path().join(aside.expect("the old store"));
    assert!(stderr.contains(text(&aside)), "{stderr}");
    assert_eq!(messages(&aside), ["kept", "only here"]);
    assert_eq!(home.serve().await.terminate().await, Some(0));
}

#[tokio::test]
async fn restore_refuses_what_is_no_whole_copy_and_touches_nothing() {
    let home = Home::with(&["kept"]).await;
    let many: Vec<String> = (0..200)
        .map(|n| format!("{n} {}", "x".repeat(500)))
        .collect();
    let hub = home.serve().await;
    let publisher = home.publisher().await;
    for message in &many {
        home.post(&hub, &publisher, message).await;
    }
    assert_eq!(hub.terminate().await, Some(0));
    assert_eq!(home.backup(&[]).await.0, 0);
    let whole = std::fs::read(home.copy()).expect("a copy");
    let before = std::fs::read(home.database()).expect("the store");

    // One page of an index, which reading the log would never look at.
    let mut damaged = whole.clone();
    let index: u32 = read(
        &home.copy(),
        "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_entry_1'",
    );
    let index = index as usize;
    damaged[(index - 1) * 4_096 + 200..index * 4_096].fill(0x5a);
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&9i32.to_be_bytes());
    for (contents, what) in [
        (&damaged[..], "is damaged"),
        (&newer, "has schema version 9"),
        (&whole[..20_480], "is damaged"),
        (b"a letter", "is not a Campanile store"),
        (b"", "there is none"),
    ] {
        std::fs::write(home.copy(), contents).expect("a file");
        let (code, stdout, stderr) = home.restore(&["--force"]).await;
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert!(stderr.contains(what), "{what}: {stderr}");
        assert_eq!(std::fs::read(home.database()).expect("the store"), before);
        assert_eq!(home.stores(), ["campanile.db"]);
    }
    std::fs::remove_file(home.copy()).expect("removed");
    let (code, _, stderr) = home.restore(&["--force"]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("there is none"), "{stderr}");
}

#[tokio::test]
async fn backup_leaves_a_file_that_is_there_unless_forced_and_the_store_in_any_case() {
    let home = Home::with(&["kept"]).await;
    std::fs::write(home.copy(), "a letter").expect("a file");
    let (code, stdout, stderr) = home.backup(&[]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("copy.db is in the way: it exists already"),
        "{stderr}"
    );
    assert_eq!(std::fs::read(home.copy()).expect("a file"), b"a letter");
    assert_eq!(home.backup(&["--force"]).await.0, 0);
    assert_eq!(messages(&home.copy()), ["kept"]);

    // Onto itself, by another name.
    let link = home.copies.path().join("link.db");
    std::os::unix::fs::symlink(home.database(), &link).expect("a link");
    let arguments = ["backup", text(&link), "--force"];
    let (code, _, stderr) = command(home.data.path(), &arguments).await;
    assert_eq!(code, 1, "{stderr}");
    // Onto another hub's store, while that runs.
    let other = Home::new();
    let running = other.serve().await;
    let theirs = other.database();
    let arguments = ["backup", text(&theirs), "--force"];
    let (code, _, stderr) = command(home.data.path(), &arguments).await;
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(running.terminate().await, Some(0));
    let none: Vec<String> = Vec::new();
    assert_eq!(messages(&theirs), none);
    assert_eq!(messages(&home.database()), ["kept"]);
}

#[tokio::test]
async fn a_copy_is_one_file_for_its_owner_alone_whether_the_hub_was_stopped_or_killed() {
    let home = Home::with(&["first"]).await;
    let mode = |file: &Path| {
        let metadata = std::fs::metadata(file).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    let (code, stdout, stderr) = home.backup(&[]).await;
    assert_eq!(code, 0, "{stderr}");
    let said = "copied 1 notification and 0 broadcasts (";
    assert!(
        stdout.starts_with(said) && stdout.lines().count() == 1,
        "{stdout}"
    );
    assert_eq!(names(home.copies.path(), ""), ["copy.db"]);
    assert_eq!(mode(&home.copy()), 0o600);
    assert_eq!(messages(&home.copy()), ["first"]);
    assert_eq!(
        home.stores(),
        ["campanile.db"],
        "nothing is left beside the store"
    );

    let hub = home.serve().await;
    let publisher = home.publisher().await;
    home.post(&hub, &publisher, "second").await;
    hub.kill().await;
    // An earlier attempt was killed as well.
    let left = home.copies.path().join("copy.db.unfinished");
    std::fs::write(&left, "half a copy").expect("a file");
    std::fs::write(left.with_extension("unfinished-journal"), "its journal").expect("a file");
    assert_eq!(home.backup(&["--force"]).await.0, 0);
    assert_eq!(names(home.copies.path(), ""), ["copy.db"]);
    assert_eq!(mode(&home.copy()), 0o600);
    assert_eq!(messages(&home.copy()), ["first", "second"]);

    let nowhere = home.copies.path().join("no/such/directory.db");
    let (code, _, stderr) = command(home.data.path(), &["backup", text(&nowhere)]).await;
    assert_eq!(code, 1, "{stderr}");
    let empty = tempfile::tempdir().expect("a directory");
    let third = home.copies.path().join("third.db");
    let (code, _, stderr) = command(empty.path(), &["backup", text(&third)]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("there is none"), "{stderr}");
    assert_eq!(names(home.copies.path(), ""), ["copy.db"]);
}
