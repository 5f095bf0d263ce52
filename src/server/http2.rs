//! One connection that speaks HTTP/2: many requests at once, each in a task of its own, all of them bounded.
//!
//! It is served with the `h2` crate itself and not through hyper, because of what the hub is for: streams that are open for
//! an hour, to clients that may stop reading any of them. hyper gives a chunk to h2 as soon as there is credit for its
//! first byte; what is left then lies in h2, where a reset waits behind it, and while it waits the body is not looked at. So
//! one could not be ended for want of credit but by closing the connection, and its siblings with it. Here
//! ([`exchange`]) h2 never holds a byte for which there is no credit, so whoever gives none can be reset, alone and at once.
//!
//! What one connection can cost, whatever its client does:
//! - streams: [`Limits::streams`] at once; each with [`SEND_BUFFER`] that waits for the socket, and a request's headers;
//! - what it sends and nobody has read yet: [`RECEIVE_WINDOW`];
//! - resets: requests that were taken back before they were answered are counted ([`RESETS`]), and h2 counts those that were
//!   taken back before they were seen. Over either the connection is closed with `ENHANCE_YOUR_CALM` (CVE-2023-44487);
//! - time: without a stream it is closed like an idle connection of HTTP/1.1. With one it must answer a PING now and then,
//!   which a proxy on the way does not do in the name of a client that is gone. One whose socket takes nothing is ended by
//!   that ([`super::wire::Watched`]).

mod exchange;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::exchange::{Exchange, Outcome};
use crate::config::Config;
use crate::sink::Wire;

/// What a stream may have taken from its body, with credit, and not brought to the socket yet, in bytes.
const SEND_BUFFER: usize = 16 * 1024;
/// What a request's body may send ahead of its reader, in bytes: a batch of 8 MiB in some seconds from the other side of
/// the world.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all requests of a connection together.
const RECEIVE_WINDOW: u32 = 512 * 1024;
/// The longest headers of a request, in bytes as HTTP/2 counts them: 32 for each beside its name and value.
const MAX_HEADERS: u32 = 32 * 1024;
/// So many requests may be taken back before they are answered. One that is answered makes up for one of them: whoever
/// leaves a page takes some back, and nobody takes back most of what they ask for.
const RESETS: u32 = 100;
/// How long a client may take to go once it was told that the connection ends and no stream is left.
const GOING: Duration = Duration::from_secs(2);

/// A request and what answers it, or what broke the connection.
type Accepted = Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>;

/// What holds for each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Streams at once.
    streams: u32,
    /// How long it may be open without a stream.
    idle: Duration,
    /// How long a stream may wait for credit, and a PING for its answer.
    silence: Duration,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            streams: config.tls.http2_streams,
            idle: config.serve.header_timeout,
            silence: config.stream.idle_limit,
        }
    }
}

/// What answers the requests of a connection, and what is known of that.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) wire: Arc<Wire>,
}

/// Serves a connection until it ends. When `draining` is cancelled it takes no more requests, and ends when those that it has are
/// answered. `tasks` sees the streams' tasks end.
pub(super) async fn serve<T>(
    io: T,
    service: Service,
    limits: Limits,
    tasks: &TaskTracker,
    draining: &CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = Builder::new()
        .max_concurrent_streams(limits.streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(RECEIVE_WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    let mut connection: Connection<T, Bytes> = match timeout(limits.idle, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection broke"),
        Err(_) => return,
    };
    let mut alive = pin!(alive(connection.ping_pong(), limits.silence));
    let mut idle = pin!(sleep(limits.idle));
    let mut exchanges = JoinSet::new();
    let mut resets: u32 = 0;
    let mut ending = false;
    loop {
        tokio::select! {
            accepted = accept(&mut connection, &service.wire) => match accepted {
                Some(Ok((request, respond))) => {
                    let exchange = Exchange {
                        service: service.clone(),
                        patience: limits.silence,
                    };
                    exchanges.spawn(tasks.track_future(exchange.run(request, respond)));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection broke");
                    break;
                }
                None => break,
            },
            Some(ended) = exchanges.join_next() => {
                resets = match ended {
                    Ok(Outcome::TakenBack) => resets + 1,
                    _ => resets.saturating_sub(1),
                };
                if resets > RESETS {
                    return close(connection, Reason::ENHANCE_YOUR_CALM).await;
                }
                if exchanges.is_empty() {
                    let time = if ending { GOING } else { limits.idle };
                    idle.as_mut().reset(Instant::now() + time);
                }
            }
            () = draining.cancelled(), if !ending => {
                ending = true;
                connection.graceful_shutdown();
                idle.as_mut().reset(Instant::now() + GOING);
            }
            // Whoever sends a request just now learns from the GOAWAY that it was not seen, and asks again elsewhere.
            () = &mut idle, if exchanges.is_empty() => {
                return close(connection, Reason::NO_ERROR).await;
            }
            () = &mut alive => return,
        }
    }
    // What is left has nobody to answer to.
    exchanges.shutdown().await;
}

/// The next request, or the end; writes what the streams have to say meanwhile.
async fn accept<T>(connection: &mut Connection<T, Bytes>, wire: &Wire) -> Option<Accepted>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut accepting = pin!(connection.accept());
    poll_fn(|context| {
        wire.begin();
        let accepted = accepting.as_mut().poll(context);
        if accepted.is_pending() {
            wire.pause();
        }
        accepted
    })
    .await
}

/// Says why, and goes.
async fn close<T>(mut connection: Connection<T, Bytes>, reason: Reason)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    connection.abrupt_shutdown(reason);
    let gone = async { while let Some(Ok(_)) = connection.accept().await {} };
    // A client that takes not even this is gone already.
    let _ = timeout(GOING, gone).await;
}

/// Resolves when the client does not answer any more.
async fn alive(pings: Option<PingPong>, patience: Duration) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep_until(Instant::now() + patience / 2).await;
        match timeout(patience, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection has ended, which is told elsewhere.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
