//! What a stream's client is known to have: how much of what was written to it its peer has acknowledged, and which place
//! of the log that proves.
//!
//! Writing proves nothing: a machine that falls asleep takes bytes that it will never read. So a stream's user is marked as
//! served only up to what the peer's kernel has acknowledged, and what counted as sent when it was written is owed again at
//! the stream's end unless that was acknowledged. Here is bookkeeping alone; the sink is asked by the stream, and where it
//! cannot tell, what was written counts as acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::outlet::Receipt;
use crate::audience::Recipient;
use crate::log::Position;
use crate::store::Unacknowledged;

/// How much of what was owed is remembered until the peer has acknowledged it; what lies further back was written long
/// before.
const MAX_OWED: usize = 10_000;

#[derive(Debug)]
pub(super) struct Acknowledged {
    /// What the peer had acknowledged when it was last seen to acknowledge anything.
    heard: Heard,
    /// How far the stream was when what the peer is known to have acknowledged was written.
    upto: Position,
    /// What was owed from before and was written since then. Apart, because hardly any stream has some.
    owed: Option<Box<Owed>>,
    /// What is known of the peer once it has acknowledged so many bytes. One is taken at a time: a stream with steady traffic
    /// always has some on their way.
    checkpoint: Checkpoint,
    /// From here on it proves what its client has: from the start, if the client said itself where it stood.
    began: Position,
    /// The mark as last written to the store.
    marked: Position,
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

/// What was owed, the oldest first, each with how much had been written by then: it has no id from which a client could
/// prove that it came. At most [`MAX_OWED`].
type Owed = VecDeque<(u64, (Position, Recipient))>;

impl Acknowledged {
    pub(super) fn nothing(now: Instant) -> Self {
        Self {
            heard: Heard { bytes: 0, at: now },
            upto: Position::START,
            owed: None,
            checkpoint: Checkpoint {
                written: 0,
                cursor: Position::START,
            },
            began: Position::START,
            marked: Position::START,
        }
    }

    /// The stream goes on from `place`. What lies before it the client has if `proven`, by its own word; otherwise it may lack
    /// some.
    pub(super) fn begin(&mut self, place: Position, proven: bool, now: Instant) {
        self.heard.at = now;
        self.upto = place;
        self.marked = place;
        self.began = if proven { Position::START } else { place };
    }

    /// What was owed has been written whole, when `written` bytes were.
    pub(super) fn owes(&mut self, sent: impl Iterator<Item = (Position, Recipient)>, written: u64) {
        let owed = self.owed.get_or_insert_default();
        owed.extend(sent.map(|sent| (written, sent)));
        let over = owed.len().saturating_sub(MAX_OWED);
        owed.drain(..over);
    }

    /// The peer has acknowledged so much. The stream stands at `cursor`, and its client has `all` if nothing is left.
    pub(super) fn hear(&mut self, receipt: Receipt, cursor: Position, all: Position, now: Instant) {
        let Receipt {
            written,
            taken,
            queued,
        } = receipt;
        if taken > self.heard.bytes || queued == 0 {
            self.heard = Heard {
                bytes: taken,
                at: now,
            };
        }
        if taken >= self.checkpoint.written {
            self.upto = self.checkpoint.cursor.max(self.upto);
            self.checkpoint = Checkpoint { written, cursor };
        }
        self.hear_owed(receipt);
        if queued == 0 {
            self.upto = all;
        }
    }

    /// Forgets what was owed and has been acknowledged.
    pub(super) fn hear_owed(&mut self, receipt: Receipt) {
        let Some(owed) = self.owed.as_mut() else {
            return;
        };
        while owed
            .pop_front_if(|(written, _)| *written <= receipt.taken)
            .is_some()
        {}
        if owed.is_empty() {
            self.owed = None;
        }
    }

    /// Whether something is left, and the peer was last seen to acknowledge anything so long ago.
    pub(super) fn is_silent(&self, receipt: Receipt, limit: Duration, now: Instant) -> bool {
        receipt.queued > 0
            && receipt.taken <= self.heard.bytes
            && now.saturating_duration_since(self.heard.at) >= limit
    }

    /// The place up to which the client is known to have everything, if that has moved since it was last asked.
    pub(super) fn mark(&mut self) -> Option<Position> {
        let mark = self.upto;
        (mark > self.marked).then(|| {
            self.marked = mark;
            mark
        })
    }

    /// Whether it is known to have everything between these two places.
    pub(super) fn proves(&self, after: Position, upto: Position) -> bool {
        self.began <= after && self.upto >= upto
    }

    /// What was written up to `cursor` and is not acknowledged, at the stream's end; whom that was for is not known here.
    pub(super) fn lacking(&mut self, cursor: Position) -> Option<Unacknowledged> {
        let owed = self.owed.take().unwrap_or_default();
        let owed: Vec<_> = owed.into_iter().map(|(_, owed)| owed).collect();
        (self.upto < cursor || !owed.is_empty()).then_some(Unacknowledged {
            recipients: Vec::new(),
            after: self.upto,
            upto: cursor,
            owed,
        })
    }
}
