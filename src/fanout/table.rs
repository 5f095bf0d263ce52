//! The stream thread itself: the table of streams, and its rounds.
//!
//! A round goes: what the sockets say, then what the inbox says, then the verdicts of both to the store, then the
//! answers to those who were admitted (who may rely on those verdicts being on their way), then the deliveries, then
//! what time demands. Nothing in it waits.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::Batch;
use super::recent::Recent;
use super::wheel::{COUNTS_SAVED, TICK, ticks};
use super::{Address, Admission, Admit, Command, Inbox, Outgoing, Parts, Passing};
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::events;
use crate::inbox::Unread;
use crate::log::Position;
use crate::registry::Slot;
use crate::replay::{Request, Wanted};
use crate::sink::Sink;
use crate::sse::{Bye, Frame};
use crate::store::{StoreError, Verdicts};
use crate::stream::{End, Next, ServedPage, Stream};

/// The token of the inbox's waker; slots never come near it.
pub(super) const WAKE: Token = Token(usize::MAX);
/// While more verdicts than this wait for the store, no further batch is let through: then the queue waits, and in the
/// end publishers are told so.
const MAX_UNWRITTEN: usize = 50_000;
/// How many other streams of a recipient are asked whether they have what a broken one may not have had.
const MAX_OTHERS: usize = 16;
/// At most so many clients a second are sent back to another hub, or to this one after its start.
const RETURNS_PER_SECOND: u64 = 2_000;

pub(super) struct Table {
    pub(super) parts: Parts,
    pub(super) streams: Vec<Option<Box<Stream>>>,
    pub(super) fanned: Position,
    pub(super) recent: Recent,
    pub(super) verdicts: Verdicts,
    /// Frames handed to sinks since the counter was last brought up to date.
    pub(super) delivered: u64,
    poll: Poll,
    inbox: Arc<Inbox>,
    free: Vec<Slot>,
    serial: u32,
    open: usize,
    pub(super) ends: BTreeSet<(Timestamp, Address)>,
    /// Streams that have been given something new for an inbox since they were told how much is unread.
    pub(super) uncounted: VecDeque<Address>,
    /// For how many of them the count may be asked for.
    pub(super) counts: usize,
    /// Streams whose page, or count, could not be read.
    pub(super) reread: Vec<Address>,
    drained: Vec<oneshot::Sender<()>>,
    /// Batches that are done, and held back from the queue while the store is behind with their verdicts.
    held: Vec<OwnedSemaphorePermit>,
    /// It was told to stop.
    stopping: bool,
    pub(super) draining: bool,
    pub(super) tick: u64,
    /// For each spoke of the wheel, how many of its streams were behind when it last came round; and all together.
    pub(super) behind: (Vec<u32>, u64),
    next_tick: Instant,
    random: Random,
}

/// What one round sends, in the queue's order.
enum Work {
    Deliver(Vec<Arc<Outgoing>>),
    Pass(Box<Passing>),
}

impl Table {
    pub(super) fn new(poll: Poll, inbox: Arc<Inbox>, parts: Parts) -> Self {
        let fanned = parts.fanned;
        parts.counters.fanned.store(fanned.0, Ordering::Release);
        Self {
            recent: Recent::new(parts.settings.recent_bytes, fanned),
            parts,
            streams: Vec::new(),
            fanned,
            verdicts: Verdicts::default(),
            delivered: 0,
            poll,
            inbox,
            free: Vec::new(),
            serial: 0,
            open: 0,
            ends: BTreeSet::new(),
            uncounted: VecDeque::new(),
            counts: COUNTS_SAVED,
            reread: Vec::new(),
            drained: Vec::new(),
            held: Vec::new(),
            stopping: false,
            draining: false,
            tick: 0,
            behind: (Vec::new(), 0),
            next_tick: Instant::now() + TICK,
            random: Random::seeded(),
        }
    }

    /// Runs until it is told to stop. If it ends before, by an error or a panic, dropping it says so.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.next_tick.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(event = events::STREAM_THREAD_ENDED, %error, "the stream thread cannot poll");
                    return;
                }
            }
            if self.round(&events).is_break() {
                return;
            }
        }
    }

    fn round(&mut self, events: &Events) -> std::ops::ControlFlow<()> {
        let now = Instant::now();
        for event in events {
            if event.token() != WAKE
                && let Ok(slot) = Slot::try_from(event.token().0)
            {
                self.with(slot, None, |stream, verdicts| {
                    stream.progress(verdicts, now)
                });
            }
        }

        let mut admitted: Vec<(oneshot::Sender<Vec<Admission>>, Vec<Admission>)> = Vec::new();
        let mut work: Vec<Work> = Vec::new();
        for command in self.inbox.take() {
            match command {
                Command::Deliver { entries, permit } => {
                    match work.last_mut() {
                        Some(Work::Deliver(earlier)) => earlier.extend(entries),
                        _ => work.push(Work::Deliver(entries)),
                    }
                    self.held.push(permit);
                }
                Command::Pass { passing, permit } => {
                    work.push(Work::Pass(passing));
                    self.held.push(permit);
                }
                Command::Admit { streams, answer } => {
                    let admit = |stream| self.admit(stream, now);
                    let admissions = streams.into_iter().map(admit).collect();
                    admitted.push((answer, admissions));
                }
                Command::Attach {
                    address,
                    mut sink,
                    framing,
                    opening,
                } => {
                    let registered = match &mut sink {
                        Sink::Socket { socket, .. } => self.poll.registry().register(
                            socket,
                            Token(address.slot as usize),
                            Interest::READABLE | Interest::WRITABLE,
                        ),
                        Sink::Pipe(_) => Ok(()),
                    };
                    let fanned = self.fanned;
                    let draining = self.draining;
                    let retry = self.return_in();
                    self.with_address(address, |stream, verdicts| {
                        if registered.is_err() {
                            stream.abandon(End::Unopened);
                            return;
                        }
                        stream.attach(sink, framing, opening, fanned, now);
                        stream.progress(verdicts, now);
                        if draining {
                            stream.end(Bye::Draining, retry, Timestamp::now());
                        }
                    });
                }
                Command::Abandon(address, end) => {
                    self.with_address(address, |stream, _| stream.abandon(end));
                }
                Command::Awake(address, awake) => {
                    awake.store(false, Ordering::Release);
                    self.with_address(address, |stream, verdicts| stream.progress(verdicts, now));
                }
                Command::Served(address, served) => self.served(address, served, now),
                Command::Counted(address, counted) => self.counted(address, counted, now),
                Command::InboxChanged { user, permit } => {
                    self.each_of(&user, |stream, _| stream.inbox_changed());
                    drop(permit);
                }
                Command::Reap {
                    user,
                    silence,
                    answer,
                } => {
                    let reaped = self.reap(&user, silence, now);
                    let _ = answer.send(reaped);
                }
                Command::Revoke { user, answer } => {
                    let retry = self.retry();
                    let ended = self.each_of(&user, |stream, _| {
                        stream.end_at_once(Bye::Revoked, retry, Timestamp::now());
                    });
                    let _ = answer.send(ended);
                }
                Command::Drain(answer) => {
                    self.draining = true;
                    self.drained.push(answer);
                    for slot in 0..self.slots() {
                        let retry = self.return_in();
                        self.with(slot, None, |stream, _| {
                            stream.end(Bye::Draining, retry, Timestamp::now());
                        });
                    }
                }
                Command::Withdraw(position, done) => {
                    self.recent.withdraw(position);
                    let _ = done.send(());
                }
                Command::Forget(kept_since, done) => {
                    self.recent
                        .forget(|outgoing| outgoing.created_at < kept_since.of(outgoing.kind));
                    let _ = done.send(());
                }
                Command::Stop => self.stopping = true,
            }
        }
        self.record();
        for (answer, admissions) in admitted {
            // If nobody waits any more, dropping an admission takes its stream out again.
            let _ = answer.send(admissions);
        }

        for work in work {
            match work {
                Work::Deliver(entries) => {
                    for entries in entries.chunks(Batch::MAX) {
                        self.fan_out(entries, now);
                        self.record();
                    }
                }
                Work::Pass(passing) => self.pass(&passing, now),
            }
        }
        // A hub that stops waits for its queue, and a store that cannot write must not keep it.
        if self.parts.stop.is_cancelled() || self.parts.store.unwritten() <= MAX_UNWRITTEN {
            self.held.clear();
        }

        // After a pause of the whole process (a laptop that slept) one turn of the wheel is enough for everybody.
        let turn = TICK * u32::try_from(ticks(self.parts.settings.heartbeat)).unwrap_or(u32::MAX);
        self.next_tick = self.next_tick.max(now.checked_sub(turn).unwrap_or(now));
        while self.next_tick <= now {
            self.tick(now);
            self.next_tick += TICK;
        }
        self.record();
        if self.open == 0 {
            for answer in self.drained.drain(..) {
                let _ = answer.send(());
            }
        }
        if self.stopping {
            for slot in 0..self.slots() {
                self.with(slot, None, |stream, _| stream.abandon(End::Cut));
            }
            self.record();
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    }

    fn admit(&mut self, admit: Admit, now: Instant) -> Admission {
        let Admit {
            registration,
            naming,
            ends,
        } = admit;
        let address = self.place();
        registration.enroll(address.slot);
        let stream = Stream::new(registration, address.serial, naming, ends, now);
        self.ends.insert((stream.ends_at(), address));
        if let Some(place) = self.streams.get_mut(address.slot as usize) {
            *place = Some(Box::new(stream));
        }
        Admission {
            address,
            fanned: self.fanned,
            abandon: Some(Arc::clone(&self.inbox)),
        }
    }

    /// Lets `act` work on a stream, then does what the stream needs next.
    pub(super) fn with(
        &mut self,
        slot: Slot,
        serial: Option<u32>,
        act: impl FnOnce(&mut Stream, &mut Verdicts),
    ) {
        let Some(Some(stream)) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if serial.is_some_and(|serial| serial != stream.serial) {
            return;
        }
        act(stream, &mut self.verdicts);
        self.follow(slot, Instant::now());
    }

    pub(super) fn with_address(
        &mut self,
        address: Address,
        act: impl FnOnce(&mut Stream, &mut Verdicts),
    ) {
        self.with(address.slot, Some(address.serial), act);
    }

    /// Does what a stream needs next, until that is to wait.
    pub(super) fn follow(&mut self, slot: Slot, now: Instant) {
        loop {
            let Some(Some(stream)) = self.streams.get_mut(slot as usize) else {
                return;
            };
            let address = Address {
                slot,
                serial: stream.serial,
            };
            if stream.became_uncounted() {
                self.queue_count(address);
                continue;
            }
            let wanted = match stream.next(now) {
                Next::Wait => return,
                Next::Close => return self.close(slot),
                Next::ReadOwed { after, upto } => Wanted::Owed { after, upto },
                Next::ReadLog { after } => {
                    let upto = self.fanned;
                    let viewer = stream.registration().viewer();
                    let kind = (stream.naming, stream.framing);
                    let wall = Timestamp::now();
                    if let Some(page) = self.recent.page(viewer, kind, (after, upto), wall) {
                        self.delivered += page.notes.len() as u64;
                        stream.serve(&page, &mut self.verdicts, now);
                        continue;
                    }
                    Wanted::Log { after, upto }
                }
                Next::CountUnread => Wanted::Unread,
            };
            return self.ask(address, wanted);
        }
    }

    /// Asks for what a stream needs from the store.
    fn ask(&mut self, address: Address, wanted: Wanted) {
        let Some(Some(stream)) = self.streams.get_mut(address.slot as usize) else {
            return;
        };
        let request = Request {
            address,
            viewer: stream.registration().viewer().clone(),
            naming: stream.naming,
            framing: stream.framing,
            wanted,
        };
        // It has room for every stream there can be, but requests of streams that are gone may still stand in it.
        if self.parts.pages.try_send(request).is_err() {
            if matches!(wanted, Wanted::Unread) {
                stream.inbox_changed();
            }
            self.reread.push(address);
        }
    }

    /// Puts a stream among those to be counted. Each stands there once; those that have ended since are left out when there
    /// are many.
    fn queue_count(&mut self, address: Address) {
        if self.uncounted.len() > 2 * self.streams.len() {
            let streams = &self.streams;
            self.uncounted.retain(|address| {
                let stream = streams.get(address.slot as usize).and_then(Option::as_ref);
                stream.is_some_and(|stream| stream.serial == address.serial)
            });
        }
        self.uncounted.push_back(address);
    }

    fn served(&mut self, address: Address, served: Result<ServedPage, StoreError>, now: Instant) {
        match served {
            Ok(page) => {
                self.delivered += page.notes.len() as u64;
                self.with_address(address, |stream, verdicts| {
                    stream.serve(&page, verdicts, now);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a page of the log could not be read; trying again");
                self.reread.push(address);
            }
        }
    }

    fn counted(&mut self, address: Address, counted: Result<Unread, StoreError>, now: Instant) {
        match counted {
            Ok(unread) => self.with_address(address, |stream, _| {
                stream.tell_unread(&Frame::status(unread, Timestamp::now()), now);
            }),
            Err(error) => {
                tracing::warn!(%error, "what is unread could not be counted; trying again");
                self.with_address(address, |stream, _| stream.inbox_changed());
                self.reread.push(address);
            }
        }
    }

    fn reap(&mut self, user: &Arc<str>, silence: Duration, now: Instant) -> usize {
        let before = self.open;
        self.each_of(user, |stream, _| {
            if stream.unheard(silence, now) {
                stream.abandon(End::Replaced);
            }
        });
        before - self.open
    }

    /// Lets `act` work on each stream of a user; how many they are.
    fn each_of(&mut self, user: &Arc<str>, act: impl Fn(&mut Stream, &mut Verdicts)) -> usize {
        let mut slots = Vec::new();
        let user = Recipient::User(Arc::clone(user));
        self.parts.registry.each(&user, |slot| slots.push(slot));
        for slot in &slots {
            self.with(*slot, None, &act);
        }
        slots.len()
    }

    fn place(&mut self) -> Address {
        self.open += 1;
        self.parts.counters.opened.add(1);
        self.serial = self.serial.wrapping_add(1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.slots() - 1
        });
        Address {
            slot,
            serial: self.serial,
        }
    }

    pub(super) fn slots(&self) -> Slot {
        Slot::try_from(self.streams.len()).unwrap_or(Slot::MAX)
    }

    fn close(&mut self, slot: Slot) {
        let Some(mut stream) = self.streams.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        let now = Instant::now();
        let user = Arc::clone(&stream.registration().viewer().user);
        if let Some(mark) = stream.last_mark(self.fanned, now) {
            self.verdicts.marks.push((user, mark));
        }
        if let Some(mut broken) = stream.unacknowledged() {
            broken.recipients = self.only_its_own(&stream, (broken.after, broken.upto), now);
            self.recent.owed_between(broken.after, broken.upto);
            for (position, _) in &broken.owed {
                self.recent.owed(*position);
            }
            self.verdicts.unacknowledged.push(broken);
        }
        if let Some(Sink::Socket { socket, .. }) = stream.sink_mut() {
            // It is closed next, which takes it out of the poll all the same.
            let _ = self.poll.registry().deregister(socket);
        }
        let address = Address {
            slot,
            serial: stream.serial,
        };
        self.ends.remove(&(stream.ends_at(), address));
        self.free.push(slot);
        self.open -= 1;
        self.parts.counters.ended[stream.why().index()].add(1);
    }

    /// Those for whom a stream stood, unless another open stream of theirs has acknowledged everything in between. Only a
    /// few are asked: when a network goes, thousands of streams of one role end together.
    fn only_its_own(
        &mut self,
        stream: &Stream,
        (after, upto): (Position, Position),
        now: Instant,
    ) -> Vec<Recipient> {
        let viewer = stream.registration().viewer();
        let roles = viewer.roles.iter().cloned().map(Recipient::Role);
        let mut recipients = vec![Recipient::User(Arc::clone(&viewer.user))];
        recipients.extend(roles);
        recipients.retain(|recipient| {
            let others = self.parts.registry.some(recipient, MAX_OTHERS);
            // The stream itself is out of the table already.
            !others.into_iter().any(|slot| {
                let other = self.streams.get_mut(slot as usize);
                other
                    .and_then(Option::as_mut)
                    .is_some_and(|other| other.has_heard(after, upto, self.fanned, now))
            })
        });
        recipients
    }

    /// Gives the store what was decided since the last time.
    fn record(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        self.parts
            .counters
            .delivered
            .fetch_add(delivered, Ordering::Relaxed);
        let verdicts = std::mem::take(&mut self.verdicts);
        let owing = !verdicts.owed.is_empty() || !verdicts.unacknowledged.is_empty();
        if owing
            || verdicts.settled > Position::START
            || !verdicts.sent.is_empty()
            || !verdicts.marks.is_empty()
        {
            let settled = verdicts.settled;
            self.parts.store.record(verdicts);
            if settled > Position::START {
                self.parts
                    .counters
                    .fanned
                    .store(settled.0, Ordering::Release);
            }
        }
        if owing {
            self.parts.owing.notify_one();
        }
    }

    pub(super) fn retry(&mut self) -> Duration {
        let settings = &self.parts.settings;
        let span = settings.retry_max.saturating_sub(settings.retry_min);
        settings.retry_min + self.random.upto(span)
    }

    /// A wait before coming back that spreads all clients out over a window that grows with their number.
    fn return_in(&mut self) -> Duration {
        let settings = &self.parts.settings;
        let window = Duration::from_secs(self.open as u64 / RETURNS_PER_SECOND);
        let span = settings.retry_max.saturating_sub(settings.retry_min) + window;
        settings.retry_min + self.random.upto(span)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // Nobody may wait for an answer that will not come.
        self.inbox.close();
        if !self.stopping {
            self.parts.failed.cancel();
        }
    }
}

/// Numbers that only need to differ (SplitMix64, Steele et al. 2014): nothing secret hangs on them.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = uuid::Uuid::new_v4().as_u64_pair();
        Self(seed.0 ^ seed.1)
    }

    fn upto(&mut self, span: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis((z ^ (z >> 31)) % millis.max(1))
    }
}
