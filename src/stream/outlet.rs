//! What a stream writes to: its sink, and the frame of which only a part is there yet.
//!
//! At most one frame is partly written, and its rest goes before anything else: this is the only place that holds a sink, and
//! it takes frames only at a frame's boundary.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Note, Run};
use crate::sink::{Heard, Sink, would_block};

#[derive(Debug)]
pub(super) struct Outlet {
    sink: Sink,
    /// Apart, because hardly any stream has one.
    cut: Option<Box<Cut>>,
    /// Since when the sink takes nothing.
    stuck_since: Option<Instant>,
    /// Bytes handed to the sink, ever.
    written: u64,
}

/// A frame whose first bytes are with the kernel: the rest must follow before anything else.
#[derive(Debug)]
struct Cut {
    rest: Bytes,
    note: Option<Note>,
}

/// What came of frames that were put.
pub(super) struct Put {
    /// So many of them were taken whole in one call. The next is kept, what follows it is not.
    pub(super) whole: usize,
    /// The note of that next one, if the sink took its rest right away; or how the sink broke over it.
    pub(super) next: io::Result<Option<Note>>,
}

/// How much was handed to the sink, and how much of that the peer has acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) written: u64,
    pub(super) taken: u64,
    /// What is left in the socket: of this stream's own, or still of the response head before it.
    pub(super) queued: u64,
}

impl Outlet {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            cut: None,
            stuck_since: None,
            written: 0,
        }
    }

    pub(super) fn sink_mut(&mut self) -> &mut Sink {
        &mut self.sink
    }

    /// Whether a frame may begin.
    pub(super) fn at_boundary(&self) -> bool {
        self.cut.is_none()
    }

    /// Writes frames in one call; only at a frame's boundary. `note` is asked for that of the frame that was cut.
    ///
    /// # Errors
    /// If the sink is broken, and took nothing.
    pub(super) fn put(
        &mut self,
        run: &Run,
        note: impl FnOnce(usize) -> Option<Note>,
        now: Instant,
    ) -> io::Result<Put> {
        debug_assert!(self.at_boundary(), "a frame is half written");
        let taken = match self.sink.write(&run.bytes) {
            Ok(taken) => taken,
            Err(error) if would_block(&error) => 0,
            Err(error) => return Err(error),
        };
        self.written += taken as u64;
        if taken == run.bytes.len() {
            return Ok(Put {
                whole: run.ends.len(),
                next: Ok(None),
            });
        }
        // One that could not even begin is kept all the same: it is what waits for the sink, and keeps the rest away.
        let whole = run.ends.partition_point(|end| *end <= taken);
        let end = run.ends.get(whole).copied().unwrap_or(run.bytes.len());
        self.cut = Some(Box::new(Cut {
            // A copy, so that one slow stream does not keep the whole run alive.
            rest: Bytes::copy_from_slice(&run.bytes[taken..end]),
            note: note(whole),
        }));
        self.stuck_since = Some(now);
        // The sink may have room again already; then there will be no further word from it.
        let next = if taken > 0 {
            self.finish(now)
        } else {
            Ok(None)
        };
        Ok(Put { whole, next })
    }

    /// Writes the rest of the frame that was cut, if there is one; its note, once it is written whole.
    ///
    /// # Errors
    /// If the sink is broken.
    pub(super) fn finish(&mut self, now: Instant) -> io::Result<Option<Note>> {
        let Some(mut cut) = self.cut.take() else {
            self.stuck_since = None;
            return Ok(None);
        };
        while !cut.rest.is_empty() {
            match self.sink.write(&cut.rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.written += taken as u64;
                    let _ = cut.rest.split_to(taken);
                    self.stuck_since = None;
                }
                Err(error) if would_block(&error) => {
                    self.stuck_since.get_or_insert(now);
                    self.cut = Some(cut);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        self.stuck_since = None;
        Ok(cut.note)
    }

    /// Looks at what the client does, without waiting.
    pub(super) fn listen(&mut self) -> Heard {
        self.sink.listen()
    }

    /// Says that nothing more comes.
    pub(super) fn close(&mut self) {
        self.sink.finish();
    }

    /// Whether the peer's kernel has everything, the end that was said included.
    pub(super) fn is_through(&self) -> bool {
        self.sink.is_through()
    }

    /// How many bytes were handed to the sink, ever.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Where it cannot be known what the peer has acknowledged, it is what was written.
    pub(super) fn receipt(&self) -> Receipt {
        let queued = self.sink.unacknowledged().unwrap_or(0) as u64;
        Receipt {
            written: self.written,
            taken: self.written.saturating_sub(queued),
            queued,
        }
    }

    /// Whether the sink has taken nothing for so long.
    pub(super) fn is_stuck(&self, limit: Duration, now: Instant) -> bool {
        self.stuck_since
            .is_some_and(|since| now.saturating_duration_since(since) >= limit)
    }
}
