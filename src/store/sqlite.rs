//! The store on SQLite: one file, nothing to install.
//!
//! One thread writes (group commit), a few read (snapshots), and this is the face they have in common, which only
//! passes work on and waits. What SQLite needs to be held to its promises (savepoints, what an
//! error has rolled back, when a log is cut back) is known here and nowhere else.
//!
//! | file | holds |
//! | --- | --- |
//! | `schema.rs`, `schema/` | the tables, as the steps that led to them |
//! | `open.rs` | opening, creating, refusing |
//! | `upgrade.rs` | an older file is brought up to date |
//! | `copy.rs`, `restore.rs`, `unfinished.rs` | copies, made and put back; files that are whole before they are seen |
//! | `writer.rs` | the thread that writes, and its commits |
//! | `accepting.rs` | a notification inside a commit: stored, answered with an earlier one, or refused |
//! | `idempotency.rs`, `throttles.rs`, `references.rs` | what makes it one of the latter two |
//! | `reminders.rs` | what is overdue, and the sweep that publishes it |
//! | `scheduled.rs` | what is held back, its release, and what is cancelled |
//! | `mailbox.rs` | verdicts on their way to the next commit |
//! | `reader.rs` | the threads that read |
//! | `entries.rs`, `deliveries.rs`, `keys.rs` | rows of the log, of what became of it, of API keys |
//! | `claims.rs` | who asks after what is owed, and until when |
//! | `endpoints.rs`, `outbox.rs`, `sending.rs` | where webhooks go, what waits to be sent there, and how it is; `webhooks.rs` is their face |
//! | `delivery_log.rs` | what became of each recipient, for whoever asks |
//! | `waiting.rs` | what is owed, and claims that are taken back by hand |
//! | `diagnosis.rs`, `invariants.rs` | what the store says about itself |
//! | `beginning.rs` | where streams begin, and what is written before they do |
//! | `pages.rs` | the log as one viewer sees it |
//! | `prune.rs` | what is older than it is kept, and how it goes |
//! | `inbox.rs` | what is in whose inbox, as it is listed |
//! | `reading.rs` | what users have read, and how much they have not |
//! | `failure.rs` | what errors mean, and who is told |
//! | `threads.rs` | how work gets to a thread, and how it ends |

mod accepting;
mod beginning;
mod claims;
mod copy;
mod deliveries;
mod delivery_log;
mod diagnosis;
mod endpoints;
mod entries;
mod failure;
mod idempotency;
mod inbox;
mod invariants;
mod keys;
mod mailbox;
mod open;
mod outbox;
mod pages;
mod prune;
mod reader;
mod reading;
mod references;
mod reminders;
mod restore;
mod revocations;
mod scheduled;
mod schema;
mod sending;
mod threads;
mod throttles;
mod unfinished;
mod upgrade;
mod waiting;
mod webhooks;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

pub use self::copy::{Copied, CopyError, back_up};
use self::deliveries::InDoubt;
use self::failure::{Failure, Health, closed};
use self::mailbox::Mailbox;
use self::reader::Readers;
pub use self::restore::{Restore, Restored, restore};
use self::threads::{Feed, spawn};
use self::writer::{Append, Errand, Job, Release, Writer};
use super::{
    Aged, Agenda, Appended, Asked, Cancel, Cancelled, Claim, Commits, Conflict, Counts, Duplicate,
    DuplicateQuery, HANDOVER_COMMITS, OpenStoreError, Opened, Page, PageQuery, Pruned, Reclaimed,
    Released, Retention, RetrySchedule, RevokedUsers, Start, StartQuery, Store, StoreError,
    Verdicts,
};
use crate::auth::StoredKey;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryPage, DeliveryQuery, Lookup, LookupQuery};
use crate::diagnosis::{DiagnosisQuery, Facts};
use crate::log::Position;
use crate::notification::{Entry, Notification};
use crate::reference::Zone;
use crate::waiting::{Unlock, Unlocked, Waiting, WaitingQuery};

/// How many writes other than appends wait for the writer. Whoever comes then waits outside.
const MAX_ERRANDS: usize = 256;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The most notifications in one commit; a batch that passes it still goes in whole.
    pub max_batch: usize,
    /// The most notifications that wait for the writer; what comes then is answered [`StoreError::Full`].
    pub max_waiting: usize,
    /// How long after nobody took it a recipient is first asked again.
    pub first_ask: Duration,
    /// Draws a new epoch: the file was put back from a copy, and positions may mean other entries than before.
    pub new_epoch: bool,
    /// The time zone in which the months of references begin.
    pub zone: Zone,
    /// It is opened to be served, so a file that is marked as a copy (see [`back_up`]) gets its new epoch. Without this it
    /// stays marked.
    pub to_serve: bool,
    /// Threads that read, at least one.
    pub readers: usize,
    /// Opens the file although another process may serve it, so that tests can show what holds without the lock.
    #[doc(hidden)]
    pub shared: bool,
    /// The most pages (of 4 KiB) that the file may have: beyond, it is as if the disk were full. None: what SQLite
    /// allows, some 17 TB.
    pub max_pages: Option<u32>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            max_batch: 1_024,
            max_waiting: 4_096,
            first_ask: Duration::from_secs(1),
            new_epoch: false,
            zone: Zone::default(),
            to_serve: true,
            readers: 2,
            shared: false,
            max_pages: None,
        }
    }
}

/// A store in an SQLite file. Dropped without [`Store::close`], its threads still finish what was accepted, and then
/// let go of the file.
pub struct SqliteStore {
    jobs: Feed<Job>,
    mailbox: Arc<Mailbox>,
    readers: Readers,
    health: Arc<Health>,
    commits: Arc<Commits>,
    agenda: Arc<Agenda>,
    /// Told when a commit put something into the outbox.
    filled: Arc<Notify>,
    max_waiting: usize,
    /// This run, as owner of what it claims.
    run: Arc<str>,
    /// Nobody else may serve the file.
    exclusive: bool,
    waiting: Arc<Semaphore>,
    errands: Arc<Semaphore>,
    /// One deep look at a time.
    deep: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    ended: tokio::sync::Mutex<()>,
}

impl SqliteStore {
    /// Opens the store in this file, making it and its directory if they are not there. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenStoreError`]; then nothing was overwritten.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Opened, OpenStoreError> {
        let database = open::open(path, &options)?;
        let health = Arc::new(Health::new());
        let cannot_start = |error: std::io::Error| OpenStoreError::Io {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let (readers, reading) =
            Readers::start(database.readers, health.clone()).map_err(cannot_start)?;
        // Room for each notification that may wait, each errand, and a wake-up: sending never meets a full channel.
        let max_waiting = options.max_waiting.clamp(1, Semaphore::MAX_PERMITS / 2);
        let (jobs, work) = Feed::new(max_waiting + MAX_ERRANDS + 1);
        let (handover, committed) = mpsc::channel(HANDOVER_COMMITS);
        let mailbox = Arc::new(Mailbox::new());
        let commits = Arc::<Commits>::default();
        let agenda = Arc::<Agenda>::default();
        let filled = Arc::new(Notify::new());
        let writer = Writer {
            connection: database.writer,
            jobs: work,
            mailbox: mailbox.clone(),
            committed: handover,
            health: health.clone(),
            zone: options.zone,
            commits: commits.clone(),
            agenda: agenda.clone(),
            filled: filled.clone(),
            in_doubt: InDoubt {
                after: database.log.settled,
                upto: database.log.head,
            },
            max_batch: options.max_batch,
            first_ask: options.first_ask,
            wal: database.wal,
            readers: reading,
        };
        let lock = database.lock;
        let thread = spawn("campanile-writer", health.clone(), move || {
            writer.run();
            drop(lock);
        })
        .map_err(cannot_start)?;
        let store = Self {
            jobs,
            mailbox,
            readers,
            health,
            commits,
            agenda,
            filled,
            max_waiting,
            run: Uuid::new_v4().to_string().into(),
            exclusive: !options.shared,
            waiting: Arc::new(Semaphore::new(max_waiting)),
            errands: Arc::new(Semaphore::new(MAX_ERRANDS)),
            deep: Arc::new(Semaphore::new(1)),
            writer: Mutex::new(Some(thread)),
            ended: tokio::sync::Mutex::new(()),
        };
        Ok(Opened {
            store: Arc::new(store),
            committed,
            log: database.log,
        })
    }

    /// Reads what a file says about itself while nobody serves it: it is neither brought up to date nor checked before,
    /// so that what keeps it from being opened can be seen. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenStoreError`]: somebody serves it, or it is not such a store, or it cannot be read.
    pub fn look(path: &Path, query: &DiagnosisQuery) -> Result<Facts, OpenStoreError> {
        open::look(path, |connection| diagnosis::diagnose(connection, query))
    }

    /// Hands notifications to the writer; what is returned is where its answer will come.
    fn enqueue(
        &self,
        notifications: Vec<Notification>,
    ) -> Result<oneshot::Receiver<Result<Vec<Appended>, StoreError>>, StoreError> {
        // A batch larger than all the room there is takes all of it, rather than be refused for ever.
        let share = notifications.len().clamp(1, self.max_waiting);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let room = self.waiting.clone().try_acquire_many_owned(share);
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Append(Append {
            notifications,
            answer,
            room: room.map_err(|_| StoreError::Full)?,
        }))?;
        Ok(answered)
    }

    /// Hands the writer a job of its own kind, and waits for its answer.
    async fn hand_in<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>, OwnedSemaphorePermit) -> Job,
    ) -> Result<T, StoreError> {
        let room = self.errands.clone().acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer, room.map_err(|_| closed())?))?;
        answered.await.map_err(|_| closed())?
    }

    /// Has the writer do something inside its next transaction.
    async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let room = self.errands.clone().acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Errand(Box::new(Write {
            work: Some(work),
            outcome: Err(closed()),
            answer,
            _room: room.map_err(|_| closed())?,
        })))?;
        answered.await.map_err(|_| closed())?
    }
}

/// An errand made of a closure.
struct Write<W, T> {
    work: Option<W>,
    outcome: Result<T, StoreError>,
    answer: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<W, T> Errand for Write<W, T>
where
    W: FnOnce(&Connection) -> Result<T, Failure> + Send,
    T: Send,
{
    fn perform(&mut self, connection: &Connection) -> Result<(), Failure> {
        if let Some(work) = self.work.take() {
            self.outcome = Ok(work(connection)?);
        }
        Ok(())
    }

    fn refuse(&mut self, conflict: Conflict) {
        self.outcome = Err(StoreError::Unavailable(conflict.to_string()));
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // Whoever asked may be gone; the work is done all the same.
        let _ = self.answer.send(committed.and(self.outcome));
    }
}

impl Store for SqliteStore {
    fn append(
        &self,
        notifications: Vec<Notification>,
    ) -> BoxFuture<'_, Result<Vec<Appended>, StoreError>> {
        // Handed in now and not when the future is first polled: calls are stored in the order in which they are made.
        match self.enqueue(notifications) {
            Ok(answered) => async move { answered.await.map_err(|_| closed())? }.boxed(),
            Err(error) => async move { Err(error) }.boxed(),
        }
    }

    fn release(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Released, StoreError>> {
        let release = move |answer, room| {
            Job::Release(Release {
                now,
                limit,
                answer,
                _room: room,
            })
        };
        self.hand_in(release).boxed()
    }

    fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    fn cancel(&self, cancel: Cancel) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        self.write(move |c| scheduled::cancel(c, &cancel)).boxed()
    }

    fn record(&self, verdicts: Verdicts) {
        if self.mailbox.record(verdicts) {
            // A full channel wakes the writer as well; a closed one is emptied of verdicts before it ends.
            let _ = self.jobs.send(Job::Wake);
        }
    }

    fn commits(&self) -> &Commits {
        &self.commits
    }

    fn unwritten(&self) -> usize {
        self.mailbox.len()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            if self.mailbox.waiting() {
                // Every transaction begins with the mailbox, so one with nothing else to do will do.
                self.write(|_| Ok(())).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn start(&self, queries: Vec<StartQuery>) -> BoxFuture<'_, Vec<Result<Start, StoreError>>> {
        beginning::start(self, queries.into()).boxed()
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.readers.ask(move |c| pages::page(c, &query)).boxed()
    }

    fn owed(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.readers.ask(move |c| pages::owed(c, &query)).boxed()
    }

    fn entries(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.readers
            .ask(move |c| pages::entries(c, after, limit))
            .boxed()
    }

    fn claim(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>> {
        let owner = self.run.clone();
        self.write(move |c| claims::claim(c, &owner, now, limit))
            .boxed()
    }

    fn settle(
        &self,
        now: Timestamp,
        claims: Vec<Claim>,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Asked, StoreError>> {
        let owner = self.run.clone();
        self.write(move |c| claims::settle(c, &owner, now, &claims, &schedule))
            .boxed()
    }

    fn reclaim(
        &self,
        now: Timestamp,
        lease: Duration,
        schedule: RetrySchedule,
    ) -> BoxFuture<'_, Result<Reclaimed, StoreError>> {
        let (owner, exclusive) = (self.run.clone(), self.exclusive);
        self.write(move |c| claims::reclaim(c, &owner, exclusive, now, lease, &schedule))
            .boxed()
    }

    fn waiting(&self, query: WaitingQuery) -> BoxFuture<'_, Result<Waiting, StoreError>> {
        self.readers
            .ask(move |c| waiting::waiting(c, &query))
            .boxed()
    }

    fn unlock(&self, unlock: Unlock) -> BoxFuture<'_, Result<Unlocked, StoreError>> {
        let (owner, exclusive) = (self.run.clone(), self.exclusive);
        async move {
            if unlock.execute {
                self.write(move |c| waiting::unlock(c, &owner, exclusive, &unlock))
                    .await
            } else {
                self.readers
                    .ask(move |c| waiting::stale(c, &owner, exclusive, &unlock))
                    .await
            }
        }
        .boxed()
    }

    fn diagnose(&self, query: DiagnosisQuery) -> BoxFuture<'_, Result<Facts, StoreError>> {
        async move {
            // A deep look takes long, and one of the readers with it; two at once would leave none.
            let alone = match query.deep {
                None => None,
                Some(_) => {
                    let turn = self.deep.clone().acquire_owned().await;
                    Some(turn.map_err(|_| closed())?)
                }
            };
            self.readers
                .ask(move |c| {
                    let facts = diagnosis::diagnose(c, &query);
                    drop(alone);
                    facts
                })
                .await
        }
        .boxed()
    }

    fn prune(
        &self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pruned, StoreError>> {
        self.write(move |c| prune::prune(c, now, retention, limit))
            .boxed()
    }

    fn aged(
        &self,
        now: Timestamp,
        retention: Retention,
    ) -> BoxFuture<'_, Result<Aged, StoreError>> {
        self.readers
            .ask(move |c| prune::aged(c, now, retention))
            .boxed()
    }

    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.readers.ask(pages::counts).boxed()
    }

    fn duplicates(
        &self,
        query: DuplicateQuery,
    ) -> BoxFuture<'_, Result<Vec<Duplicate>, StoreError>> {
        self.readers
            .ask(move |c| idempotency::duplicates(c, &query))
            .boxed()
    }

    fn lookup(&self, query: LookupQuery) -> BoxFuture<'_, Result<Lookup, StoreError>> {
        self.readers
            .ask(move |c| delivery_log::lookup(c, &query))
            .boxed()
    }

    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'_, Result<DeliveryPage, StoreError>> {
        self.readers
            .ask(move |c| delivery_log::search(c, &query))
            .boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            // Both kinds of thread answer. A transaction without changes costs no fsync.
            self.readers.ask(|_| Ok(())).await?;
            self.write(|_| Ok(())).await
        }
        .boxed()
    }

    fn insert_key(&self, key: StoredKey) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let name = key.name.clone();
            if self.write(move |c| keys::insert(c, &key)).await? {
                Ok(())
            } else {
                Err(StoreError::Conflict(name.to_string()))
            }
        }
        .boxed()
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        self.readers.ask(keys::all).boxed()
    }

    fn revoke_key(&self, name: String, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |c| keys::revoke(c, &name, now)).boxed()
    }

    fn revoke_user(&self, user: Arc<str>, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |c| revocations::insert(c, &user, at))
            .boxed()
    }

    fn revoked_users(&self) -> BoxFuture<'_, Result<RevokedUsers, StoreError>> {
        self.readers.ask(revocations::all).boxed()
    }

    fn damaged(&self) -> BoxFuture<'_, String> {
        self.health.until_damaged().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.readers.close();
            self.jobs.close();
            // Whoever closes second waits for the first.
            let _ended = self.ended.lock().await;
            let writer = self
                .writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(writer) = writer {
                // A writer that panicked has raised its alarm itself.
                let _ = tokio::task::spawn_blocking(|| writer.join()).await;
            }
        }
        .boxed()
    }
}
