//! The one thread that writes: many callers' work, one commit.
//!
//! fsync is what a durable append costs, so it is shared. The writer takes whatever waits, up to a bound, lets the others come
//! along where many publish, and puts it all into one transaction: first the verdicts in the mailbox, then the notifications
//! in the order of their arrival, then whatever else is to be written. A constraint that one of them breaks undoes that one
//! alone: the transaction is begun again, with a savepoint for each. Any other error undoes them all, and every caller is
//! told so: a full disk may already have rolled the transaction back behind our back, and whatever came after would be
//! committed by itself.
//!
//! After the commit the entries are handed to the queue and only then are the callers answered, so that nothing that
//! a publisher knows to be stored has yet to be put in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::accepting::{Accepted, accept};
use super::deliveries::{self, InDoubt};
use super::entries::{self, Inserts};
use super::failure::{Failure, Health};
use super::idempotency::Keys;
use super::mailbox::{Batch, Mailbox};
use super::open::BUSY_TIMEOUT;
use super::{outbox, reminders, scheduled};
use crate::clock::Timestamp;
use crate::notification::{Entry, Notification};
use crate::reference::Zone;
use crate::store::{Agenda, Appended, Commits, Conflict, Refused, Released, StoreError, Swept};

/// From how many publishers on the next commit lets others come along, as PostgreSQL's `commit_siblings` has it. Fewer would save
/// little, and each would wait for whatever else wants the core.
const CROWD: usize = 5;

/// How long verdicts wait for an append to share its commit with. Without it a lone publisher's every notification
/// would cost two fsyncs, one for itself and one for what became of it.
const VERDICTS_WAIT: Duration = Duration::from_millis(10);
/// How long verdicts wait after a commit failed, when nothing else tries.
const VERDICTS_RETRY: Duration = Duration::from_secs(1);
/// The size from which the write-ahead log is cut back by force, in bytes. SQLite does so by itself only in a moment
/// without readers, which a busy hub need not have.
pub(super) const MAX_WAL_BYTES: i64 = 64 * 1024 * 1024;

/// How long cutting it back waits for those who read: ours are gone after a page, and who publishes waits as well. A backup
/// reads for longer; then it is cut back later.
const CUT_BACK_WAIT: Duration = Duration::from_millis(50);

/// Work for the writer.
pub(super) enum Job {
    /// Notifications to store.
    Append(Append),
    /// Notifications that are held back, and may be due.
    Release(Release),
    /// Reminders whose time may have come.
    Remind(Remind),
    /// Any other write.
    Errand(Box<dyn Errand>),
    /// Verdicts are in the mailbox.
    Wake,
}

/// Notifications of one caller, and where the answer goes.
pub(super) struct Append {
    pub(super) notifications: Vec<Notification>,
    pub(super) answer: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
    /// Their share of what may wait; returned when this is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

/// A release of what is due, and where the answer goes.
pub(super) struct Release {
    pub(super) now: Timestamp,
    pub(super) limit: usize,
    pub(super) answer: oneshot::Sender<Result<Released, StoreError>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// A step of a sweep over the reminders, and where the answer goes.
pub(super) struct Remind {
    pub(super) now: Timestamp,
    pub(super) limit: usize,
    pub(super) answer: oneshot::Sender<Result<Swept, StoreError>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// A write other than an append: done inside the transaction, answered after the commit.
pub(super) trait Errand: Send {
    /// Does the work.
    fn perform(&mut self, connection: &Connection) -> Result<(), Failure>;
    /// The work conflicts with what is stored, and was undone alone.
    fn refuse(&mut self, conflict: Conflict);
    /// The transaction has ended.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// What the writer works with.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) jobs: Receiver<Job>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) committed: mpsc::Sender<Vec<Entry>>,
    pub(super) health: Arc<Health>,
    /// Where the months of references begin.
    pub(super) zone: Zone,
    pub(super) commits: Arc<Commits>,
    pub(super) agenda: Arc<Agenda>,
    /// Told when a commit put something into the outbox.
    pub(super) filled: Arc<Notify>,
    pub(super) in_doubt: InDoubt,
    /// The most notifications in one commit, and what the call that passed it brought along.
    pub(super) max_batch: usize,
    pub(super) first_ask: Duration,
    /// The write-ahead log's file.
    pub(super) wal: PathBuf,
    /// They are waited for before the file is closed, so that it can be left whole, without a log beside it.
    pub(super) readers: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Writes until the store is closed and everything that was accepted is done.
    pub(super) fn run(self) {
        let mut max_wal = MAX_WAL_BYTES.unsigned_abs();
        let mut crowd = 0;
        while let Some(jobs) = self.next_jobs(crowd) {
            // Slow to forget: whoever was answered by the last commit is back for the next but one.
            crowd = publishers(&jobs).max(crowd / 2);
            self.commit(jobs);
            max_wal = self.cut_back_log(max_wal);
        }
        self.commit(Vec::new());
        for reader in self.readers {
            // A reader that panicked has raised its alarm itself.
            let _ = reader.join();
        }
        if let Err(error) = checkpoint(&self.connection) {
            tracing::warn!(
                "the store's log stays beside it and is read at the next start: {error}"
            );
        }
    }

    /// What to do next: everything that waits, up to the bound; nothing but the mailbox if its verdicts have waited
    /// long enough; none when the store is closed. `crowd` is how many published of late.
    fn next_jobs(&self, crowd: usize) -> Option<Vec<Job>> {
        let mut verdicts_due = None;
        let first = loop {
            let job = if self.mailbox.waiting() {
                let due = *verdicts_due.get_or_insert_with(|| Instant::now() + self.patience());
                match self
                    .jobs
                    .recv_timeout(due.saturating_duration_since(Instant::now()))
                {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            } else {
                self.jobs.recv().ok()?
            };
            if !matches!(job, Job::Wake) {
                break job;
            }
        };
        let mut notifications = weight(&first);
        let mut jobs = vec![first];
        let mut take_what_waits = |jobs: &mut Vec<Job>| {
            while notifications < self.max_batch {
                let Ok(job) = self.jobs.try_recv() else { break };
                notifications += weight(&job);
                jobs.push(job);
            }
        };
        take_what_waits(&mut jobs);
        if crowd >= CROWD && publishers(&jobs) < crowd {
            // The others of the crowd have been answered just now and are about to ask again. Where the threads that read
            // them share this one's core they get it now, and what they read shares this commit; where they have cores of
            // their own this returns at once.
            thread::yield_now();
            take_what_waits(&mut jobs);
        }
        Some(jobs)
    }

    fn patience(&self) -> Duration {
        if self.health.writes() {
            VERDICTS_WAIT
        } else {
            VERDICTS_RETRY
        }
    }

    /// One transaction, its hand-over, its answers.
    fn commit(&self, mut jobs: Vec<Job>) {
        let verdicts = self.mailbox.take();
        if jobs.is_empty() && verdicts.is_empty() {
            self.mailbox.written(&verdicts);
            return;
        }
        let begun = Instant::now();
        let outcome = match self.health.damage() {
            Some(what) => Err(Failure::Damaged(what)),
            None => self.transact(&verdicts, &mut jobs),
        };
        match outcome {
            Ok(Written {
                new,
                answers,
                released,
                swept,
                due,
                changed,
                filled,
            }) => {
                self.mailbox.written(&verdicts);
                if changed {
                    self.health.wrote();
                    self.commits.committed(begun.elapsed(), &new);
                }
                if let Some(due) = due {
                    self.agenda.due(due);
                }
                if !new.is_empty() {
                    // Full or gone: the queue reads the log instead.
                    let _ = self.committed.try_send(new);
                }
                if filled {
                    self.filled.notify_one();
                }
                let mut answers = answers.into_iter();
                let mut released = released.into_iter();
                let mut swept = swept.into_iter();
                for job in jobs {
                    match job {
                        Job::Append(append) => {
                            let answer = answers.next().unwrap_or_default();
                            drop(append.room);
                            let _ = append.answer.send(Ok(answer));
                        }
                        Job::Release(release) => {
                            let outcome = released.next().unwrap_or_default();
                            let _ = release.answer.send(Ok(outcome));
                        }
                        Job::Remind(remind) => {
                            let outcome = swept.next().unwrap_or_default();
                            let _ = remind.answer.send(Ok(outcome));
                        }
                        Job::Errand(errand) => errand.answer(Ok(())),
                        Job::Wake => {}
                    }
                }
            }
            Err(failure) => {
                let error = self.health.did_not_write(&failure);
                self.commits.was_refused();
                self.roll_back();
                self.mailbox.put_back(verdicts);
                for job in jobs {
                    match job {
                        Job::Append(append) => {
                            drop(append.room);
                            let _ = append.answer.send(Err(error.clone()));
                        }
                        Job::Release(release) => {
                            let _ = release.answer.send(Err(error.clone()));
                        }
                        Job::Remind(remind) => {
                            let _ = remind.answer.send(Err(error.clone()));
                        }
                        Job::Errand(errand) => errand.answer(Err(error.clone())),
                        Job::Wake => {}
                    }
                }
            }
        }
    }

    fn transact(&self, verdicts: &Batch, jobs: &mut [Job]) -> Result<Written, Failure> {
        let connection = &self.connection;
        let changes = connection.total_changes();
        self.begin(verdicts)?;
        let mut written = match self.append_all(jobs, Care::Together) {
            // The transaction is in one piece still, so what broke is a constraint, and somebody's alone.
            Err(failure) if failure.conflict().is_some() && !connection.is_autocommit() => {
                run(connection, "ROLLBACK")?;
                self.begin(verdicts)?;
                self.append_all(jobs, Care::Each)?
            }
            appended => appended?,
        };
        for job in jobs {
            if let Job::Errand(errand) = job
                && let Err(conflict) = alone(connection, || errand.perform(connection))?
            {
                errand.refuse(conflict);
            }
        }
        // Last, because any of the work may have given the last verdict on something.
        written.filled = outbox::decide(connection, Timestamp::now())?;
        run(connection, "COMMIT")?;
        written.changed = connection.total_changes() != changes;
        Ok(written)
    }

    fn begin(&self, verdicts: &Batch) -> Result<(), Failure> {
        run(&self.connection, "BEGIN IMMEDIATE")?;
        if !verdicts.is_empty() {
            let now = Timestamp::now();
            deliveries::apply(
                &self.connection,
                verdicts,
                self.in_doubt,
                now,
                self.first_ask,
            )?;
        }
        Ok(())
    }

    /// Stores the notifications of all appends, and releases what is due, in the order of their arrival.
    fn append_all(&self, jobs: &[Job], care: Care) -> Result<Written, Failure> {
        let connection = &self.connection;
        let before = entries::head(connection)?;
        let mut head = before;
        let mut written = Written {
            new: Vec::new(),
            answers: Vec::new(),
            released: Vec::new(),
            swept: Vec::new(),
            due: None,
            changed: false,
            filled: false,
        };
        let mut inserts = Inserts::prepare(connection)?;
        let mut keys = Keys::of(connection);
        for job in jobs {
            let append = match job {
                Job::Append(append) => append,
                Job::Release(Release { now, limit, .. }) => {
                    let mut release =
                        || scheduled::release(connection, &mut inserts, *now, *limit, head);
                    let new = match care {
                        Care::Together => release()?,
                        Care::Each => unless_refused(alone(connection, release)?),
                    };
                    head = new.last().map_or(head, |entry| entry.position);
                    written.released.push(Released {
                        count: new.len(),
                        last: new.last().map(|entry| entry.position),
                        next_due: scheduled::next_due(connection)?,
                    });
                    written.new.extend(new);
                    continue;
                }
                Job::Remind(Remind { now, limit, .. }) => {
                    let mut sweep =
                        || reminders::sweep(connection, &mut inserts, *now, *limit, head);
                    let sweep = match care {
                        Care::Together => sweep()?,
                        Care::Each => unless_refused(alone(connection, sweep)?),
                    };
                    head = sweep.swept.last.unwrap_or(head);
                    written.swept.push(sweep.swept);
                    written.new.extend(sweep.entries);
                    continue;
                }
                Job::Errand(_) | Job::Wake => continue,
            };
            let mut answers = Vec::with_capacity(append.notifications.len());
            for notification in &append.notifications {
                let position = head.next();
                let mut take = || {
                    let statements = (&mut inserts, &mut keys);
                    accept(connection, statements, notification, position, &self.zone)
                };
                let outcome = match care {
                    Care::Together => Ok(take()?),
                    Care::Each => alone(connection, take)?,
                };
                answers.push(match outcome {
                    Ok(Ok(Accepted::New(placed, entry))) => {
                        head = position;
                        written.new.push(entry);
                        Ok(placed)
                    }
                    Ok(Ok(Accepted::Held(placed, due))) => {
                        written.due = Some(written.due.map_or(due, |earlier| earlier.min(due)));
                        Ok(placed)
                    }
                    Ok(Ok(Accepted::Earlier(placed))) => Ok(placed),
                    Ok(Err(refused)) => Err(refused),
                    Err(conflict) => Err(Refused::Conflict(conflict)),
                });
            }
            written.answers.push(answers);
        }
        if head != before {
            entries::set_head(connection, head)?;
        }
        Ok(written)
    }

    fn roll_back(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = run(&self.connection, "ROLLBACK") {
            // The next BEGIN fails on it, so nothing can be committed by accident.
            tracing::error!("the store cannot roll back: {error}");
        }
    }

    /// Cuts the write-ahead log back if it has outgrown `max` bytes; returns the size at which to look again.
    fn cut_back_log(&self, max: u64) -> u64 {
        let size = std::fs::metadata(&self.wal).map_or(0, |file| file.len());
        let bound = MAX_WAL_BYTES.unsigned_abs();
        if size <= max {
            return if size <= bound { bound } else { max };
        }
        let cut_back = self
            .connection
            .busy_timeout(CUT_BACK_WAIT)
            .and_then(|()| checkpoint(&self.connection));
        let restored = self.connection.busy_timeout(BUSY_TIMEOUT);
        match cut_back.and(restored) {
            Ok(()) => bound,
            Err(error) => {
                tracing::warn!(
                    "the store's log has grown to {size} bytes and cannot be cut back: {error}"
                );
                size.saturating_mul(2)
            }
        }
    }
}

/// How many of these jobs are a publisher's.
fn publishers(jobs: &[Job]) -> usize {
    let of_publishers = jobs.iter().filter(|job| matches!(job, Job::Append(_)));
    of_publishers.count()
}

/// How notifications are kept from undoing each other.
#[derive(Clone, Copy)]
enum Care {
    /// They are not: a constraint that one breaks undoes the transaction. A savepoint for each has SQLite keep a copy of
    /// every page that it changes, and constraints are broken almost never.
    Together,
    /// Each has a savepoint, and is undone alone.
    Each,
}

/// What a transaction came to.
struct Written {
    new: Vec<Entry>,
    /// For each append in turn.
    answers: Vec<Vec<Appended>>,
    /// For each release in turn.
    released: Vec<Released>,
    /// For each step of a sweep in turn.
    swept: Vec<Swept>,
    /// When the first of those is due that are held back now.
    due: Option<Timestamp>,
    /// Any row at all: a transaction that changes none proves nothing about the disk.
    changed: bool,
    /// Something new waits in the outbox.
    filled: bool,
}

fn weight(job: &Job) -> usize {
    match job {
        Job::Append(append) => append.notifications.len(),
        Job::Release(Release { limit, .. }) | Job::Remind(Remind { limit, .. }) => *limit,
        Job::Errand(_) | Job::Wake => 0,
    }
}

fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Does one piece of work under a savepoint: a broken constraint undoes it and nothing else.
fn alone<T>(
    connection: &Connection,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<Result<T, Conflict>, Failure> {
    run(connection, "SAVEPOINT alone")?;
    let outcome = match work() {
        Ok(done) => Ok(done),
        Err(failure) => match failure.conflict() {
            Some(conflict) if !connection.is_autocommit() => {
                run(connection, "ROLLBACK TO alone")?;
                Err(conflict)
            }
            _ => return Err(failure),
        },
    };
    run(connection, "RELEASE alone")?;
    Ok(outcome)
}

/// What came of work that was done alone. A constraint that it broke is nobody's draft's, and must hold up none: it is said,
/// and tried again with the next look at what is due.
fn unless_refused<T: Default>(outcome: Result<T, Conflict>) -> T {
    outcome.unwrap_or_else(|conflict| {
        tracing::error!(%conflict, "what is due could not be released");
        T::default()
    })
}

/// Brings the whole write-ahead log into the file and empties it.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool = connection
        .prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?
        .query_row([], |row| row.get(0))?;
    if busy {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            None,
        ));
    }
    Ok(())
}
