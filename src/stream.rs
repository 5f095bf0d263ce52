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

mod acknowledged;
mod count;
mod end;
mod frames;
mod outlet;

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::acknowledged::Acknowledged;
use self::count::Count;
pub(crate) use self::end::End;
pub(crate) use self::frames::{Note, Run, ServedPage};
use self::outlet::{Outlet, Put};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::registry::Registration;
use crate::sink::{self, Sink};
use crate::sse::{self, Bye, Frame, Framing, Naming};
use crate::store::{Unacknowledged, Verdicts, Viewer};

/// How long an ended stream waits for its client to close, or to have everything, so that what was written last is not torn
/// away by a reset.
const LINGER: Duration = Duration::from_secs(5);

/// One open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    registration: Registration,
    /// None until its response head is written.
    outlet: Option<Outlet>,
    pub(crate) naming: Naming,
    pub(crate) framing: Framing,
    phase: Phase,
    /// Everything for this stream at or below is written (or was owed, and comes without an id).
    cursor: Position,
    /// Entries in its audience went by while it was not live: they are in the log after the cursor.
    missed: Position,
    /// A page of the log, or a count, has been asked for and has not come.
    reading: bool,
    count: Count,
    acknowledged: Acknowledged,
    ends_at: Timestamp,
    ends_because: Bye,
    ending: Option<Box<Frame>>,
    /// Why it ends, once the hub has decided that it does.
    end: Option<End>,
    /// Tells this stream from earlier ones in the same slot.
    pub(crate) serial: u32,
}

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
            outlet: None,
            naming,
            framing: Framing::UntilClose,
            phase: Phase::Admitted,
            cursor: Position::START,
            missed: Position::START,
            reading: false,
            count: Count::new(),
            acknowledged: Acknowledged::nothing(now),
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
        self.outlet.as_mut().map(Outlet::sink_mut)
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
        self.outlet = Some(Outlet::new(sink));
        self.framing = framing;
        self.cursor = opening.place;
        self.acknowledged.begin(opening.place, opening.proven, now);
        self.count.begin(opening.counted);
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
        self.phase == Phase::Live && self.missed <= self.cursor && self.at_boundary()
    }

    /// Whether a frame may begin, as far as what was written goes.
    fn at_boundary(&self) -> bool {
        self.outlet.as_ref().is_none_or(Outlet::at_boundary)
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
            self.count.offered();
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
        if self.ending.is_some() || !self.at_boundary() {
            return;
        }
        if owed && let Some(outlet) = &self.outlet {
            self.acknowledged.hear_owed(outlet.receipt());
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
        if page.run.inbox {
            self.count.read(page.covers);
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

    /// Something in its user's inbox was read or withdrawn: the client is told once the stream is live.
    pub(crate) fn inbox_changed(&mut self) {
        self.count.again();
    }

    /// Whether its owner has to give it a turn to be counted; says so once until that has come.
    pub(crate) fn became_uncounted(&mut self) -> bool {
        self.count.wants_turn()
    }

    /// Its turn has come: the client is told the count once the stream is live.
    pub(crate) fn count_now(&mut self) {
        self.count.turn();
    }

    /// Tells its client what was counted, unless it has fallen behind meanwhile: then it is counted again.
    pub(crate) fn tell_unread(&mut self, status: &Frame, now: Instant) {
        self.reading = false;
        if self.is_live() && self.ending.is_none() {
            self.say(status, now);
        } else {
            self.count.again();
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
        match self.outlet.as_mut().map(Outlet::listen) {
            None | Some(sink::Heard::Silence) => {}
            // Whoever writes into an event stream is not speaking this protocol. After the last word it is no matter.
            Some(sink::Heard::Bytes) if matches!(self.phase, Phase::Ended(_)) => {}
            Some(sink::Heard::Bytes | sink::Heard::Gone) => {
                self.phase = Phase::Over;
                return;
            }
            Some(sink::Heard::TimedOut) => return self.abandon(End::Stalled),
        }
        if let Some(outlet) = self.outlet.as_mut() {
            let finished = outlet.finish(now);
            self.finished(finished, verdicts);
        }
    }

    /// The frame that was cut has been written whole, if this is its note; or the sink broke over it.
    fn finished(&mut self, finished: io::Result<Option<Note>>, verdicts: &mut Verdicts) {
        match finished {
            Ok(Some(note)) => {
                self.was_sent(&note, verdicts);
                self.advance(note.position);
            }
            Ok(None) => {}
            Err(error) => self.broke(&error),
        }
    }

    /// A frame is with the kernel whole, and its recipients have it unless the connection breaks now.
    fn was_sent(&mut self, note: &Note, verdicts: &mut Verdicts) {
        let sent = note.sent.iter().map(|r| (note.position, r.clone()));
        verdicts.sent.extend(sent.clone());
        if let (Phase::Owed(_), Some(outlet)) = (self.phase, &self.outlet) {
            self.acknowledged.owes(sent, outlet.written());
        }
    }

    /// What is owed comes from below the cursor and has a place of its own.
    fn advance(&mut self, reached: Position) {
        match &mut self.phase {
            Phase::Owed(done) => *done = reached.max(*done),
            _ => self.cursor = reached.max(self.cursor),
        }
    }

    /// Writes frames in one call; how many of them were taken whole.
    fn put(
        &mut self,
        run: &Run,
        note: impl Fn(&Viewer, usize) -> Option<Note>,
        verdicts: &mut Verdicts,
        now: Instant,
    ) -> usize {
        let Some(outlet) = self.outlet.as_mut() else {
            return 0;
        };
        let viewer = self.registration.viewer();
        match outlet.put(run, |index| note(viewer, index), now) {
            Ok(Put { whole, next }) => {
                self.finished(next, verdicts);
                whole
            }
            Err(error) => {
                self.broke(&error);
                0
            }
        }
    }

    /// A sign of life, at a frame's boundary only. `live` carries the fan-out's place as its id, `bare` none.
    pub(crate) fn beat(&mut self, live: &Frame, bare: &Frame, fanned: Position, now: Instant) {
        self.hear(fanned, now);
        let talks = matches!(self.phase, Phase::Owed(_) | Phase::Behind | Phase::Live);
        if !talks || !self.at_boundary() || self.ending.is_some() {
            return;
        }
        let frame = if self.is_live() { live } else { bare };
        self.say(frame, now);
    }

    /// Looks at what the peer has acknowledged. Where that cannot be known, what is written counts as taken.
    fn hear(&mut self, fanned: Position, now: Instant) {
        let Some(outlet) = self.outlet.as_ref() else {
            return;
        };
        let receipt = outlet.receipt();
        let all = if self.is_live() {
            self.cursor.max(fanned)
        } else {
            self.cursor
        };
        self.acknowledged.hear(receipt, self.cursor, all, now);
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
        if !self.at_boundary() {
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

    /// Whether its last word is said and the client's machine has it, with the end: there is nothing more to wait for.
    pub(crate) fn is_through(&self) -> bool {
        let ended = matches!(self.phase, Phase::Ended(_));
        ended && self.outlet.as_ref().is_some_and(Outlet::is_through)
    }

    /// Whether its socket has taken nothing, or its client acknowledged nothing, for so long.
    pub(crate) fn stalled(&self, limit: Duration, now: Instant) -> bool {
        let lingers = matches!(self.phase, Phase::Ended(since) if now.saturating_duration_since(since) >= LINGER);
        lingers
            || self
                .outlet
                .as_ref()
                .is_some_and(|outlet| outlet.is_stuck(limit, now))
    }

    /// Whether its client has left bytes unacknowledged for so long: gone without a word, or asleep.
    pub(crate) fn unheard(&self, limit: Duration, now: Instant) -> bool {
        let silent = |outlet: &Outlet| self.acknowledged.is_silent(outlet.receipt(), limit, now);
        self.stalled(limit, now) || self.outlet.as_ref().is_some_and(silent)
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
        self.outlet.as_ref()?;
        self.acknowledged.mark()
    }

    /// The same at its end, when all that it wrote counts if nothing is left unacknowledged.
    pub(crate) fn last_mark(&mut self, fanned: Position, now: Instant) -> Option<Position> {
        self.hear(fanned, now);
        self.mark()
    }

    /// What was written to it and has not been acknowledged, after its end; whom that was for is for its owner to say.
    pub(crate) fn unacknowledged(&mut self) -> Option<Unacknowledged> {
        self.outlet.as_ref()?;
        self.acknowledged.lacking(self.cursor)
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
        self.acknowledged.proves(after, upto)
    }

    /// What to do for it now.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.phase == Phase::Over {
            return Next::Close;
        }
        if !self.at_boundary() {
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
            Phase::Live => {
                self.reading = self.count.take_due();
                if self.reading {
                    Next::CountUnread
                } else {
                    Next::Wait
                }
            }
            Phase::Admitted | Phase::Ended(_) | Phase::Over => Next::Wait,
        }
    }

    fn last_word(&mut self, bye: &Frame, now: Instant) {
        let mut bytes = bye.bytes(self.naming, self.framing).to_vec();
        if self.framing == Framing::Chunked {
            bytes.extend_from_slice(sse::LAST_CHUNK);
        }
        self.put_alone(bytes.into(), now);
        match (self.phase, self.outlet.as_mut()) {
            (Phase::Over, _) => {}
            (_, Some(outlet)) if outlet.at_boundary() => {
                outlet.close();
                self.phase = Phase::Ended(now);
            }
            // No room even for this: whoever does not read does not hear it either.
            _ => self.phase = Phase::Over,
        }
    }
}
