//! One entry to all of n streams: what the stream thread works for it, as Linux counts that thread's CPU time.
//!
//! Time by the clock would be that of three threads being woken, which differs by more than a hundred streams cost. What the
//! thread works is the round that takes an entry in, a selection, a write for each stream, what all that means for the store, and
//! falling asleep again: a few microseconds, more or less by how deep the core sleeps, and about all that there is with one
//! stream. What a stream adds is the difference to that, by their number.
//!
//! The bench stands between the store and the hub's queue. It appends broadcasts beforehand, and hands one over once the one
//! before has reached its last stream; so no two entries are written together, as they are when more is published than goes
//! out. Appending, the queue's task and the verdicts' way to the disk are other threads' work.
//!
//! Streams are bodies for somebody else's HTTP server ([`Subscription::into_body`]), so a write is a copy into a pipe in
//! memory. With sockets of their own, as the command gives them to streams, the kernel's `send` comes in its place, which
//! costs several times as much and is not the hub's. They are admitted in order, and the thread goes through them in that order:
//! the last one is waited for. Nobody is woken for the others: the bench's own thread empties them, and they have to have got as
//! many bytes as the last.
//!
//! [`Subscription::into_body`]: campanile::hub::Subscription::into_body

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fs, thread};

use axum::body::{Body, Bytes};
use campanile::auth::{Authenticator, Secret, User};
use campanile::clock::Timestamp;
use campanile::config::Config;
use campanile::hub::Subscribe;
use campanile::log::Epoch;
use campanile::notification::{Entry, Kind};
use campanile::store::{Opened, Store};
use campanile::{Draft, Hub};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use futures::{StreamExt, stream};
use http_body::Body as _;
use memchr::memmem;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::{log, stored};

const STREAMS: [usize; 4] = [1, 100, 1_000, 10_000];
/// How many entries are appended at a time.
const APPENDED: usize = 256;
/// A thread that has worked no longer after so long has nothing to do: ticks come every 100 ms.
const RESTED: Duration = Duration::from_millis(1);
/// How many streams are opened at a time.
const OPENING: usize = 64;

pub(crate) fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    group.sampling_mode(SamplingMode::Flat);
    // Of the thread's time: by the clock it is many times as much, since each entry waits for the one before.
    group.measurement_time(Duration::from_secs(1));
    for streams in STREAMS {
        let mut rig = None;
        group.throughput(Throughput::Elements(streams as u64));
        group.bench_function(BenchmarkId::from_parameter(streams), |bencher| {
            let rig = rig.get_or_insert_with(|| Rig::new(streams));
            bencher.iter_custom(|times| {
                let before = rig.thread.used();
                (0..times).for_each(|_| rig.fan_out());
                rig.thread.used() - before
            });
        });
        if let Some(rig) = rig {
            rig.close();
        }
    }
    group.finish();
}

/// The thread that owns the streams.
struct StreamThread {
    schedstat: PathBuf,
}

impl StreamThread {
    /// The one there is: each hub is closed before there is another.
    fn find() -> Self {
        let threads = fs::read_dir("/proc/self/task").expect("Linux lists threads");
        let mut threads = threads.map(|thread| thread.expect("a thread").path());
        let named = |thread: &PathBuf| {
            // Linux keeps 15 characters of `campanile-streams`.
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "campanile-strea\n")
        };
        let thread = threads.find(named).expect("the hub has its stream thread");
        Self {
            schedstat: thread.join("schedstat"),
        }
    }

    /// How long it has worked, once it rests.
    fn used(&self) -> Duration {
        let mut used = self.counted();
        loop {
            thread::sleep(RESTED);
            let now = self.counted();
            if now == used {
                return used;
            }
            used = now;
        }
    }

    fn counted(&self) -> Duration {
        let text = fs::read_to_string(&self.schedstat).expect("Linux counts a thread's time");
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanoseconds.expect("a number of nanoseconds"))
    }
}

/// A hub with its streams, and what is to be handed over to its queue.
struct Rig {
    runtime: Runtime,
    hub: Hub,
    thread: StreamThread,
    epoch: Epoch,
    store: Arc<dyn Store>,
    /// From the store.
    committed: mpsc::Receiver<Vec<Entry>>,
    /// To the queue.
    queue: mpsc::Sender<Vec<Entry>>,
    entries: VecDeque<Entry>,
    last: Body,
    /// What it has been sent since the event before.
    seen: Vec<u8>,
    others: Vec<Body>,
    _directory: TempDir,
}

impl Rig {
    fn new(streams: usize) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let directory = log::directory();
        let mut opened = log::open(directory.path());
        let (queue, handed_over) = mpsc::channel(1);
        let committed = std::mem::replace(&mut opened.committed, handed_over);
        let Opened { store, log, .. } = &opened;
        let (store, epoch) = (Arc::clone(store), log.epoch.clone());

        let mut config = Config::default();
        config.stream.max = streams;
        // The longest that there is: they do the same work for one stream as for all others.
        config.stream.heartbeat = Duration::from_mins(5);
        config.stream.sweep = Duration::from_hours(1);
        // Or the queue would find in the log what it has not been given yet.
        config.delivery.safety_look = Duration::from_mins(5);
        let secret = Secret::load_or_create(&directory.path().join("secret")).expect("a secret");
        let authenticator = Authenticator::new(secret, &config.auth);
        let (hub, others) = runtime.block_on(async {
            let hub = Hub::start(opened, &config, authenticator).await;
            let hub = hub.expect("the hub starts");
            let opening = (1..streams).map(|number| subscribe(&hub, number));
            let others = stream::iter(opening).buffer_unordered(OPENING).collect();
            let others: Vec<Body> = others.await;
            (hub, others)
        });
        let last = runtime.block_on(subscribe(&hub, 0));
        let mut rig = Self {
            runtime,
            hub,
            thread: StreamThread::find(),
            epoch,
            store,
            committed,
            queue,
            entries: VecDeque::new(),
            last,
            seen: Vec::new(),
            others,
            _directory: directory,
        };
        // The queue looks at the log once as it starts, and has done so when this one is through. With it the streams' first
        // words go.
        rig.append(1);
        rig.fan_out();
        rig
    }

    /// Hands the next entry over, waits until the last stream has it, and takes it out of the others.
    fn fan_out(&mut self) {
        if self.entries.is_empty() {
            self.append(APPENDED);
        }
        let entry = self.entries.pop_front().expect("one was appended");
        let id = format!("id: {}\n", self.epoch.event_id(entry.position));
        self.seen.clear();
        let event = self.runtime.block_on(async {
            let handed_over = self.queue.send(vec![entry]).await;
            handed_over.expect("the queue runs");
            loop {
                let piece = next(&mut self.last).await;
                self.seen.extend_from_slice(&piece);
                // It may come in pieces, and behind a heartbeat.
                if let Some(begin) = memmem::find(&self.seen, id.as_bytes())
                    && self.seen.ends_with(b"\n\n")
                {
                    return self.seen.len() - begin;
                }
            }
        });
        for body in &mut self.others {
            let got = empty(body);
            assert!(got >= event, "a stream got {got} bytes of {event}");
        }
    }

    fn append(&mut self, count: usize) {
        let draft = Draft {
            message: "The shop closes in ten minutes".into(),
            module: Some("shop".into()),
            ..Draft::default()
        };
        let some = (0..count).map(|_| stored(draft.clone(), Kind::Broadcast));
        let some = some.collect::<Result<_, _>>().expect("the draft is valid");
        let entries = self.runtime.block_on(async {
            self.store.append(some).await.expect("the store takes it");
            self.committed.recv().await
        });
        self.entries.extend(entries.expect("the store runs"));
    }

    fn close(self) {
        self.runtime.block_on(self.hub.close());
    }
}

async fn subscribe(hub: &Hub, number: usize) -> Body {
    let subscribe = Subscribe {
        user: User {
            id: format!("user-{number}").into(),
            roles: Arc::new([]),
            expires_at: Timestamp::MAX,
            issued_at: None,
        },
        cursor: None,
        address: None,
        unnamed: false,
    };
    let subscription = hub.subscribe(subscribe).await;
    subscription.expect("there is room").into_body()
}

/// What comes next.
async fn next(body: &mut Body) -> Bytes {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    let frame = frame.expect("the stream is open").expect("it goes on");
    frame.into_data().unwrap_or_default()
}

/// Takes all that is there; how much it was.
fn empty(body: &mut Body) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    while let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut context) {
        let frame = frame.expect("the stream is open").expect("it goes on");
        bytes += frame.into_data().map_or(0, |data| data.len());
    }
    bytes
}
