//! Where a stream's bytes go: a socket that the hub owns, or a pipe into somebody else's HTTP server.
//!
//! Both are written without waiting, and both say when they take bytes again: the socket through the poll, the pipe
//! through its waker. So the rest of the hub sees one kind of stream. What "taken" means differs: a socket's bytes are
//! with the kernel, a pipe's (at most [`PIPE_BYTES`]) with the server at its other end. If that is the hub's own, it tells what
//! the peer has acknowledged ([`Receipts`]); otherwise what was taken counts as acknowledged.

mod receipts;

pub(crate) use self::receipts::{Receipts, Wire};

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

/// What a pipe holds before it is full.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// Where a stream's bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A TCP socket, non-blocking, owned, and its share of the sockets that may be open.
    Socket {
        socket: mio::net::TcpStream,
        /// Kept for its end: given back when the socket is closed.
        _share: Option<OwnedSemaphorePermit>,
    },
    /// The writing half of a pipe whose other half is an HTTP body. Apart, because a socket is so much smaller.
    Pipe(Box<Pipe>),
}

/// The writing half of an in-memory pipe, and who is told when it moves.
#[derive(Debug)]
pub(crate) struct Pipe {
    half: DuplexStream,
    waker: Waker,
    /// Bytes written, ever.
    written: u64,
    receipts: Arc<Receipts>,
}

/// What reading a sink shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing: the client listens.
    Silence,
    /// Bytes, which a client of an event stream has no business to send.
    Bytes,
    /// The client is gone.
    Gone,
    /// The client has taken, or acknowledged, nothing for too long.
    TimedOut,
}

impl Pipe {
    /// `on_progress` is told whenever the pipe takes bytes again, or its other half is dropped.
    pub(crate) fn new(
        half: DuplexStream,
        receipts: Arc<Receipts>,
        on_progress: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        struct Progress<F>(F);
        impl<F: Fn() + Send + Sync> Wake for Progress<F> {
            fn wake(self: Arc<Self>) {
                (self.0)();
            }
        }
        Self {
            half,
            waker: Waker::from(Arc::new(Progress(on_progress))),
            written: 0,
            receipts,
        }
    }
}

impl Sink {
    /// Writes what it takes at once.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it takes nothing; anything else when it is broken, [`io::ErrorKind::TimedOut`] if that is
    /// because the client took nothing for too long.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket { socket, .. } => loop {
                match socket.write(bytes) {
                    // By a signal: that is no word on whether it takes bytes, and there will be none from the poll.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    written => return written,
                }
            },
            Self::Pipe(pipe) => {
                let mut context = Context::from_waker(&pipe.waker);
                match Pin::new(&mut pipe.half).poll_write(&mut context, bytes) {
                    Poll::Ready(Ok(written)) => {
                        pipe.written += written as u64;
                        Ok(written)
                    }
                    Poll::Ready(Err(_)) if pipe.receipts.timed_out() => {
                        Err(io::ErrorKind::TimedOut.into())
                    }
                    Poll::Ready(broken) => broken,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Looks at what the client does, without waiting.
    pub(crate) fn listen(&mut self) -> Heard {
        let mut buffer = [0u8; 256];
        let read = match self {
            Self::Socket { socket, .. } => socket.read(&mut buffer),
            Self::Pipe(pipe) => {
                let mut context = Context::from_waker(&pipe.waker);
                let mut buffer = ReadBuf::new(&mut buffer);
                match Pin::new(&mut pipe.half).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(read) => read.map(|()| buffer.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        };
        match read {
            Ok(0) if self.timed_out() => Heard::TimedOut,
            Ok(0) => Heard::Gone,
            Ok(_) => Heard::Bytes,
            Err(error) if would_block(&error) => Heard::Silence,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Heard::TimedOut,
            Err(_) => Heard::Gone,
        }
    }

    /// Whether a pipe's end is that of a connection whose client took nothing for too long. A socket says so itself.
    fn timed_out(&self) -> bool {
        matches!(self, Self::Pipe(pipe) if pipe.receipts.timed_out())
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        // A peer that has gone already has nothing to be told.
        match self {
            Self::Socket { socket, .. } => {
                let _ = socket.shutdown(Shutdown::Write);
            }
            Self::Pipe(pipe) => {
                let mut context = Context::from_waker(&pipe.waker);
                let _ = Pin::new(&mut pipe.half).poll_shutdown(&mut context);
            }
        }
    }

    /// Whether the peer's kernel has everything, the end included. Not told of a pipe, whose other half goes when its server
    /// has taken the end.
    pub(crate) fn is_through(&self) -> bool {
        // The kernel counts the end as a byte of its queue.
        matches!(self, Self::Socket { socket, .. } if send_queue(socket) == Some(0))
    }

    /// How many bytes the peer has not acknowledged; none where that cannot be known.
    pub(crate) fn unacknowledged(&self) -> Option<usize> {
        match self {
            Self::Socket { socket, .. } => send_queue(socket),
            Self::Pipe(pipe) => {
                let acknowledged = pipe.receipts.acknowledged()?;
                usize::try_from(pipe.written.saturating_sub(acknowledged)).ok()
            }
        }
    }
}

/// Whether the error only means "later".
pub(crate) fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// SIOCOUTQ: bytes in the send queue, sent or not, that the peer has not acknowledged (tcp(7)).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn send_queue(socket: &impl AsFd) -> Option<usize> {
    let mut queued: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and TIOCOUTQ (the same number as SIOCOUTQ)
    // writes one int through the pointer, which outlives the call. No safe wrapper of this request is at hand.
    let outcome = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::TIOCOUTQ,
            std::ptr::from_mut(&mut queued),
        )
    };
    (outcome == 0).then(|| usize::try_from(queued).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn send_queue(_socket: &impl AsFd) -> Option<usize> {
    None
}
