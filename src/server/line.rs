//! Who asks for a stream waits in line before an HTTP server is made for them.
//!
//! After a restart all clients are back within a second, and nearly all of them wait for their turn to be opened. A connection
//! that hyper serves holds its buffers meanwhile, and the router's half of a request: with 10,000 of them that is memory
//! which no stream ever needs again, and every byte of it has to be fetched from afar when the turn comes. So the first
//! request of a new connection is looked at where it lies, in the kernel's buffer. If it is there whole and asks for a
//! stream, its connection waits here, as a task and a socket.
//!
//! This decides nothing but where somebody waits. The request is read, and the caller checked, by those who always do;
//! whatever is not recognised here (a head in pieces, a second request, TLS) takes its turn when it comes to subscribe. A
//! turn that was taken here and is not used soon goes to the next: a client could make itself slow to be checked.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::http::STREAM_PATH;
use crate::hub::{Hub, TakenTurn};

/// How long a turn may be held before it is used. What lies between is the parsing of a head and the check of a token.
pub(super) const UNUSED: Duration = Duration::from_millis(250);
/// The longest head that is recognised, in bytes.
const MAX_HEAD: usize = 4_096;

/// The line's end, at the door.
pub(super) struct Line {
    hub: Hub,
    alias: Option<String>,
    /// How long a client may take to begin its first request.
    first_byte: Duration,
}

/// What a client whose first bytes have come gets.
pub(super) enum First {
    /// It wants a stream, and it is its turn.
    Turn(TakenTurn),
    /// Whatever it wants: the hub stops, or there is no line for it here.
    Other,
    /// It has said nothing.
    Silent,
}

impl Line {
    pub(super) fn new(hub: Hub, alias: Option<String>, first_byte: Duration) -> Self {
        Self {
            hub,
            alias,
            first_byte,
        }
    }

    /// Waits for a client's first request, and, if it asks for a stream, for its turn.
    pub(super) async fn first(&self, socket: &TcpStream, draining: &CancellationToken) -> First {
        let looking = poll_fn(|context| self.look(socket, context));
        let asks_for_stream = tokio::select! {
            biased;
            asks = looking => asks,
            () = draining.cancelled() => return First::Other,
            () = tokio::time::sleep(self.first_byte) => return First::Silent,
        };
        if !asks_for_stream {
            return First::Other;
        }
        match self.hub.turn().await {
            Some(turn) => First::Turn(TakenTurn::new(turn)),
            None => First::Other,
        }
    }

    fn look(&self, socket: &TcpStream, context: &mut Context<'_>) -> Poll<bool> {
        let mut head = [0; MAX_HEAD];
        let mut head = ReadBuf::new(&mut head);
        // An error is told again to whoever reads.
        Poll::Ready(
            ready!(socket.poll_peek(context, &mut head)).is_ok() && self.asks(head.filled()),
        )
    }

    /// Whether this is a whole request for a stream.
    fn asks(&self, head: &[u8]) -> bool {
        let Some(target) = head.strip_prefix(b"GET ") else {
            return false;
        };
        let path = target.split(|byte| matches!(byte, b' ' | b'?')).next();
        let known = [Some(STREAM_PATH), self.alias.as_deref()];
        head.ends_with(b"\r\n\r\n")
            && known
                .into_iter()
                .flatten()
                .any(|known| path == Some(known.as_bytes()))
    }
}
