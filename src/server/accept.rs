//! The accept loop: options on each socket, a bound on connections, and an error here never ends the hub.
//!
//! Over a bound a client is told so and closed, rather than left to wait in the kernel's queue; even these refusals are
//! bounded in number and time, and beyond that a connection is closed without a word, which an EventSource survives. When the process has no descriptor left the loop pauses instead of spinning, and says so once.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Plain, serve_connection};
use super::line::Line;
use super::tls::{Accepted, Tls};
use crate::address::{self, PerAddress, Proxies};
use crate::config::Config;
use crate::events;
use crate::http::refusing;
use crate::hub::Hub;
use crate::metrics::Crowded;
use crate::rate::Seldom;

/// What hyper may hold of a request's head or of a batch's body at a time, in bytes.
const MAX_HTTP_BUFFER: usize = 64 * 1024;
/// The pause after an error that will not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);
/// How many refusals are told at a time; whoever comes on top of that is closed without a word.
const MAX_REFUSALS: usize = 64;
/// How long a client that is refused may take to say what it wants.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts connections, and owns them until they end or their socket is handed to the hub.
pub(crate) struct Acceptor {
    hub: Hub,
    router: Router,
    http: http1::Builder,
    plain: Arc<Plain>,
    tls: Option<Tls>,
    /// By [`Crowded`].
    refusing: [Router; 2],
    refusing_http: http1::Builder,
    options: SocketOptions,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    max: usize,
    telling: Seldom,
    addresses: Arc<PerAddress>,
    proxies: Proxies,
    refusals: Arc<Semaphore>,
    draining: CancellationToken,
    cut: CancellationToken,
}

/// How much an acceptor may hold at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections that are served.
    pub(crate) connections: usize,
    /// Of those, so many of one address, without those that carry a stream.
    pub(crate) per_address: usize,
    /// Connections that are being told that there are too many.
    pub(crate) refusals: usize,
}

impl Bounds {
    /// Those of the hub's own address.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            connections: config.serve.max_connections,
            per_address: address::cap(config.serve.per_address, config.serve.max_connections),
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
    pub(crate) fn new(router: Router, hub: Hub, config: &Config, bounds: Bounds) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // Also how long a connection may be kept open between two requests.
            .header_read_timeout(config.serve.header_timeout)
            .keep_alive(true)
            // Whoever closes their half has gone: nobody is left to listen to a stream.
            .half_close(false)
            .max_buf_size(MAX_HTTP_BUFFER);
        let mut refusing_http = http.clone();
        refusing_http
            .header_read_timeout(REFUSAL_TIMEOUT)
            .keep_alive(false);
        let max = bounds.connections.clamp(1, Semaphore::MAX_PERMITS);
        let refusing = |reason| refusing(hub.clone(), config, reason);
        let draining = CancellationToken::new();
        let alias = config.serve.alias.clone();
        let plain = Plain {
            http: http.clone(),
            patience: config.stream.idle_limit,
            router: router.clone(),
            draining: draining.clone(),
            line: Line::new(hub.clone(), alias, config.serve.header_timeout),
        };
        Self {
            plain: Arc::new(plain),
            refusing: [refusing(Crowded::Address), refusing(Crowded::Full)],
            hub,
            router,
            http,
            tls: None,
            refusing_http,
            options: SocketOptions {
                send_buffer: config.stream.send_buffer,
                unacknowledged: config.stream.idle_limit,
            },
            connections: TaskTracker::new(),
            room: Arc::new(Semaphore::new(max)),
            max,
            telling: Seldom::default(),
            addresses: PerAddress::new("connections", bounds.per_address),
            proxies: Proxies::new(&config.serve.trusted_proxies),
            refusals: Arc::new(Semaphore::new(bounds.refusals)),
            draining,
            cut: CancellationToken::new(),
        }
    }

    /// With TLS on every connection.
    pub(crate) fn speaking(mut self, tls: Option<Tls>) -> Self {
        if let Some(tls) = &tls {
            self.router = tls.answering(self.router);
        }
        self.tls = tls;
        self
    }

    /// Accepts for ever.
    pub(crate) async fn run(&self, listener: &TcpListener) -> Infallible {
        // Linux gives each new connection a copy of these, which saves six calls.
        SocketOptions::tell_of(self.options.apply(&SockRef::from(listener)));
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
        let options = SockRef::from(&socket);
        if !self.options.are_on(&options) {
            SocketOptions::tell_of(self.options.apply(&options));
        }
        let address = peer.ip();
        let place = if self.proxies.trusts(address) {
            None
        } else if let Some(place) = self.addresses.take(address) {
            Some(place)
        } else {
            return self.refuse(socket, peer, Crowded::Address);
        };
        let Ok(share) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.refuse(socket, peer, Crowded::Full);
        };
        let Some(tls) = &self.tls else {
            let plain = Arc::clone(&self.plain);
            return self.spawn(async move {
                plain.serve((socket, peer), share).await;
                // Given back here when a stream has the socket: those are counted with the streams.
                drop(place);
            });
        };
        let (router, draining) = (self.router.clone(), self.draining.clone());
        let accepted = Accepted {
            socket,
            peer,
            share,
        };
        let tasks = self.connections.clone();
        let connection = tls.serve(accepted, &self.http, router, tasks, draining);
        self.spawn(async move {
            connection.await;
            drop(place);
        });
    }

    /// Answers the client's first request with a refusal, or, if too many are being refused already, closes. Over TLS it
    /// always closes: a handshake is what the refusal is to save.
    fn refuse(&self, socket: TcpStream, peer: SocketAddr, reason: Crowded) {
        self.hub.counted().crowded(reason);
        if reason == Crowded::Full && self.telling.now() {
            tracing::error!(
                event = events::ACCEPT_FAILED,
                error = "the hub has as many as serve.max_connections",
                max = self.max,
                "no more connections are served for the moment; clients are refused, over TLS by closing"
            );
        }
        if self.tls.is_some() {
            return;
        }
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let router = self.refusing[reason as usize].clone();
        let draining = self.draining.clone();
        self.spawn(serve_connection(
            (socket, peer),
            (&self.refusing_http, REFUSAL_TIMEOUT),
            router,
            place,
            draining,
            None,
        ));
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
    fn apply(self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(self.send_buffer)?;
        // In whole seconds, of which none would be refused, and with it all that follows.
        let probes = TcpKeepalive::new()
            .with_time(self.unacknowledged)
            .with_interval((self.unacknowledged / 4).max(Duration::from_secs(1)));
        socket.set_tcp_keepalive(&probes)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.unacknowledged))?;
        Ok(())
    }

    /// Whether a socket has them from the one that listens. Who connected before that one had them has not.
    fn are_on(self, socket: &SockRef<'_>) -> bool {
        #[cfg(target_os = "linux")]
        let inherited = socket
            .tcp_user_timeout()
            .is_ok_and(|set| set == Some(self.unacknowledged));
        #[cfg(not(target_os = "linux"))]
        let inherited = false;
        inherited
    }

    fn tell_of(applied: io::Result<()>) {
        if let Err(error) = applied {
            // A client may be gone already; connections work all the same.
            tracing::debug!(%error, "a socket refused its options");
        }
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
