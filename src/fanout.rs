//! The thread that owns every open stream, and the handle by which the rest of the hub reaches it.
//!
//! One thread, one poll, no lock and no task per stream: what many sockets cost is the kernel's share, one `send` for
//! each wake of each stream. Being alone, the thread also decides what "before" means: a stream is admitted between two
//! batches, so each entry either is below its place (and it reads it from the log) or is offered to it. Equal
//! selections share one buffer, so a thousand streams of a broadcast cost one encoding.
//!
//! Everything reaches the thread through its inbox. The inbox needs no bound of its own because what goes in is bounded
//! where it comes from: a stream has at most one admission, one attachment, one page or count and one wake-up on its
//! way, and the queue holds a permit for each batch (`MAX_BATCHES`), as a read mark does for its word to the streams
//! (`MAX_CHANGES`).
//!
//! The thread never waits for anything but the poll: pages of the log are read by [`crate::replay`], verdicts go to the
//! store's mailbox ([`crate::store::Store::record`]).

mod batch;
mod ephemeral;
mod recent;
mod table;
mod wheel;

pub(crate) use batch::recipients_of;
pub(crate) use ephemeral::Passing;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::audience::Audience;
use crate::clock::Timestamp;
use crate::events;
use crate::inbox::Unread;
use crate::log::{Epoch, Position};
use crate::metrics::Counter;
use crate::notification::{Entry, Kind};
use crate::registry::{Registration, Slot};
use crate::replay::Request;
use crate::sink::{Pipe, Receipts, Sink, Wire};
use crate::sse::{Bye, Frame, Framing, Naming};
use crate::store::{Store, StoreError};
use crate::stream::{End, Opening, ServedPage};

/// How many batches may be on their way to the thread: more would only wait in memory.
const MAX_BATCHES: usize = 16;

/// How many users' changed inboxes may be on their way to the thread; whoever marks one more waits.
const MAX_CHANGES: usize = 64;

/// The thread's handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fanout {
    inbox: Arc<Inbox>,
    permits: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// The numbers by which streams are kept; see `stream` in the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) heartbeat: Duration,
    pub(crate) idle_limit: Duration,
    pub(crate) sweep: Duration,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    /// How many bytes of the latest entries are kept for streams that come back.
    pub(crate) recent_bytes: usize,
}

/// What the thread works with.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) epoch: Epoch,
    pub(crate) registry: Arc<crate::registry::Registry>,
    pub(crate) store: Arc<dyn Store>,
    /// Where streams' requests for pages of the log go; holds one for every stream there can be.
    pub(crate) pages: mpsc::Sender<Request>,
    /// Told when somebody did not take a notification at the first try.
    pub(crate) owing: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    /// Cancelled when the hub stops.
    pub(crate) stop: CancellationToken,
    /// Cancelled by the thread if it ends without having been told to.
    pub(crate) failed: CancellationToken,
    /// How far the log is settled at the start.
    pub(crate) fanned: Position,
}

/// What the thread has done, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The position up to which the fan-out has come.
    pub(crate) fanned: AtomicU64,
    /// Frames of notifications that were written whole, or selected live.
    pub(crate) delivered: AtomicU64,
    /// Streams that were not live at their last heartbeat.
    pub(crate) behind: AtomicU64,
    /// Streams that were admitted.
    pub(crate) opened: Counter,
    /// Streams that have ended, by [`End::index`].
    pub(crate) ended: [Counter; End::ALL.len()],
}

impl Counters {
    /// How many streams have ended like this.
    pub(crate) fn ended(&self, end: End) -> u64 {
        self.ended[end.index()].get()
    }
}

/// An entry ready to be sent: encoded once, shared by every stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) position: Position,
    pub(crate) kind: Kind,
    pub(crate) audience: Audience,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) frame: Frame,
}

impl Outgoing {
    pub(crate) fn new(entry: &Entry, epoch: &Epoch) -> Self {
        let id = epoch.event_id(entry.position).to_string();
        Self {
            position: entry.position,
            kind: entry.kind,
            audience: entry.audience.clone(),
            created_at: entry.created_at,
            expires_at: entry.expires_at,
            frame: Frame::notification(Some(id), entry),
        }
    }

    /// Whether it is sent to nobody any more.
    fn lapsed(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|moment| moment <= now)
    }

    /// What it takes in memory, about: its recipients' names are shared with nobody.
    fn size(&self) -> usize {
        const RECIPIENT: usize = 64;
        size_of::<Self>() + self.frame.size() + RECIPIENT * self.audience.recipients().len()
    }
}

/// A stream's address in the thread: its slot, and which of the slot's streams it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) slot: Slot,
    pub(crate) serial: u32,
}

/// An admitted stream: from this place on, everything for it is either offered to it or noted as missed.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) address: Address,
    /// How far the fan-out had come.
    pub(crate) fanned: Position,
    abandon: Option<Arc<Inbox>>,
}

/// A stream that is written into a pipe, for whoever reads that and knows what becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Piped {
    stream: Option<(Arc<Inbox>, Address)>,
    receipts: Arc<Receipts>,
}

/// Since when entries are kept, by their kind: what was made before may be pruned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptSince {
    pub(crate) notifications: Timestamp,
    pub(crate) broadcasts: Timestamp,
}

impl KeptSince {
    fn of(self, kind: Kind) -> Timestamp {
        match kind {
            Kind::Notification => self.notifications,
            Kind::Broadcast => self.broadcasts,
        }
    }
}

/// A stream that is to be admitted.
pub(crate) struct Admit {
    pub(crate) registration: Registration,
    pub(crate) naming: Naming,
    /// When it ends at the latest, and what it is told then.
    pub(crate) ends: (Timestamp, Bye),
}

pub(crate) enum Command {
    Admit {
        streams: Vec<Admit>,
        answer: oneshot::Sender<Vec<Admission>>,
    },
    Attach {
        address: Address,
        sink: Sink,
        framing: Framing,
        opening: Opening,
    },
    /// Its client is gone before it began, or takes nothing any more.
    Abandon(Address, End),
    Awake(Address, Arc<AtomicBool>),
    Served(Address, Result<ServedPage, StoreError>),
    Counted(Address, Result<Unread, StoreError>),
    /// Something in a user's inbox is read that was not.
    InboxChanged {
        user: Arc<str>,
        permit: OwnedSemaphorePermit,
    },
    Deliver {
        entries: Vec<Arc<Outgoing>>,
        permit: OwnedSemaphorePermit,
    },
    /// Something that is not kept, for the streams that are live.
    Pass {
        passing: Box<Passing>,
        permit: OwnedSemaphorePermit,
    },
    /// Ends those of a user's streams whose client has not been heard of for so long; answers how many.
    Reap {
        user: Arc<str>,
        silence: Duration,
        answer: oneshot::Sender<usize>,
    },
    /// Ends all streams of a user whose credentials were taken back; answers how many.
    Revoke {
        user: Arc<str>,
        answer: oneshot::Sender<usize>,
    },
    /// The entry at this position was withdrawn: whoever has not got it is not sent it. Answers when that is so.
    Withdraw(Position, oneshot::Sender<()>),
    /// What is older was pruned. Answers when it is forgotten.
    Forget(KeptSince, oneshot::Sender<()>),
    /// Says bye to every stream; answers when none is left.
    Drain(oneshot::Sender<()>),
    Stop,
}

/// Where commands wait for the thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    commands: Mutex<Waiting>,
    waker: mio::Waker,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: Vec<Command>,
    /// The thread has ended: nothing will be taken out any more.
    closed: bool,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Inbox {
    pub(crate) fn put(&self, command: Command) {
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            // Whoever waits for its answer learns from this that there will be none.
            return drop(command);
        }
        let was_empty = waiting.commands.is_empty();
        waiting.commands.push(command);
        drop(waiting);
        // Whoever finds it filled relies on the one before, whose wake-up is still to be answered.
        if was_empty && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the stream thread cannot be woken");
        }
    }

    fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.lock().commands)
    }

    /// Takes nothing more in, and drops what is left, outside the lock: some of it puts something in when dropped.
    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.commands);
        drop(waiting);
        drop(left);
    }

    /// Nobody panics while holding it: there is nothing in there but a push and a take.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fanout {
    /// Starts the thread. `replay` is handed the inbox, to answer requests for pages.
    pub(crate) fn start(parts: Parts) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let inbox = Arc::new(Inbox {
            commands: Mutex::default(),
            waker: mio::Waker::new(poll.registry(), table::WAKE)?,
        });
        let table = table::Table::new(poll, Arc::clone(&inbox), parts);
        let thread = std::thread::Builder::new()
            .name("campanile-streams".into())
            .spawn(move || table.run())?;
        Ok(Self {
            inbox,
            permits: Arc::new(Semaphore::new(MAX_BATCHES)),
            changes: Arc::new(Semaphore::new(MAX_CHANGES)),
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// The inbox, for those who answer the thread's requests.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Admits streams, all at one point in the order. None if the thread has stopped.
    pub(crate) async fn admit(&self, streams: Vec<Admit>) -> Option<Vec<Admission>> {
        let (answer, admissions) = oneshot::channel();
        self.inbox.put(Command::Admit { streams, answer });
        admissions.await.ok()
    }

    /// Hands entries over, in position order; waits while too many batches are on their way.
    pub(crate) async fn deliver(&self, entries: Vec<Arc<Outgoing>>) {
        if let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            self.inbox.put(Command::Deliver { entries, permit });
        }
    }

    /// Hands an ephemeral one over, behind the entries before it; waits like [`deliver`](Fanout::deliver).
    pub(crate) async fn pass(&self, passing: Passing) {
        if let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            let passing = Box::new(passing);
            self.inbox.put(Command::Pass { passing, permit });
        }
    }

    /// Has every stream of a user say how much is unread now; waits while too many such words are on their way.
    pub(crate) async fn inbox_changed(&self, user: Arc<str>) {
        if let Ok(permit) = Arc::clone(&self.changes).acquire_owned().await {
            self.inbox.put(Command::InboxChanged { user, permit });
        }
    }

    /// Waits until everything handed over before has been through the fan-out.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(MAX_BATCHES).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    /// Ends those of a user's streams whose client has not been heard of for `silence`; how many they were.
    pub(crate) async fn reap(&self, user: Arc<str>, silence: Duration) -> usize {
        let (answer, reaped) = oneshot::channel();
        self.inbox.put(Command::Reap {
            user,
            silence,
            answer,
        });
        reaped.await.unwrap_or(0)
    }

    /// Ends all streams of a user whose credentials were taken back; how many they were.
    pub(crate) async fn revoke(&self, user: Arc<str>) -> usize {
        let (answer, ended) = oneshot::channel();
        self.inbox.put(Command::Revoke { user, answer });
        ended.await.unwrap_or(0)
    }

    /// Has the streams sent no more of what was withdrawn; returns when none will be.
    pub(crate) async fn withdraw(&self, position: Position) {
        let (done, withdrawn) = oneshot::channel();
        self.inbox.put(Command::Withdraw(position, done));
        let _ = withdrawn.await;
    }

    /// Has the streams sent no more of what was pruned; returns when none will be.
    pub(crate) async fn forget(&self, kept_since: KeptSince) {
        let (done, forgotten) = oneshot::channel();
        self.inbox.put(Command::Forget(kept_since, done));
        let _ = forgotten.await;
    }

    /// Says bye to every stream and waits until all have gone.
    pub(crate) async fn drain(&self) {
        let (answer, drained) = oneshot::channel();
        self.inbox.put(Command::Drain(answer));
        let _ = drained.await;
    }

    /// Cuts what is left and joins the thread.
    pub(crate) async fn stop(&self) {
        self.inbox.put(Command::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(
                    event = events::STREAM_THREAD_ENDED,
                    "the stream thread ended by a panic"
                );
            }
        }
    }
}

impl Admission {
    /// Gives the stream its socket.
    pub(crate) fn attach_socket(
        mut self,
        socket: std::net::TcpStream,
        share: Option<OwnedSemaphorePermit>,
        framing: Framing,
        opening: Opening,
    ) {
        if let Some(inbox) = self.abandon.take() {
            inbox.put(Command::Attach {
                address: self.address,
                sink: Sink::Socket {
                    socket: mio::net::TcpStream::from_std(socket),
                    _share: share,
                },
                framing,
                opening,
            });
        }
    }

    /// Gives the stream the writing half of a pipe.
    pub(crate) fn attach_pipe(mut self, half: tokio::io::DuplexStream, opening: Opening) -> Piped {
        let address = self.address;
        let stream = self.abandon.take().map(|inbox| (inbox, address));
        let receipts = Arc::default();
        let piped = Piped { stream, receipts };
        let Some((inbox, _)) = piped.stream.clone() else {
            return piped;
        };
        let awake = Arc::new(AtomicBool::new(false));
        let on_progress = {
            let inbox = Arc::clone(&inbox);
            move || {
                // One wake-up on its way is enough, however often the other half moves.
                if !awake.swap(true, Ordering::AcqRel) {
                    inbox.put(Command::Awake(address, Arc::clone(&awake)));
                }
            }
        };
        inbox.put(Command::Attach {
            address,
            sink: Sink::Pipe(Box::new(Pipe::new(
                half,
                Arc::clone(&piped.receipts),
                on_progress,
            ))),
            framing: Framing::UntilClose,
            opening,
        });
        piped
    }
}

impl Piped {
    /// Has the stream know what its client acknowledges, since it goes by this connection.
    pub(crate) fn follow(self, wire: &Arc<Wire>) -> Self {
        self.receipts.follow(wire);
        self
    }

    /// What is told of each part that goes there.
    pub(crate) fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Its client has taken nothing for as long as one may.
    pub(crate) fn stalled(self) {
        if let Some((inbox, address)) = self.stream {
            inbox.put(Command::Abandon(address, End::Stalled));
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(inbox) = self.abandon.take() {
            inbox.put(Command::Abandon(self.address, End::Unopened));
        }
    }
}
