//! What the peer at the far end of a pipe has acknowledged.
//!
//! The kernel tells of a socket how much of what it was given is not acknowledged yet. Between a stream's pipe and a socket
//! that speaks TLS stand HTTP and TLS, which change every byte and hold some back, so the stream's own bytes cannot be found
//! again in what the kernel holds. But it can be known when nothing is held back: when the connection's task has worked to
//! its end and the socket took all that it had. From then on what was handed over before is with the kernel, and
//! acknowledged once the kernel's queue has come past it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::net::TcpStream;

use super::send_queue;

/// A connection's socket, and how far its task has come in writing to it.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Arc<TcpStream>,
    /// Bytes that the kernel took, ever.
    written: AtomicU64,
    /// The last write was not taken whole.
    blocked: AtomicBool,
    /// How often the task has begun to work.
    begun: AtomicU64,
    /// The last of these after which nothing was held back.
    settled: AtomicU64,
}

/// How much of one stream's bytes the peer has acknowledged. Its pipe's two ends share it.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    wire: OnceLock<Arc<Wire>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were handed to the connection, ever, and the work at whose end they are with the kernel.
    handed: Mark,
    /// Some of them that are with the kernel, and how much the kernel had been given by then.
    with_kernel: Option<Mark>,
    acknowledged: u64,
}

/// So many bytes of a stream, up to some point of its connection.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    bytes: u64,
    at: u64,
}

impl Wire {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            settled: AtomicU64::new(0),
        })
    }

    /// The kernel took so many bytes.
    pub(crate) fn took(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Release);
        self.blocked.store(false, Ordering::Release);
    }

    /// The kernel took nothing.
    pub(crate) fn blocked(&self) {
        self.blocked.store(true, Ordering::Release);
    }

    /// The connection's task begins to work.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// It has done what there was to do.
    pub(crate) fn pause(&self) {
        if !self.blocked.load(Ordering::Acquire) {
            let begun = self.begun.load(Ordering::Acquire);
            self.settled.store(begun, Ordering::Release);
        }
    }
}

impl Receipts {
    /// Says by which connection the stream goes.
    pub(crate) fn follow(&self, wire: &Arc<Wire>) {
        // There is one, and it is said once.
        let _ = self.wire.set(Arc::clone(wire));
    }

    /// Bytes were handed to the connection while its task works, and will be written before that pauses.
    pub(crate) fn handed_within(&self, bytes: usize) {
        self.handed(bytes, 0);
    }

    /// Bytes were handed to the connection from outside of its task: it will have seen them all when it has worked next.
    pub(crate) fn handed_beside(&self, bytes: usize) {
        self.handed(bytes, 1);
    }

    fn handed(&self, bytes: usize, later: u64) {
        let begun = self
            .wire
            .get()
            .map(|wire| wire.begun.load(Ordering::Acquire));
        let mut state = self.lock();
        state.handed.bytes += bytes as u64;
        state.handed.at = begun.unwrap_or(0) + later;
    }

    /// How many bytes are acknowledged; none where nobody can tell.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        let wire = self.wire.get()?;
        // In this order: what has settled by now is part of what was written by then, and of what the queue holds or not.
        let settled = wire.settled.load(Ordering::Acquire);
        let written = wire.written.load(Ordering::Acquire);
        let queued = send_queue(&*wire.socket)? as u64;
        let taken = written.saturating_sub(queued);
        let mut state = self.lock();
        if state.with_kernel.is_some_and(|mark| mark.at <= taken) {
            let mark = state.with_kernel.take();
            state.acknowledged = mark.map_or(0, |mark| mark.bytes);
        }
        if state.handed.at <= settled {
            if queued == 0 {
                state.with_kernel = None;
                state.acknowledged = state.handed.bytes;
            } else if state.with_kernel.is_none() {
                let bytes = state.handed.bytes;
                state.with_kernel = Some(Mark { bytes, at: written });
            }
        }
        Some(state.acknowledged)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
