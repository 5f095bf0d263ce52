//! One connection: HTTP/1.x until it ends, or until a stream takes its socket.
//!
//! The future is polled by hand for the sake of one moment: when hyper has written a stream's response head, the
//! connection is taken apart and the socket goes to the hub (see [`crate::http`]'s `handover` for why this is sound).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::line::{First, Line, UNUSED};
use crate::http::{ConnectionService, FlushWatch, Transfer};
use crate::hub::TakenTurn;

/// How long, and for how many bytes, a client that is still sending is listened to after it has been refused.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// What plain connections are served with.
pub(super) struct Plain {
    pub(super) http: http1::Builder,
    /// How long a client may take no byte of an answer.
    pub(super) patience: Duration,
    pub(super) router: Router,
    pub(super) draining: CancellationToken,
    pub(super) line: Line,
}

impl Plain {
    /// Serves a connection from its first byte, for which it may wait, to its end.
    pub(super) async fn serve(
        &self,
        (socket, peer): (TcpStream, SocketAddr),
        share: OwnedSemaphorePermit,
    ) {
        let turn = match self.line.first(&socket, &self.draining).await {
            First::Turn(turn) => Some(turn),
            First::Other => None,
            First::Silent => return,
        };
        // Only now: until here a connection is a socket and a task.
        let mut connection = Box::pin(serve_connection(
            (socket, peer),
            (&self.http, self.patience),
            self.router.clone(),
            share,
            self.draining.clone(),
            turn.clone(),
        ));
        if let Some(turn) = turn {
            tokio::select! {
                biased;
                () = &mut connection => return,
                () = tokio::time::sleep(UNUSED) => drop(turn.take()),
            }
        }
        connection.await;
    }
}

/// How a connection was left.
enum Left {
    /// It ended.
    Ended,
    /// It ended while its client may still be sending.
    Refused,
    /// A stream is to have its socket.
    HandedOver,
}

/// Serves a connection. Its client may take no byte of an answer for `patience`. When `draining` is cancelled it finishes the
/// request it is in and ends. `share` is the connection's part of the sockets that may be open; it goes with the socket.
pub(crate) fn serve_connection(
    (socket, peer): (TcpStream, SocketAddr),
    (http, patience): (&http1::Builder, Duration),
    router: Router,
    share: OwnedSemaphorePermit,
    draining: CancellationToken,
    turn: Option<TakenTurn>,
) -> impl Future<Output = ()> + Send + 'static {
    let transfer = Arc::new(Transfer::default());
    let io = FlushWatch::new(socket, Arc::clone(&transfer), patience);
    let service = ConnectionService {
        router,
        transfer: Arc::clone(&transfer),
        peer,
        encrypted: None,
        turn,
    };
    let mut connection = http.serve_connection(io, service);
    async move {
        let mut told_to_end = pin!(draining.cancelled_owned());
        let mut ending = false;
        let left = poll_fn(|context| {
            let mut polled = Pin::new(&mut connection).poll(context);
            // After the first look at what has come: a request that waited in line while the hub was told to stop is still
            // answered.
            if polled.is_pending()
                && !transfer.is_ready()
                && !ending
                && told_to_end.as_mut().poll(context).is_ready()
            {
                ending = true;
                Pin::new(&mut connection).graceful_shutdown();
                polled = Pin::new(&mut connection).poll(context);
            }
            match polled {
                Poll::Ready(Ok(())) if transfer.refused_body() => Poll::Ready(Left::Refused),
                Poll::Ready(Ok(())) => Poll::Ready(Left::Ended),
                Poll::Ready(Err(error)) if error.is_parse() => Poll::Ready(Left::Refused),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a connection broke");
                    Poll::Ready(Left::Ended)
                }
                Poll::Pending if transfer.is_ready() => Poll::Ready(Left::HandedOver),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;

        let parts = connection.into_parts();
        let socket = parts.io.into_socket();
        match left {
            Left::Ended => {}
            Left::Refused => linger(socket).await,
            Left::HandedOver if parts.read_buf.is_empty() => hand_over(socket, share, &transfer),
            // The client has sent something after its request for a stream: nobody would answer it.
            Left::HandedOver => {}
        }
    }
}

fn hand_over(socket: TcpStream, share: OwnedSemaphorePermit, transfer: &Transfer) {
    let Some((stream, framing)) = transfer.take() else {
        return;
    };
    match socket.into_std() {
        Ok(socket) => stream.attach(socket, Some(share), framing),
        Err(error) => tracing::warn!(%error, "a stream's socket could not be taken"),
    }
}

/// Ends a connection whose client may still be sending: closing at once would make the kernel answer those bytes with a
/// reset, which can tear the response away before it is read.
pub(crate) async fn linger(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let listen = async {
        if socket.shutdown().await.is_err() {
            return;
        }
        let mut scrap = vec![0u8; 16 * 1024];
        let mut left = LINGER_BYTES;
        while let Ok(read) = socket.read(&mut scrap).await {
            left = left.saturating_sub(read);
            if read == 0 || left == 0 {
                return;
            }
        }
    };
    // Whoever sends longer than that is cut off in the middle of it.
    let _ = tokio::time::timeout(LINGER, listen).await;
}
