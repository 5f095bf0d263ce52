//! The accept loop: options on each socket, a bound on connections, and an error here never ends the hub.
//!
//! Over the bound a client is told 503 and closed, rather than left to wait in the kernel's queue; even these refusals
//! are bounded. When the process has no descriptor left the loop pauses instead of spinning, and says so once.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{linger, serve_connection};
use super::tls::{Accepted, Tls};
use crate::config::Config;
use crate::events;
use crate::http::connection_refused;

/// What hyper may hold of a request's head or of a batch's body at a time, in bytes.
const MAX_HTTP_BUFFER: usize = 64 * 1024;
/// The pause after an error that will not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);
/// How many refusals are told at a time; whoever comes on top of that is closed without a word.
const MAX_REFUSALS: usize = 64;

/// Accepts connections, and owns them until they end or their socket is handed to the hub.
pub(crate) struct Acceptor {
    router: Router,
    http: http1::Builder,
    tls: Option<Tls>,
    options: SocketOptions,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refusal: Bytes,
    draining: CancellationToken,
    cut: CancellationToken,
}

/// How much an acceptor may hold at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections that are served.
    pub(crate) connections: usize,
    /// Connections that are being told that there are too many.
    pub(crate) refusals: usize,
}

impl Bounds {
    /// Those of the hub's own address.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            connections: config.serve.max_connections,
            refusals: MAX_REFUSALS,
        }
    }
}

/// What each socket gets.
#[derive(Clone, Copy, Debug)]
struct SocketOptions {
    /// A stalled client can hold this much of the kernel's memory, and twice that by the kernel's own reckoning.
    send_buffer: usize,
    /// Bytes unacknowledged for so long end the connection. A closed window counts too, so this must not be shorter than
    /// what a stream may take to go on.
    unacknowledged: Duration,
}

impl Acceptor {
    pub(crate) fn new(router: Router, config: &Config, bounds: Bounds) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // Also how long a connection may be kept open between two requests.
            .header_read_timeout(config.serve.header_timeout)
            .keep_alive(true)
            // Whoever closes their half has gone: nobody is left to listen to a stream.
            .half_close(false)
            .max_buf_size(MAX_HTTP_BUFFER);
        Self {
            router,
            http,
            tls: None,
            options: SocketOptions {
                send_buffer: config.stream.send_buffer,
                unacknowledged: config.stream.idle_limit,
            },
            connections: TaskTracker::new(),
            room: Arc::new(Semaphore::new(
                bounds.connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            refusals: Arc::new(Semaphore::new(bounds.refusals)),
            refusal: connection_refused(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// With TLS on every connection.
    pub(crate) fn speaking(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Accepts for ever.
    pub(crate) async fn run(&self, listener: &TcpListener) -> Infallible {
        let mut failing = false;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    failing = false;
                    self.admit(socket, peer);
                }
                // The client was gone before we came to it.
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::error!(
                            event = events::ACCEPT_FAILED,
                            %error,
                            "no connection can be accepted; trying again"
                        );
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        if let Err(error) = self.options.apply(&socket) {
            // The client may be gone already; if it is not, the connection works all the same.
            tracing::debug!(%error, "a socket refused its options");
        }
        let Ok(share) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.refuse(socket);
        };
        let (router, draining) = (self.router.clone(), self.draining.clone());
        let Some(tls) = &self.tls else {
            return self.spawn(serve_connection(
                socket, &self.http, router, share, draining,
            ));
        };
        let accepted = Accepted {
            socket,
            peer,
            share,
        };
        let tasks = self.connections.clone();
        self.spawn(tls.serve(accepted, &self.http, router, tasks, draining));
    }

    /// Runs what ends by itself, or when it is cut.
    fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut.cancelled() => {}
            }
        });
    }

    /// Says that there are too many connections. Over TLS not even that: a handshake is what the refusal is to save.
    fn refuse(&self, mut socket: TcpStream) {
        if self.tls.is_some() {
            return;
        }
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let (cut, words) = (self.cut.clone(), self.refusal.clone());
        self.connections.spawn(async move {
            let refusal = async {
                // It fits into the socket's empty buffer; a client that has gone needs no word.
                if socket.write_all(&words).await.is_ok() {
                    linger(socket).await;
                }
            };
            tokio::select! {
                () = refusal => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }

    /// Lets each connection finish the request it is in, and returns when all have ended.
    pub(crate) async fn drain(&self) {
        self.draining.cancel();
        self.connections.close();
        self.connections.wait().await;
    }

    /// Ends what is left.
    pub(crate) async fn cut(self) {
        self.cut.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

impl SocketOptions {
    fn apply(self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        socket.set_send_buffer_size(self.send_buffer)?;
        let probes = TcpKeepalive::new()
            .with_time(self.unacknowledged)
            .with_interval(self.unacknowledged / 4);
        socket.set_tcp_keepalive(&probes)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.unacknowledged))?;
        Ok(())
    }
}

/// Whether only this one connection is concerned (accept(2): errors of the new socket are reported by the call).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
