//! Takes a stream's socket out of the HTTP server once the response head is written, and gives it to the hub.
//!
//! Why: hyper stops polling a body whose socket is stuck, so a stream inside it can neither notice nor end itself, and
//! each open stream would keep a connection's buffers, parser and task. What is left to do after the head is to write
//! bytes, and the hub does that itself.
//!
//! Why it is sound:
//! - **Nothing is lost or doubled.** The response has a body that is never ready. hyper encodes the head into its buffer
//!   before it polls the body for the first time, and flushes the connection's IO only when that buffer is empty. So a
//!   flush that succeeds after the body was polled means that the head, and every earlier answer on the connection, is
//!   with the kernel; and a body that is never ready adds nothing to the buffer. From there on hyper has nothing to say.
//! - **Framing is known.** A body of unknown length is `chunked` in HTTP/1.1, and lasts until the close in HTTP/1.0 (RFC
//!   9112, section 6.3); the request's version decides, here as in hyper.
//! - **Requests stay in order.** hyper answers one after the other. Bytes behind the stream's request would be the
//!   client's next, which nobody will answer: they close the connection. Only requests without a body are offered a
//!   socket, so there are no others that could come.
//! - **Nobody is left behind.** The subscription travels in the response's extensions and then in [`Transfer`]; if the
//!   client goes away at any point before the hub has it, dropping it unregisters the stream.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, Version};
use axum::{Error, Router};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::patience::Patience;
use crate::fanout::Piped;
use crate::hub::{Subscription, TakenTurn};
use crate::sink::Wire;
use crate::sse::Framing;

/// In a request's extensions: this connection's socket can be taken, and a stream be opened in this turn, if it is one that
/// waited for it.
#[derive(Clone, Debug)]
pub(crate) struct SocketOffer(pub(super) Option<TakenTurn>);

/// In a request's extensions: it came over TLS, and so does its answer go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted;

/// In a response's extensions: the stream that is to have the socket.
#[derive(Clone)]
pub(crate) struct Handover(Arc<Mutex<Option<Subscription>>>);

impl Handover {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self(Arc::new(Mutex::new(Some(subscription))))
    }

    fn take(&self) -> Option<Subscription> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How far the transfer of one connection's socket has come. Only the connection's own task touches it.
#[derive(Default)]
pub(crate) struct Transfer {
    waiting: Mutex<Option<(Subscription, Framing)>>,
    /// The body has been polled: the head is in hyper's buffer.
    head_encoded: AtomicBool,
    /// A flush has succeeded since: the head is with the kernel.
    head_written: AtomicBool,
    /// The last request had a body and was refused, perhaps before all of it was read.
    refused_body: AtomicBool,
}

impl Transfer {
    /// Whether the socket can be taken now.
    pub(crate) fn is_ready(&self) -> bool {
        self.head_written.load(Ordering::Relaxed)
    }

    /// The stream that waits for the socket, and how its body is delimited.
    pub(crate) fn take(&self) -> Option<(Subscription, Framing)> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether part of the last request may still be on its way.
    pub(crate) fn refused_body(&self) -> bool {
        self.refused_body.load(Ordering::Relaxed)
    }
}

/// A response body.
pub(crate) enum ConnectionBody {
    /// As the router made it.
    Ordinary(Body),
    /// A stream's, which stays with a connection that speaks TLS.
    Piped(Body, Piped),
    /// Never ready; notes that hyper has come to it.
    Silent(Option<Arc<Transfer>>),
}

impl ConnectionBody {
    /// What stands for the body of a stream until its socket is taken.
    pub(crate) fn silent() -> Self {
        Self::Silent(None)
    }
}

impl http_body::Body for ConnectionBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Ordinary(body) => Pin::new(body).poll_frame(context),
            Self::Piped(body, piped) => {
                let frame = Pin::new(body).poll_frame(context);
                if let Poll::Ready(Some(Ok(frame))) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    piped.receipts().handed_within(data.len());
                }
                frame
            }
            Self::Silent(transfer) => {
                if let Some(transfer) = transfer {
                    transfer.head_encoded.store(true, Ordering::Relaxed);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ordinary(body) | Self::Piped(body, _) => body.is_end_stream(),
            Self::Silent(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ordinary(body) | Self::Piped(body, _) => body.size_hint(),
            Self::Silent(_) => SizeHint::default(),
        }
    }
}

/// The outermost service of one connection: offers its socket, and keeps the stream that takes the offer.
pub(crate) struct ConnectionService {
    pub(crate) router: Router,
    pub(crate) transfer: Arc<Transfer>,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
    /// What is known of a socket that speaks TLS: nobody else can write to it.
    pub(crate) encrypted: Option<Arc<Wire>>,
    /// A turn to open a stream, for the first request.
    pub(crate) turn: Option<TakenTurn>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<ConnectionBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let framing = match request.version() {
            Version::HTTP_11 => Framing::Chunked,
            _ => Framing::UntilClose,
        };
        let has_body = !request.body().is_end_stream();
        let wire = self.encrypted.clone();
        if wire.is_some() {
            request.extensions_mut().insert(Encrypted);
        } else if !has_body {
            let offer = SocketOffer(self.turn.clone());
            request.extensions_mut().insert(offer);
        }
        let transfer = Arc::clone(&self.transfer);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        // A router is always ready.
        let answer = self.router.clone().call(request.map(Body::new));
        Box::pin(async move {
            let mut response = answer.await?;
            let status = response.status();
            let refused = has_body && (status.is_client_error() || status.is_server_error());
            transfer.refused_body.store(refused, Ordering::Relaxed);
            if let Some(wire) = wire {
                let piped = response.extensions_mut().remove::<Piped>();
                let piped = piped.map(|piped| piped.follow(&wire));
                return Ok(response.map(|body| match piped {
                    Some(piped) => ConnectionBody::Piped(body, piped),
                    None => ConnectionBody::Ordinary(body),
                }));
            }
            let stream = response
                .extensions_mut()
                .remove::<Handover>()
                .and_then(|handover| handover.take());
            let Some(stream) = stream else {
                return Ok(response.map(ConnectionBody::Ordinary));
            };
            *transfer
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some((stream, framing));
            Ok(response.map(|_| ConnectionBody::Silent(Some(transfer))))
        })
    }
}

/// A connection's IO, which sees when hyper flushes it, and when its client takes nothing.
pub(crate) struct FlushWatch {
    io: TokioIo<TcpStream>,
    transfer: Arc<Transfer>,
    patience: Patience,
}

impl FlushWatch {
    pub(crate) fn new(socket: TcpStream, transfer: Arc<Transfer>, patience: Duration) -> Self {
        Self {
            io: TokioIo::new(socket),
            transfer,
            patience: Patience::new(patience),
        }
    }

    /// The socket, for whoever goes on with it.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Read for FlushWatch {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for FlushWatch {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.patience.written(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(())))
            && self.transfer.head_encoded.load(Ordering::Relaxed)
        {
            self.transfer.head_written.store(true, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.patience.written(written, context)
    }
}
