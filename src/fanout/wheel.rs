//! What time demands of streams: heartbeats, marks, ends, and the sweep of those that take nothing.
//!
//! One wheel turns once in a heartbeat's time, a tick every 100 ms. Each slot has its own spoke, so heartbeats are spread
//! out evenly over all streams and nothing is kept for it. Ends are in order of their time; nothing waits for the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::table::Table;
use crate::clock::Timestamp;
use crate::registry::Slot;
use crate::sse::{Bye, Frame};
use crate::stream::End;

/// How finely heartbeats and ends are spread over time.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How long a page that could not be read waits before it is asked for again.
const REREAD: Duration = Duration::from_secs(1);
/// The most streams for which one tick has counted what is unread.
const COUNTS_PER_TICK: usize = 200;
/// How many counts a tick adds to those that may be asked for. A count costs up to 90 µs of a reader's time (with 500 to
/// 1,000 unread), so a stream of news for everybody keeps a reader busy for a twentieth of it at most.
const COUNTS_EARNED: usize = 50;
/// As many may be saved up: what is new for so many streams at once is counted within a second.
pub(super) const COUNTS_SAVED: usize = 2_000;
/// How many heartbeats pass between two writings of a stream's mark: 60 s at the default of 15 s.
const BEATS_PER_MARK: u64 = 4;

impl Table {
    /// One tick.
    pub(super) fn tick(&mut self, now: Instant) {
        self.tick += 1;
        let wall = Timestamp::now();
        self.beat(now, wall);
        self.count_unread();
        while let Some((_, address)) = self.ends.first().copied().filter(|(end, _)| *end <= wall) {
            self.ends.pop_first();
            let retry = self.retry();
            self.with_address(address, |stream, _| {
                match stream.lapsed(wall) {
                    // Whoever may be sent nothing more does not get to choose when to read the rest.
                    Some(Bye::TokenExpired) => stream.end_at_once(Bye::TokenExpired, retry, wall),
                    Some(reason) => stream.end(reason, retry, wall),
                    None => {}
                }
            });
        }
        if self.tick.is_multiple_of(ticks(REREAD)) {
            for address in std::mem::take(&mut self.reread) {
                self.with_address(address, |stream, _| stream.not_read());
            }
        }
        // While draining, those that have had their last word are all that is waited for.
        if self.draining || self.tick.is_multiple_of(ticks(self.parts.settings.sweep)) {
            self.sweep(now);
        }
    }

    /// Lets go of who takes nothing any more, and of who has everything and does not hang up.
    fn sweep(&mut self, now: Instant) {
        let limit = self.parts.settings.idle_limit;
        for slot in 0..self.slots() {
            self.with(slot, None, |stream, _| {
                if stream.is_through() || stream.stalled(limit, now) {
                    stream.abandon(End::Stalled);
                }
            });
        }
    }

    /// Has those counted who were given something new for their inbox, the longest waiting first. One count for each
    /// stream and tick at most, however much was new.
    fn count_unread(&mut self) {
        let due = self.uncounted.len().min(COUNTS_PER_TICK);
        let due = due.min(self.counts);
        self.counts = (self.counts - due + COUNTS_EARNED).min(COUNTS_SAVED);
        for address in self.uncounted.drain(..due).collect::<Vec<_>>() {
            self.with_address(address, |stream, _| stream.count_now());
        }
    }

    /// The heartbeats of this tick: each slot has its own in the round, so they are spread out evenly.
    fn beat(&mut self, now: Instant, wall: Timestamp) {
        let wheel = ticks(self.parts.settings.heartbeat);
        let (turn, spoke) = (self.tick / wheel, self.tick % wheel);
        let mut frames: Option<(Frame, Frame)> = None;
        let mut behind = 0;
        let step = usize::try_from(wheel).unwrap_or(usize::MAX);
        for index in (usize::try_from(spoke).unwrap_or(0)..self.streams.len()).step_by(step) {
            let Some(Some(stream)) = self.streams.get_mut(index) else {
                continue;
            };
            let (live, bare) = frames.get_or_insert_with(|| {
                let id = self.parts.epoch.event_id(self.fanned).to_string();
                (
                    Frame::heartbeat(Some(id), wall),
                    Frame::heartbeat(None, wall),
                )
            });
            stream.beat(live, bare, self.fanned, now);
            behind += u32::from(stream.is_behind());
            if turn % BEATS_PER_MARK == index as u64 % BEATS_PER_MARK
                && let Some(mark) = stream.mark()
            {
                let user = Arc::clone(&stream.registration().viewer().user);
                self.verdicts.marks.push((user, mark));
            }
            self.follow(Slot::try_from(index).unwrap_or(Slot::MAX), now);
        }
        self.note_behind(usize::try_from(spoke).unwrap_or(0), step, behind);
    }

    /// Counts the streams that are behind, a spoke at a time: looking at all of them at once would hold up deliveries.
    fn note_behind(&mut self, spoke: usize, spokes: usize, behind: u32) {
        let (by_spoke, all) = &mut self.behind;
        by_spoke.resize(spokes, 0);
        let before = std::mem::replace(&mut by_spoke[spoke], behind);
        *all = *all + u64::from(behind) - u64::from(before);
        self.parts.counters.behind.store(*all, Ordering::Relaxed);
    }
}

/// How many ticks make up a time, at least one.
pub(super) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / TICK.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
