//! What the store promises, whichever store it is.
//!
//! `log`, `verdicts`, `claims`, `outbox`, `diagnosis`, `places`, `reading` and `inbox` are the suite: each of its tests is given a
//! [`Place`] and asks nothing of it but the contract. `opening`, `file`, `pruning`, `references` and `throttles` are about SQLite's file.

mod claims;
mod diagnosis;
mod file;
mod inbox;
mod log;
mod opening;
mod outbox;
mod places;
mod pruning;
mod reading;
mod references;
mod throttles;
mod verdicts;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use campanile::audience::Audience;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::notification::{Kind, Notification};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{
    Asked, Missed, Opened, PageQuery, Placed, Retention, RetrySchedule, Start, StartQuery, Store,
    StoreError, Verdicts, Viewer,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Somewhere to keep a store, which can be opened again and again.
trait Place {
    fn open(&self) -> Opened;
}

/// A file in a directory of its own.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("data").join("campanile.db")
    }

    fn open_with(&self, options: SqliteOptions) -> Opened {
        SqliteStore::open(&self.file(), options).expect("the store opens")
    }
}

impl Place for Directory {
    fn open(&self) -> Opened {
        self.open_with(SqliteOptions::default())
    }
}

/// Runs each test of the suite on each store.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::store::Directory::new()).await;
            })+
        }
    };
}
use on_every_store;

/// A notification that was accepted just now.
fn notification(audience: Audience) -> Notification {
    Notification {
        id: Uuid::now_v7(),
        kind: Kind::Notification,
        audience,
        publisher: "key:tests".into(),
        created_at: Timestamp::now(),
        deliver_at: None,
        expires_at: None,
        body: r#"{"message":"hello"}"#.into(),
        once: None,
        throttle: None,
        reference: None,
        webhook: None,
    }
}

fn broadcast() -> Notification {
    Notification {
        kind: Kind::Broadcast,
        ..notification(Audience::everyone())
    }
}

fn to_user(user: &str) -> Notification {
    notification(to(&[user], &[]))
}

fn to(users: &[&str], roles: &[&str]) -> Audience {
    let owned = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    Audience::named(owned(users), owned(roles)).expect("somebody is named")
}

/// Stores these in one call, which takes them all, and returns the last position.
async fn stored(store: &dyn Store, notifications: Vec<Notification>) -> Position {
    let answers = store.append(notifications).await.expect("they are stored");
    let placed: Result<Vec<Placed>, _> = answers.into_iter().collect();
    let placed = placed.expect("none is refused");
    placed
        .last()
        .and_then(|placed| placed.position)
        .expect("a place")
}

/// Claims up to `limit` recipients that are due, and asks after them.
async fn ask(store: &dyn Store, now: Timestamp, schedule: RetrySchedule, limit: usize) -> Asked {
    let claims = store.claim(now, limit).await.expect("claimed");
    store.settle(now, claims, schedule).await.expect("settled")
}

/// Records verdicts and waits until they are durable.
async fn decided(store: &dyn Store, verdicts: Verdicts) {
    store.record(verdicts);
    store.flush().await.expect("the verdicts are written");
}

async fn settled(store: &dyn Store, position: u64) {
    let verdicts = Verdicts {
        settled: Position(position),
        ..Verdicts::default()
    };
    decided(store, verdicts).await;
}

fn viewer(user: &str, roles: &[&str]) -> Viewer {
    Viewer {
        user: user.into(),
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
    }
}

/// All that a viewer may see, as one page.
fn everything(viewer: Viewer, upto: u64) -> PageQuery {
    PageQuery {
        viewer,
        after: Position::START,
        upto: Position(upto),
        limit: 1_000,
        max_bytes: usize::MAX,
        now: Timestamp::now(),
    }
}

/// A stream that begins alone.
trait StartOne {
    async fn start_one(&self, query: StartQuery) -> Result<Start, StoreError>;
}

impl<S: Store + ?Sized> StartOne for S {
    async fn start_one(&self, query: StartQuery) -> Result<Start, StoreError> {
        let mut starts = self.start(vec![query]).await;
        assert_eq!(starts.len(), 1, "as many answers as queries");
        starts.remove(0)
    }
}

/// A stream that begins with this cursor when the log stands at `head`.
fn begin(viewer: Viewer, cursor: Option<u64>, head: u64) -> StartQuery {
    StartQuery {
        viewer,
        cursor: cursor.map(Position),
        head: Position(head),
        replay_limit: 1_000,
        now: Timestamp::now(),
    }
}

async fn seen(store: &dyn Store, query: PageQuery) -> Vec<u64> {
    let page = store.page(query).await.expect("a page");
    page.entries.iter().map(|e| e.entry.position.0).collect()
}

/// Keeps everything for as long.
fn keeping(kept: Duration) -> Retention {
    Retention {
        notifications: kept,
        broadcasts: kept,
        idempotency: kept,
        audit: kept,
        webhooks: kept,
    }
}

/// The bytes of a store with something in it, closed.
async fn closed_store() -> Vec<u8> {
    let place = Directory::new();
    let store = place.open().store;
    for _ in 0..20 {
        stored(&*store, (0..20).map(|_| to_user("42")).collect()).await;
    }
    store.close().await;
    bytes(&place.file())
}

/// A file's bytes, to see that nobody touched them.
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file is read")
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// What is awaited must come; a minute is for ever.
async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(A_MINUTE, awaited)
        .await
        .expect("it comes within a minute")
}
