//! One open stream: admitted → owed → behind → live → ended.
//!
//! Only a stream's own cursor sends. From its place on it sends each position at most once, rising, and skips none in
//! its audience, because there are just two ways for a frame to reach it: live, when everything before is written, or
//! read from the log, from the cursor on. A frame offered while the stream is not live is not kept but noted (`missed`),
//! and read from the log afterwards. So a slow reader costs the one frame that is partly written and nothing else, and
//! there is no moment between replay and live at which an event could fall through or come twice.
//!
//! A stream knows nothing of other streams, of tasks, or of the store: its owner calls it and does what
//! [`Stream::next`] says. All of it happens on one thread, so it needs no lock.

mod end;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use self::end::End;
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::registry::Registration;
use crate::sink::{self, Sink, would_block};
use crate::sse::{self, Bye, Frame, Framing, Naming};
use crate::store::{Unacknowledged, Verdicts, Viewer};

/// How long an ended stream waits for its client to close, so that what was written last is not torn away by a reset.
const LINGER: Duration = Duration::from_secs(5);

/// How much of what was owed is remembered until the peer has acknowledged it; what lies further back was written long
/// before.
const MAX_UNHEARD: usize = 10_000;

/// One open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    registration: Registration,
    sink: Option<Sink>,
    pub(crate) naming: Naming,
    pub(crate) framing: Framing,
    phase: Phase,
    /// Everything for this stream at or below is written (or was owed, and comes without an id).
    cursor: Position,
    /// Entries in its audience went by while it was not live: they are in the log after the cursor.
    missed: Position,
    /// A page of the log, or a count, has been asked for and has not come.
    reading: bool,
    /// The count that its client was told last may not be true any more. However often that happens while it cannot be
    /// told, it is counted once, when it can.
    recount: bool,
    /// What was new for its user's inbox since the last count.
    uncounted: Uncounted,
    /// What the first count it was told covers: what is read from the log up to here is no news for it.
    counted: Position,
    /// The frame that is partly written.
    pending: Option<Box<Pending>>,
    /// Since when the sink takes nothing.
    stuck_since: Option<Instant>,
    /// Bytes handed to the sink, ever.
    written: u64,
    /// What the peer had acknowledged when it was last seen to acknowledge anything.
    heard: Heard,
    /// How far it was when the peer was last seen to have acknowledged everything: a machine that falls asleep takes
    /// bytes that it will never read.
    acknowledged: Position,
    /// What was owed from before and was written since then, the oldest first: it has no id from which a client could prove
    /// that it came. With how much had been written by then; at most [`MAX_UNHEARD`].
    /// Apart, because hardly any stream has some.
    unheard: Option<Box<Unheard>>,
    /// What is known of the peer once it has acknowledged so many bytes. One is taken at a time: a stream with steady traffic
    /// always has some on their way.
    checkpoint: Checkpoint,
    /// From here on it proves what its client has: nothing at all before it, if the client said itself where it stood.
    began: Position,
    /// The mark as last written to the store.
    marked: Position,
    ends_at: Timestamp,
    ends_because: Bye,
    ending: Option<Box<Frame>>,
    /// Why it ends, once the hub has decided that it does.
    end: Option<End>,
    /// Tells this stream from earlier ones in the same slot.
    pub(crate) serial: u32,
}

/// What was owed, each with how much had been written by then.
type Unheard = VecDeque<(u64, (Position, Recipient))>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Registered; its response head is still being written.
    Admitted,
    /// What is owed by name, at or below its place, is being sent; done up to here.
    Owed(Position),
    /// Reading the log from the cursor on.
    Behind,
    /// Everything offered is written at once.
    Live,
    /// Its last word is said; waiting for the client to close.
    Ended(Instant),
    /// Broken or abandoned: to be dropped.
    Over,
}

/// Whether a stream has been given something that its last count did not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uncounted {
    Nothing,
    /// Its owner has not been told.
    Something,
    /// Its owner has it counted when its turn comes.
    Queued,
}

/// How much the peer has acknowledged, and since when.
#[derive(Clone, Copy, Debug)]
struct Heard {
    bytes: u64,
    at: Instant,
}

/// Where a stream stood when it had handed so many bytes to its sink.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    written: u64,
    cursor: Position,
}

/// A frame whose first bytes are with the kernel: the rest must follow before anything else.
#[derive(Debug)]
struct Pending {
    rest: Bytes,
    note: Option<Note>,
}

/// What it means that a frame has been written whole.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// The entry's place.
    pub(crate) position: Position,
    /// The recipients that have it now, where that changes a verdict.
    pub(crate) sent: Vec<Recipient>,
}

/// Frames put together to be written in one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The frames' bytes.
    pub(crate) bytes: Bytes,
    /// Where each frame ends.
    pub(crate) ends: Vec<usize>,
    /// Whether any of them is for inboxes.
    pub(crate) inbox: bool,
}

/// A page of the log, encoded for one stream.
#[derive(Debug)]
pub(crate) struct ServedPage {
    /// The frames.
    pub(crate) run: Run,
    /// One for each frame.
    pub(crate) notes: Vec<Note>,
    /// How far the page goes.
    pub(crate) covers: Position,
    /// Whether that is as far as was asked.
    pub(crate) complete: bool,
}

/// What a stream is attached with.
#[derive(Debug)]
pub(crate) struct Opening {
    /// `connected`, and `gap` where there is one.
    pub(crate) bytes: Bytes,
    /// The place that it goes on from.
    pub(crate) place: Position,
    /// Whether something is owed at or below it.
    pub(crate) owes: bool,
    /// Up to here the count among the first words has everything.
    pub(crate) counted: Position,
    /// Its client said itself that it has everything up to the place.
    pub(crate) proven: bool,
}

/// What its owner has to do for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until something happens.
    Wait,
    /// Read what is owed by name after this, up to the place.
    ReadOwed {
        /// After this.
        after: Position,
        /// Up to this.
        upto: Position,
    },
    /// Read the log after this.
    ReadLog {
        /// After this.
        after: Position,
    },
    /// Count what is unread.
    CountUnread,
    /// Drop it.
    Close,
}

impl Stream {
    pub(crate) fn new(
        registration: Registration,
        serial: u32,
        naming: Naming,
        ends: (Timestamp, Bye),
        now: Instant,
    ) -> Self {
        Self {
            registration,
            sink: None,
            naming,
            framing: Framing::UntilClose,
            phase: Phase::Admitted,
            cursor: Position::START,
            missed: Position::START,
            reading: false,
            recount: false,
            uncounted: Uncounted::Nothing,
            counted: Position::START,
            pending: None,
            stuck_since: None,
            written: 0,
            heard: Heard { bytes: 0, at: now },
            acknowledged: Position::START,
            unheard: None,
            checkpoint: Checkpoint {
                written: 0,
                cursor: Position::START,
            },
            began: Position::START,
            marked: Position::START,
            ends_at: ends.0,
            ends_because: ends.1,
            ending: None,
            end: None,
            serial,
        }
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(crate) fn sink_mut(&mut self) -> Option<&mut Sink> {
        self.sink.as_mut()
    }

    /// Gives it its socket or pipe and says the first words. `fanned` is how far the fan-out has come.
    pub(crate) fn attach(
        &mut self,
        sink: Sink,
        framing: Framing,
        opening: Opening,
        fanned: Position,
        now: Instant,
    ) {
        if self.phase != Phase::Admitted {
            return;
        }
        self.sink = Some(sink);
        self.framing = framing;
        self.cursor = opening.place;
        self.heard.at = now;
        self.acknowledged = opening.place;
        self.marked = opening.place;
        self.counted = opening.counted;
        self.began = if opening.proven {
            Position::START
        } else {
            opening.place
        };
        self.phase = if opening.owes {
            Phase::Owed(Position::START)
        } else if self.missed > opening.place || opening.place < fanned {
            Phase::Behind
        } else {
            Phase::Live
        };
        self.put_alone(opening.bytes, now);
    }

    /// Whether a frame offered now is written now.
    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live && self.missed <= self.cursor && self.pending.is_none()
    }

    /// An entry in its audience went by while it was not live.
    pub(crate) fn miss(&mut self, position: Position) {
        self.missed = position.max(self.missed);
    }

    /// Writes frames that the fan-out selected for it; only when [`live`](Stream::is_live). `last` is the position of
    /// the last of them; `note` says for the index of a frame what it is, and is asked only when not all were taken.
    pub(crate) fn offer(
        &mut self,
        run: &Run,
        last: Position,
        note: impl Fn(&Viewer, usize) -> Option<Note>,
        verdicts: &mut Verdicts,
        now: Instant,
    ) {
        let whole = self.put(run, &note, verdicts, now);
        if run.inbox {
            self.note_uncounted();
        }
        if whole == run.ends.len() {
            self.cursor = last;
            return;
        }
        self.miss(last);
        let viewer = self.registration.viewer();
        if let Some(written) = whole.checked_sub(1).and_then(|index| note(viewer, index)) {
            self.cursor = self.cursor.max(written.position);
        }
    }

    /// Writes a page that was read for it.
    pub(crate) fn serve(&mut self, page: &ServedPage, verdicts: &mut Verdicts, now: Instant) {
        self.reading = false;
        let owed = match self.phase {
            Phase::Owed(_) => true,
            Phase::Behind => false,
            _ => return,
        };
        // A heartbeat that got stuck meanwhile is in the way: the page is asked for again once it is through.
        if self.ending.is_some() || self.pending.is_some() {
            return;
        }
        if owed {
            self.hear_owed(self.taken());
        }
        let whole = self.put(
            &page.run,
            |_, index| page.notes.get(index).cloned(),
            verdicts,
            now,
        );
        if self.phase == Phase::Over {
            return;
        }
        for note in page.notes.iter().take(whole) {
            self.was_sent(note, verdicts);
        }
        if page.run.inbox && page.covers > self.counted {
            self.note_uncounted();
        }
        let finished = whole == page.run.ends.len();
        let reached = match whole.checked_sub(1).and_then(|last| page.notes.get(last)) {
            _ if finished => Some(page.covers),
            last => last.map(|note| note.position),
        };
        if let Some(reached) = reached {
            self.advance(reached);
        }
        if finished && page.complete {
            self.phase = if owed || self.missed > self.cursor {
                Phase::Behind
            } else {
                Phase::Live
            };
        }
    }

    /// Writes something that is not kept, if the stream is live; whether it is.
    pub(crate) fn pass(&mut self, frame: &Frame, now: Instant) -> bool {
        let takes = self.is_live() && self.ending.is_none();
        if takes {
            self.say(frame, now);
        }
        takes
    }

    /// What it asked for could not be read; it is asked for again at `next`.
    pub(crate) fn not_read(&mut self) {
        self.reading = false;
    }

    /// Something in its user's inbox is read that was not: the client is told once the stream is live.
    pub(crate) fn inbox_changed(&mut self) {
        self.recount = true;
    }

    fn note_uncounted(&mut self) {
        if self.uncounted == Uncounted::Nothing {
            self.uncounted = Uncounted::Something;
        }
    }

    /// Whether its owner has to give it a turn to be counted; says so once until that has come.
    pub(crate) fn became_uncounted(&mut self) -> bool {
        let news = self.uncounted == Uncounted::Something;
        if news {
            self.uncounted = Uncounted::Queued;
        }
        news
    }

    /// Its turn has come: the client is told the count once the stream is live.
    pub(crate) fn count_now(&mut self) {
        self.uncounted = Uncounted::Nothing;
        self.recount = true;
    }

    /// Tells its client what was counted, unless it has fallen behind meanwhile: then it is counted again.
    pub(crate) fn tell_unread(&mut self, status: &Frame, now: Instant) {
        self.reading = false;
        if self.is_live() && self.ending.is_none() {
            self.say(status, now);
        } else {
            self.recount = true;
        }
    }

    /// Writes a frame that stands for nothing in the log; only at a frame's boundary.
    fn say(&mut self, frame: &Frame, now: Instant) {
        self.put_alone(frame.bytes(self.naming, self.framing).clone(), now);
    }

    /// Writes bytes that stand for nothing in the log, as if they were one frame.
    fn put_alone(&mut self, bytes: Bytes, now: Instant) {
        let run = Run {
            ends: vec![bytes.len()],
            bytes,
            inbox: false,
        };
        self.put(&run, |_, _| None, &mut Verdicts::default(), now);
    }

    /// Goes on when the sink takes bytes again.
    pub(crate) fn progress(&mut self, verdicts: &mut Verdicts, now: Instant) {
        match self.sink.as_mut().map(Sink::listen) {
            None | Some(sink::Heard::Silence) => {}
            // Whoever writes into an event stream is not speaking this protocol. After the last word it is no matter.
            Some(sink::Heard::Bytes) if matches!(self.phase, Phase::Ended(_)) => {}
            Some(sink::Heard::Bytes | sink::Heard::Gone) => {
                self.phase = Phase::Over;
                return;
            }
            Some(sink::Heard::TimedOut) => return self.abandon(End::Stalled),
        }
        self.write_pending(verdicts, now);
    }

    fn write_pending(&mut self, verdicts: &mut Verdicts, now: Instant) {
        let (Some(mut pending), Some(sink)) = (self.pending.take(), self.sink.as_mut()) else {
            self.stuck_since = None;
            return;
        };
        while !pending.rest.is_empty() {
            match sink.write(&pending.rest) {
                Ok(taken) if taken > 0 => {
                    self.written += taken as u64;
                    let _ = pending.rest.split_to(taken);
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if would_block(&error) => {
                    self.stuck_since.get_or_insert(now);
                    self.pending = Some(pending);
                    return;
                }
                Err(error) => return self.broke(&error),
                Ok(_) => {
                    self.phase = Phase::Over;
                    return;
                }
            }
        }
        self.stuck_since = None;
        if let Some(note) = pending.note {
            self.was_sent(&note, verdicts);
            self.advance(note.position);
        }
    }

    /// A frame is with the kernel whole, and its recipients have it unless the connection breaks now.
    fn was_sent(&mut self, note: &Note, verdicts: &mut Verdicts) {
        let sent = note.sent.iter().map(|r| (note.position, r.clone()));
        verdicts.sent.extend(sent.clone());
        if matches!(self.phase, Phase::Owed(_)) {
            let written = self.written;
            let unheard = self.unheard.get_or_insert_default();
            unheard.extend(sent.map(|sent| (written, sent)));
            let over = unheard.len().saturating_sub(MAX_UNHEARD);
            unheard.drain(..over);
        }
    }

    /// What is owed comes from below the cursor and has a place of its own.
    fn advance(&mut self, reached: Position) {
        match &mut self.phase {
            Phase::Owed(done) => *done = reached.max(*done),
            _ => self.cursor = reached.max(self.cursor),
        }
    }

    /// Writes frames in one call; how many of them were taken whole. The frame that was cut is kept, what follows it is
    /// not.
    fn put(
        &mut self,
        run: &Run,
        note: impl Fn(&Viewer, usize) -> Option<Note>,
        verdicts: &mut Verdicts,
        now: Instant,
    ) -> usize {
        let Some(sink) = self.sink.as_mut() else {
            return 0;
        };
        debug_assert!(self.pending.is_none(), "a frame is half written");
        let taken = match sink.write(&run.bytes) {
            Ok(taken) => {
                self.written += taken as u64;
                taken
            }
            Err(error) if would_block(&error) => 0,
            Err(error) => {
                self.broke(&error);
                return 0;
            }
        };
        if taken == run.bytes.len() {
            return run.ends.len();
        }
        // One that could not even begin is kept all the same: it is what waits for the sink, and keeps the rest away.
        let whole = run.ends.partition_point(|end| *end <= taken);
        let end = run.ends.get(whole).copied().unwrap_or(run.bytes.len());
        self.pending = Some(Box::new(Pending {
            // A copy, so that one slow stream does not keep the whole run alive.
            rest: Bytes::copy_from_slice(&run.bytes[taken..end]),
            note: note(self.registration.viewer(), whole),
        }));
        self.stuck_since = Some(now);
        // The sink may have room again already; then there will be no further word from it.
        if taken > 0 {
            self.write_pending(verdicts, now);
        }
        whole
    }

    /// A sign of life, at a frame's boundary only. `live` carries the fan-out's place as its id, `bare` none.
    pub(crate) fn beat(&mut self, live: &Frame, bare: &Frame, fanned: Position, now: Instant) {
        self.hear(fanned, now);
        let talks = matches!(self.phase, Phase::Owed(_) | Phase::Behind | Phase::Live);
        if !talks || self.pending.is_some() || self.ending.is_some() {
            return;
        }
        let frame = if self.is_live() { live } else { bare };
        self.say(frame, now);
    }

    /// Looks at what the peer has acknowledged. Where that cannot be known, what is written counts as taken.
    fn hear(&mut self, fanned: Position, now: Instant) {
        let Some(sink) = self.sink.as_ref() else {
            return;
        };
        let queued = sink.unacknowledged().unwrap_or(0) as u64;
        let taken = self.written.saturating_sub(queued);
        if taken > self.heard.bytes || queued == 0 {
            self.heard = Heard {
                bytes: taken,
                at: now,
            };
        }
        if taken >= self.checkpoint.written {
            self.acknowledged = self.checkpoint.cursor.max(self.acknowledged);
            self.checkpoint = Checkpoint {
                written: self.written,
                cursor: self.cursor,
            };
        }
        self.hear_owed(taken);
        if queued == 0 {
            self.acknowledged = if self.is_live() {
                self.cursor.max(fanned)
            } else {
                self.cursor
            };
        }
    }

    /// Says its last word at the next frame's boundary, with the wait before the client comes back.
    pub(crate) fn end(&mut self, reason: Bye, retry: Duration, now: Timestamp) {
        if matches!(self.phase, Phase::Ended(_) | Phase::Over) || self.ending.is_some() {
            return;
        }
        self.end.get_or_insert(End::Said(reason));
        if self.phase == Phase::Admitted {
            self.phase = Phase::Over;
        } else {
            self.ending = Some(Box::new(Frame::bye(reason, retry, now)));
        }
    }

    /// The same for one that may be sent nothing more: where its socket takes nothing now, it is cut off without the word.
    pub(crate) fn end_at_once(&mut self, reason: Bye, retry: Duration, now: Timestamp) {
        self.end(reason, retry, now);
        if self.pending.is_some() {
            self.phase = Phase::Over;
        }
    }

    /// Whether its time has come, and why.
    pub(crate) fn lapsed(&self, now: Timestamp) -> Option<Bye> {
        (self.ends_at <= now).then_some(self.ends_because)
    }

    /// When it ends at the latest.
    pub(crate) fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// Whether its socket has taken nothing, or its client acknowledged nothing, for so long.
    pub(crate) fn stalled(&self, limit: Duration, now: Instant) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since) >= limit;
        self.stuck_since.is_some_and(silent)
            || matches!(self.phase, Phase::Ended(since) if now.saturating_duration_since(since) >= LINGER)
    }

    /// Whether its client has left bytes unacknowledged for so long: gone without a word, or asleep.
    pub(crate) fn unheard(&self, limit: Duration, now: Instant) -> bool {
        let queued = self.sink.as_ref().and_then(Sink::unacknowledged);
        let queued = queued.unwrap_or(0) as u64;
        self.stalled(limit, now)
            || (queued > 0
                && self.written.saturating_sub(queued) <= self.heard.bytes
                && now.saturating_duration_since(self.heard.at) >= limit)
    }

    /// Its sink is broken.
    fn broke(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.end.get_or_insert(End::Stalled);
        }
        self.phase = Phase::Over;
    }

    /// Drops it at the next `next`.
    pub(crate) fn abandon(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.phase = Phase::Over;
    }

    /// Why it has ended; if the hub had no reason to, its client did.
    pub(crate) fn why(&self) -> End {
        self.end.unwrap_or(End::Client)
    }

    /// Whether it is open and something for it is not written yet.
    pub(crate) fn is_behind(&self) -> bool {
        let open = matches!(self.phase, Phase::Owed(_) | Phase::Behind | Phase::Live);
        open && !self.is_live()
    }

    /// Whether it has this entry, or came with a cursor past it.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.phase != Phase::Admitted && self.cursor >= position
    }

    /// The place up to which its user has been served by it, if that has moved since it was last asked. What the peer
    /// has not acknowledged is left out.
    pub(crate) fn mark(&mut self) -> Option<Position> {
        self.sink.as_ref()?;
        let mark = self.acknowledged;
        (mark > self.marked).then(|| {
            self.marked = mark;
            mark
        })
    }

    /// The same at its end, when all that it wrote counts if nothing is left unacknowledged.
    pub(crate) fn last_mark(&mut self, fanned: Position, now: Instant) -> Option<Position> {
        self.hear(fanned, now);
        self.mark()
    }

    /// How much its peer has acknowledged. Where that cannot be known, all of it.
    fn taken(&self) -> u64 {
        let queued = self.sink.as_ref().and_then(Sink::unacknowledged);
        self.written.saturating_sub(queued.unwrap_or(0) as u64)
    }

    /// Forgets what was owed and has been acknowledged.
    fn hear_owed(&mut self, taken: u64) {
        let Some(unheard) = self.unheard.as_mut() else {
            return;
        };
        while unheard
            .pop_front_if(|(written, _)| *written <= taken)
            .is_some()
        {}
        if unheard.is_empty() {
            self.unheard = None;
        }
    }

    /// What was written to it and has not been acknowledged, after its end; whom that was for is for its owner to say.
    pub(crate) fn unacknowledged(&mut self) -> Option<Unacknowledged> {
        self.sink.as_ref()?;
        let unheard = self.unheard.take().unwrap_or_default();
        let owed: Vec<_> = unheard.into_iter().map(|(_, owed)| owed).collect();
        (self.acknowledged < self.cursor || !owed.is_empty()).then_some(Unacknowledged {
            recipients: Vec::new(),
            after: self.acknowledged,
            upto: self.cursor,
            owed,
        })
    }

    /// Whether its client has had, and acknowledged, everything between these two places.
    pub(crate) fn has_heard(
        &mut self,
        after: Position,
        upto: Position,
        fanned: Position,
        now: Instant,
    ) -> bool {
        self.hear(fanned, now);
        self.began <= after && self.acknowledged >= upto
    }

    /// What to do for it now.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.phase == Phase::Over {
            return Next::Close;
        }
        if self.pending.is_some() {
            return Next::Wait;
        }
        if let Some(bye) = self.ending.take() {
            self.last_word(&bye, now);
            return match self.phase {
                Phase::Over => Next::Close,
                _ => Next::Wait,
            };
        }
        if self.reading {
            return Next::Wait;
        }
        if self.phase == Phase::Live && self.missed > self.cursor {
            self.phase = Phase::Behind;
        }
        match self.phase {
            Phase::Owed(after) => {
                self.reading = true;
                Next::ReadOwed {
                    after,
                    upto: self.cursor,
                }
            }
            Phase::Behind => {
                self.reading = true;
                Next::ReadLog { after: self.cursor }
            }
            Phase::Live if self.recount => {
                self.reading = true;
                // What changes from here on is counted after the count that is asked for now.
                self.recount = false;
                Next::CountUnread
            }
            Phase::Admitted | Phase::Live | Phase::Ended(_) | Phase::Over => Next::Wait,
        }
    }

    fn last_word(&mut self, bye: &Frame, now: Instant) {
        let mut bytes = bye.bytes(self.naming, self.framing).to_vec();
        if self.framing == Framing::Chunked {
            bytes.extend_from_slice(sse::LAST_CHUNK);
        }
        self.put_alone(bytes.into(), now);
        match (self.phase, &self.pending) {
            (Phase::Over, _) => {}
            // No room even for this: whoever does not read does not hear it either.
            (_, Some(_)) => self.phase = Phase::Over,
            (_, None) => {
                if let Some(sink) = self.sink.as_mut() {
                    sink.finish();
                }
                self.phase = Phase::Ended(now);
            }
        }
    }
}
