//! SQLite's file in use: what shares a commit, what a full disk, damage or a kill leaves behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use campanile::audience::Recipient;
use campanile::log::Position;
use campanile::notification::Notification;
use campanile::store::{RetrySchedule, StoreError};
use futures::future::join_all;
use rusqlite::Connection;

use super::*;

/// Holds the file's write lock, so that the writer waits and work gathers behind it.
struct Held(Connection);

impl Held {
    fn new(place: &Directory) -> Self {
        let other = Connection::open(place.file()).expect("a connection");
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        Self(other)
    }

    fn release(self) {
        self.0
            .execute_batch("ROLLBACK")
            .expect("the lock is let go");
    }
}

#[tokio::test]
async fn appends_that_come_while_a_commit_is_under_way_share_the_next() {
    let place = Directory::new();
    let mut opened = place.open();
    let held = Held::new(&place);
    let appends: Vec<_> = (0..64)
        .map(|_| opened.store.append(vec![to_user("42")]))
        .collect();
    held.release();
    for answer in join_all(appends).await {
        assert!(answer.expect("stored")[0].is_ok());
    }
    // A hand-over is one commit: at most what the writer had taken already, and all the rest.
    let mut commits = Vec::new();
    while let Ok(commit) = opened.committed.try_recv() {
        commits.push(commit.len());
    }
    assert_eq!(commits.iter().sum::<usize>(), 64);
    assert!(commits.len() <= 2, "{commits:?}");
}

#[tokio::test]
async fn a_commit_holds_no_more_than_its_bound() {
    let place = Directory::new();
    let mut opened = place.open_with(SqliteOptions {
        max_batch: 10,
        ..SqliteOptions::default()
    });
    let appends: Vec<_> = (0..20)
        .map(|_| opened.store.append((0..4).map(|_| to_user("42")).collect()))
        .collect();
    join_all(appends).await;
    let mut stored = 0;
    while let Ok(commit) = opened.committed.try_recv() {
        // The call that passes the bound goes in whole.
        assert!(commit.len() <= 12, "{}", commit.len());
        stored += commit.len();
    }
    assert_eq!(stored, 80);
}

#[tokio::test]
async fn past_the_bound_on_what_waits_an_append_is_refused_at_once() {
    let place = Directory::new();
    let store = place
        .open_with(SqliteOptions {
            max_waiting: 8,
            ..SqliteOptions::default()
        })
        .store;
    let held = Held::new(&place);
    let waiting: Vec<_> = (0..8).map(|_| store.append(vec![to_user("42")])).collect();
    let refused = soon(store.append(vec![to_user("42")])).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    held.release();
    for answer in join_all(waiting).await {
        answer.expect("what had been taken is stored");
    }
    // One call with more than there is room for waits its turn like any other.
    let large = (0..9).map(|_| to_user("42")).collect();
    assert_eq!(stored(&*store, large).await, Position(17));
}

#[tokio::test]
async fn damage_that_is_met_in_use_is_reported_and_stops_further_writing() {
    let place = Directory::new();
    let mut file = closed_store().await;
    // A leaf (0x0d) of the table that holds bodies, and not its last: nobody looks at it when opening.
    let body = to_user("42").body;
    let holds_a_body = |page: &&mut [u8]| {
        page[0] == 0x0d && page.windows(body.len()).any(|w| w == body.as_bytes())
    };
    let leaf = file.chunks_mut(4_096).find(holds_a_body);
    leaf.expect("such a page")[..8].fill(0xff);
    std::fs::create_dir(place.file().with_file_name("")).expect("a directory");
    std::fs::write(place.file(), &file).expect("a file");

    let store = place.open().store;
    let read = store.entries(Position::START, 100).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    assert!(!soon(store.damaged()).await.is_empty());
    let write = store.append(vec![to_user("42")]).await;
    assert!(matches!(write, Err(StoreError::Damaged(_))), "{write:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_whole_commits_and_there_is_room_again_after_pruning() {
    let place = Directory::new();
    let mut opened = place.open_with(SqliteOptions {
        max_pages: Some(200),
        ..SqliteOptions::default()
    });
    let store = opened.store.clone();
    let large = || Notification {
        body: "x".repeat(50_000).into(),
        ..to_user("42")
    };
    let mut accepted = 0;
    let error = loop {
        match store.append(vec![large(), large()]).await {
            Ok(answers) => accepted += answers.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(accepted > 0);
    let StoreError::Unavailable(words) = error else {
        panic!("{error:?}")
    };
    assert_eq!(words, "there is no room left to write");
    // Half of what was refused would have fitted: none of it is there, and nothing was handed over.
    let everything = everything(viewer("42", &[]), u64::MAX);
    assert_eq!(seen(&*store, everything).await.len() as u64, accepted);
    assert_eq!(
        store.counts().await.expect("counts").notifications,
        accepted
    );
    let mut handed = 0;
    while let Ok(commit) = opened.committed.try_recv() {
        handed += commit.len() as u64;
    }
    assert_eq!(handed, accepted);

    settled(&*store, accepted).await;
    let later = Timestamp::now().saturating_add(A_MINUTE);
    let pruned = store.prune(later, keeping(Duration::ZERO), 100).await;
    assert_eq!(pruned.expect("pruning works").gone.total(), accepted);
    let next = stored(&*store, vec![large()]).await;
    assert_eq!(next, Position(accepted + 1));
}

#[tokio::test]
async fn the_counts_are_what_a_scan_would_count() {
    let place = Directory::new();
    let store = place.open().store;
    let now = Timestamp::now();
    for round in 1..=20u64 {
        let duplicate = to_user("42");
        let batch = vec![
            notification(to(&["42", "7"], &["ADMIN"])),
            duplicate.clone(),
            duplicate,
            broadcast(),
        ];
        store.append(batch).await.expect("an answer");
        let head = round * 3;
        let recipients = [
            Recipient::User("42".into()),
            Recipient::User("7".into()),
            Recipient::Role("ADMIN".into()),
        ];
        let first = Position(head - 2);
        store.record(Verdicts {
            settled: Position(head),
            owed: recipients
                .iter()
                .map(|r| (first, r.clone(), Missed::NoStream))
                .collect(),
            sent: vec![(Position(head / 2), recipients[(round % 3) as usize].clone())],
            ..Verdicts::default()
        });
        let schedule = RetrySchedule {
            delays: [Duration::ZERO; 3].into(),
        };
        let later = now.saturating_add(A_MINUTE * u32::try_from(round).unwrap());
        ask(&*store, later, schedule, 4).await;
        if round % 5 == 0 && round < 20 {
            let pruned = store.prune(later, keeping(Duration::ZERO), 7).await;
            pruned.expect("pruned");
        }
        let counts = store.counts().await.expect("counts");
        let scan = |sql: &str| -> u64 {
            let other = Connection::open(place.file()).expect("a connection");
            let n: i64 = other.query_row(sql, [], |row| row.get(0)).expect("a count");
            n.try_into().unwrap()
        };
        assert_eq!(
            [
                counts.notifications,
                counts.broadcasts,
                counts.owed,
                counts.failed
            ],
            [
                scan("SELECT count(*) FROM entry WHERE kind = 'notification'"),
                scan("SELECT count(*) FROM entry WHERE kind = 'broadcast'"),
                scan("SELECT count(*) FROM delivery WHERE state = 'owed'"),
                scan("SELECT count(*) FROM delivery WHERE state = 'failed'"),
            ],
            "after round {round}"
        );
        let orphans = "SELECT count(*) FROM audience
            WHERE position NOT IN (SELECT position FROM entry)";
        assert_eq!(scan(orphans), 0);
    }
    let end = store.counts().await.expect("counts");
    assert!(end.owed > 0 && end.failed > 0 && end.broadcasts > 0);
}

#[tokio::test]
async fn a_backup_that_reads_for_long_holds_up_nobody_who_publishes() {
    let place = Directory::new();
    let store = place.open().store;
    stored(&*store, vec![to_user("42")]).await;
    let reader = Connection::open(place.file()).expect("a connection");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM entry")
        .expect("a moment to read");
    let wal = place.file().with_extension("db-wal");
    let large = || Notification {
        body: "x".repeat(4_000_000).into(),
        ..to_user("42")
    };
    let mut longest = Duration::ZERO;
    // Past the size at which the log is cut back, which it cannot be while it is read.
    while std::fs::metadata(&wal).expect("a log").len() < 72 * 1024 * 1024 {
        let begun = std::time::Instant::now();
        stored(&*store, vec![large()]).await;
        stored(&*store, vec![to_user("42")]).await;
        longest = longest.max(begun.elapsed());
    }
    // SQLite would wait for its reader for as long as for any lock.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    reader.execute_batch("ROLLBACK").expect("it has read");
}

/// Where the child that is killed keeps its store.
const CHILDS_STORE: &str = "CAMPANILE_TEST_STORE";

#[test]
#[ignore = "the child of acknowledged_entries_survive_a_kill; it appends until it is killed"]
fn appends_until_it_is_killed() {
    let file = std::env::var_os(CHILDS_STORE).expect("a file");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let opened = SqliteStore::open(Path::new(&file), SqliteOptions::default());
        let store = opened.expect("the store opens").store;
        loop {
            let appends = (0..8).map(|_| store.append(vec![to_user("42")]));
            for answer in join_all(appends.collect::<Vec<_>>()).await {
                println!(
                    "stored {}",
                    answer.expect("stored")[0]
                        .clone()
                        .expect("none is refused")
                        .position
                        .expect("a place")
                );
            }
        }
    });
}

#[tokio::test]
async fn acknowledged_entries_survive_a_kill() {
    let place = Directory::new();
    let child_test = concat!(module_path!(), "::appends_until_it_is_killed");
    let (_, name) = child_test.split_once("::").expect("a path in a crate");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(CHILDS_STORE, place.file())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut last = 0;
    for line in lines.map_while(Result::ok) {
        if let Some(position) = line.strip_prefix("stored ") {
            last = position.parse().expect("a position");
            if last == 200 {
                child.kill().expect("it is killed");
            }
        }
    }
    child.wait().expect("it has ended");
    assert!(last >= 200, "it ended at {last}");

    let opened = place.open();
    assert!(opened.log.head >= Position(last));
    let found = opened.store.entries(Position::START, usize::MAX).await;
    let found = found.expect("entries");
    assert_eq!(found.len() as u64, opened.log.head.0);
    let next = stored(&*opened.store, vec![to_user("42")]).await;
    assert_eq!(next, opened.log.head.next());
}
