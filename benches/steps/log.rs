//! The log's two steps: `append`, and the page that a stream reads which comes back.
//!
//! Both go to a thread of the store's and come back from it, as they do for the hub, so two wake-ups are in them. Appended is
//! to a real file beside cargo's other output (a temporary directory may be in memory, where syncing costs nothing), for
//! 1,000 users in turn. What the streams did with it would be written in the same transactions, and is not here. The log
//! grows by what is appended, at its end; nothing of an append looks at what is in it but the index in which its recipient
//! is put.
//!
//! The 100,000 entries are filled in and settled before anything is timed. Three of 50 are for the viewer: by name, for a
//! role, for everyone. Each page begins where the one before ended.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::Draft;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::notification::{Entry, Kind, Notification};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Appended, Opened, PageQuery, Store, StoreError, Verdicts, Viewer};
use criterion::{Criterion, SamplingMode, Throughput};
use futures::executor::block_on;
use futures::future::join_all;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::stored;

const AT_ONCE: usize = 64;
const LOG: usize = 100_000;
const FILLED_AT_ONCE: usize = 1_000;
/// As `stream.replay_page` has it.
const PAGE: usize = 256;
/// As the hub asks for them.
const PAGE_BYTES: usize = 64 * 1024;

/// A store in a directory of its own.
struct Disk {
    store: Arc<dyn Store>,
    /// What the store hands over, for nobody but whoever asks.
    committed: mpsc::Receiver<Vec<Entry>>,
    _directory: TempDir,
}

/// A directory that is on a disk, if cargo's target directory is.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made")
}

/// Opens a store there.
pub(crate) fn open(directory: &Path) -> Opened {
    let file = directory.join("campanile.db");
    SqliteStore::open(&file, SqliteOptions::default()).expect("a store can be made")
}

impl Disk {
    fn new() -> Self {
        let directory = directory();
        let Opened {
            store, committed, ..
        } = open(directory.path());
        Self {
            store,
            committed,
            _directory: directory,
        }
    }

    /// Takes what was handed over, as the queue would.
    fn take(&mut self) {
        while self.committed.try_recv().is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let runtime = Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(self.store.close());
    }
}

pub(crate) fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.sampling_mode(SamplingMode::Flat);
    for (name, at_once) in [("one at a time", 1), ("64 at once", AT_ONCE)] {
        let (mut disk, mut number) = (None, 0);
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(name, |bencher| {
            let disk = disk.get_or_insert_with(Disk::new);
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let some: Vec<_> = (number..number + at_once).map(for_user).collect();
                    number += at_once;
                    let begun = Instant::now();
                    let all = some.into_iter().map(|one| disk.store.append(vec![one]));
                    let answers = block_on(join_all(all));
                    took += begun.elapsed();
                    answers.iter().for_each(check);
                    disk.take();
                }
                took
            });
        });
    }
    group.finish();
}

/// Each was stored, and is no answer from before.
fn check(answer: &Result<Vec<Appended>, StoreError>) {
    let answers = answer.as_ref().expect("the store takes it");
    let placed = answers.iter().flatten().filter(|placed| !placed.duplicate);
    assert_eq!(placed.count(), answers.len(), "{answers:?}");
}

fn for_user(number: usize) -> Notification {
    let draft = Draft {
        target_user_id: Some(format!("user-{}", number % 1_000)),
        message: format!("Order #{number} was placed"),
        module: Some("orders".into()),
        ..Draft::default()
    };
    stored(draft, Kind::Notification).expect("the draft is valid")
}

pub(crate) fn page(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    let mut filled = None;
    group.throughput(Throughput::Elements(PAGE as u64));
    group.bench_function("page", |bencher| {
        let (disk, pages) = filled.get_or_insert_with(|| {
            let disk = filled_up();
            let pages = full_pages(&*disk.store);
            (disk, pages)
        });
        let mut after = pages.iter().cycle();
        bencher.iter(|| {
            let after = *after.next().expect("there are pages");
            let page = block_on(disk.store.page(query(after))).expect("the store reads");
            assert_eq!(page.entries.len(), PAGE);
            page
        });
    });
    group.finish();
}

/// The log of [`LOG`] entries, settled.
fn filled_up() -> Disk {
    let mut disk = Disk::new();
    for from in (0..LOG).step_by(FILLED_AT_ONCE) {
        let some = (from..from + FILLED_AT_ONCE).map(mixed).collect();
        check(&block_on(disk.store.append(some)));
        disk.take();
    }
    disk.store.record(Verdicts {
        settled: Position(LOG as u64),
        ..Verdicts::default()
    });
    block_on(disk.store.flush()).expect("the store writes");
    disk
}

fn mixed(number: usize) -> Notification {
    let mut draft = Draft {
        message: format!("Order #{number} was placed"),
        module: Some("orders".into()),
        ..Draft::default()
    };
    match number % 50 {
        0 => draft.target_user_id = Some("ann".into()),
        1 => draft.target_roles = vec!["sales".into()],
        2 => draft.everyone = true,
        other => draft.target_user_id = Some(format!("user-{}", other * number % 1_000)),
    }
    stored(draft, Kind::Notification).expect("the draft is valid")
}

fn query(after: Position) -> PageQuery {
    PageQuery {
        viewer: Viewer {
            user: "ann".into(),
            roles: [Arc::from("sales")].into(),
        },
        after,
        upto: Position(LOG as u64),
        limit: PAGE,
        max_bytes: PAGE_BYTES,
        now: Timestamp::now(),
    }
}

/// After which places there is a page that is full.
fn full_pages(store: &dyn Store) -> Vec<Position> {
    let (mut pages, mut after) = (Vec::new(), Position::START);
    loop {
        let page = block_on(store.page(query(after))).expect("the store reads");
        if page.entries.len() < PAGE {
            return pages;
        }
        pages.push(after);
        after = page.covers;
    }
}
