//! What the peer at the far end of a pipe has acknowledged.
//!
//! The kernel tells of a socket how much of what it was given is not acknowledged yet. Between a stream's pipe and a socket
//! that speaks TLS stand HTTP and TLS, which change every byte and hold some back, so the stream's own bytes cannot be found
//! again in what the kernel holds. But it can be known when nothing is held back: when the connection's task has worked to
//! its end and the socket took all that it had. From then on what was handed over before is with the kernel, and
//! acknowledged once the kernel's queue has come past it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::net::TcpStream;

use super::send_queue;

/// A connection's socket, and how far its task has come in writing to it.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Arc<TcpStream>,
    progress: Mutex<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Bytes that the kernel took, ever.
    written: u64,
    /// The last write was not taken whole.
    blocked: bool,
    /// Nothing more is written. The kernel counts that as a byte of its queue.
    shut: bool,
    /// It broke because the peer took, or acknowledged, nothing for too long.
    timed_out: bool,
    /// How often the task has begun to work.
    begun: u64,
    /// The last time of these after which nothing was held back, and how much was written by then.
    settled: Mark,
}

/// How much of one stream's bytes the peer has acknowledged. Its pipe's two ends share it.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    wire: OnceLock<Arc<Wire>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of the stream that were handed to the connection, ever; and the work after which they are with the kernel.
    handed: Mark,
    /// Some of them that are with the kernel; and how much had been written to it by then.
    with_kernel: Option<Mark>,
    acknowledged: u64,
}

/// So many bytes, and a point at which that holds.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    bytes: u64,
    at: u64,
}

impl Wire {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Arc<Self> {
        let progress = Mutex::default();
        Arc::new(Self { socket, progress })
    }

    /// The kernel took so many bytes.
    pub(crate) fn took(&self, bytes: usize) {
        let mut progress = lock(&self.progress);
        progress.written += bytes as u64;
        progress.blocked = false;
    }

    /// The kernel took nothing.
    pub(crate) fn blocked(&self) {
        lock(&self.progress).blocked = true;
    }

    /// Nothing more is written.
    pub(crate) fn shut(&self) {
        lock(&self.progress).shut = true;
    }

    /// The connection is broken.
    pub(crate) fn broke(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            lock(&self.progress).timed_out = true;
        }
    }

    /// Whether that was because the peer took, or acknowledged, nothing for too long.
    pub(crate) fn has_timed_out(&self) -> bool {
        lock(&self.progress).timed_out
    }

    /// The connection's task begins to work.
    pub(crate) fn begin(&self) {
        lock(&self.progress).begun += 1;
    }

    /// It has done what there was to do, and waits for more.
    pub(crate) fn pause(&self) {
        let mut progress = lock(&self.progress);
        if !progress.blocked {
            progress.settled = Mark {
                bytes: progress.written,
                at: progress.begun,
            };
        }
    }

    /// How far it has come, and how much of what was written the peer has acknowledged; none where the kernel does not tell.
    fn look(&self) -> Option<(Progress, u64)> {
        // In this order: what is written meanwhile is in the queue and does not count.
        let progress = *lock(&self.progress);
        let queued = send_queue(&*self.socket)? as u64;
        let queued = queued.saturating_sub(u64::from(progress.shut));
        Some((progress, progress.written.saturating_sub(queued)))
    }
}

impl Receipts {
    /// Says by which connection the stream goes.
    pub(crate) fn follow(&self, wire: &Arc<Wire>) {
        // There is one, and it is said once.
        let _ = self.wire.set(Arc::clone(wire));
    }

    /// Whether the connection broke because the peer took, or acknowledged, nothing for too long.
    pub(super) fn timed_out(&self) -> bool {
        self.wire.get().is_some_and(|wire| wire.has_timed_out())
    }

    /// Bytes were handed to the connection by its task, which writes them before it pauses.
    pub(crate) fn handed_within(&self, bytes: usize) {
        self.handed(bytes, 0);
    }

    /// Bytes were handed to the connection by another task: they are written when its own has worked once more.
    pub(crate) fn handed_beside(&self, bytes: usize) {
        self.handed(bytes, 1);
    }

    fn handed(&self, bytes: usize, later: u64) {
        let begun = self.wire.get().map(|wire| lock(&wire.progress).begun);
        let mut state = lock(&self.state);
        state.handed.bytes += bytes as u64;
        state.handed.at = begun.unwrap_or(0) + later;
    }

    /// How many bytes are acknowledged; none where nobody can tell.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        let (Progress { settled, .. }, taken) = self.wire.get()?.look()?;
        let mut state = lock(&self.state);
        if let Some(mark) = state.with_kernel.take_if(|mark| mark.at <= taken) {
            state.acknowledged = mark.bytes;
        }
        if state.handed.at <= settled.at {
            let bytes = state.handed.bytes;
            if settled.bytes <= taken {
                state.with_kernel = None;
                state.acknowledged = bytes;
            } else {
                let at = settled.bytes;
                state.with_kernel.get_or_insert(Mark { bytes, at });
            }
        }
        Some(state.acknowledged)
    }
}

/// Nobody panics while holding it: there is nothing in there but numbers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
