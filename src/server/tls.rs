//! TLS on the hub's address, and HTTP/2 or HTTP/1.1 in it, as the client chooses in the handshake (ALPN).
//!
//! A stream over TLS stays with its connection, for somebody has to encrypt it: the hub's thread writes it into a pipe, and
//! the connection reads that. Without TLS nothing of this is in the way.
//!
//! Whoever speaks plain HTTP to this address is told so in plain HTTP, for that is where a person looks who forgot the s.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::set_header::SetResponseHeaderLayer;

use super::certificate::CertificateError;
use super::connection::{linger, serve_connection};
use super::http2;
use super::renewal::Renewal;
use super::wire::Watched;
use crate::config::Config;
use crate::http::{ConnectionService, Transfer, not_encrypted};

/// What the first byte of a TLS connection says: a record that begins a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The protocols that are spoken, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What TLS connections are made with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// How long a handshake may take, the wait for its first byte included.
    patience: Duration,
    /// How long a client may take no byte of what is written to it.
    idle_limit: Duration,
    http2: http2::Limits,
    /// What every answer tells browsers of coming here without TLS.
    hsts: Option<HeaderValue>,
    not_encrypted: Router,
}

/// A connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Its part of the sockets that may be open.
    pub(crate) share: OwnedSemaphorePermit,
}

/// What the first byte of a connection has told.
enum First {
    Handshake,
    Other,
    Nothing,
}

impl Tls {
    /// What the configuration names, and what keeps its certificate fresh; none if it names nothing. Blocks on the disk.
    pub(crate) fn open(
        config: &Config,
        pins: Option<PathBuf>,
    ) -> Result<Option<(Self, Renewal)>, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let Some(renewal) = Renewal::begin(config, Arc::clone(&provider), pins)? else {
            return Ok(None);
        };
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(renewal.current());
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Whoever comes back after a restart of the network brings a ticket: no signature is made for it.
        server.ticketer = Ticketer::new()?;
        let tls = Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            patience: config.serve.header_timeout,
            idle_limit: config.stream.idle_limit,
            http2: http2::Limits::of(config),
            hsts: config.tls.hsts.map(strict_transport_security),
            not_encrypted: not_encrypted(),
        };
        Ok(Some((tls, renewal)))
    }

    /// A router whose answers say what those over TLS say besides.
    pub(crate) fn answering(&self, router: Router) -> Router {
        match self.hsts.clone() {
            Some(hsts) => router.layer(SetResponseHeaderLayer::overriding(
                STRICT_TRANSPORT_SECURITY,
                hsts,
            )),
            None => router,
        }
    }

    /// Serves a connection until it ends. When `draining` is cancelled it finishes what it is in and ends. `tasks` sees the
    /// tasks of its streams end.
    pub(crate) fn serve(
        &self,
        accepted: Accepted,
        http: &http1::Builder,
        router: Router,
        tasks: TaskTracker,
        draining: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, http) = (self.clone(), http.clone());
        async move {
            let Accepted {
                socket,
                peer,
                share,
            } = accepted;
            let shaken = timeout(tls.patience, tls.shake_hands(socket));
            let stream = tokio::select! {
                shaken = shaken => shaken,
                () = draining.cancelled() => return,
            };
            match stream {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0]) => {
                    let mut stream = stream;
                    let wire = Arc::clone(stream.get_ref().0.wire());
                    let service = http2::Service { router, peer, wire };
                    http2::serve(&mut stream, service, tls.http2, &tasks, &draining).await;
                    linger(stream).await;
                    drop(share);
                }
                Ok(Ok(stream)) => {
                    serve_http1((stream, peer), &http, router, &draining).await;
                    drop(share);
                }
                Ok(Err(Some(socket))) => {
                    let router = tls.not_encrypted;
                    serve_connection(
                        (socket, peer),
                        (&http, tls.patience),
                        router,
                        share,
                        draining,
                        None,
                    )
                    .await;
                }
                Ok(Err(None)) | Err(_) => {}
            }
        }
    }

    /// A stream; or the socket, if its client does not speak TLS; or nothing.
    async fn shake_hands(
        &self,
        socket: TcpStream,
    ) -> Result<TlsStream<Watched>, Option<TcpStream>> {
        match first(&socket).await {
            First::Handshake => {}
            First::Other => return Err(Some(socket)),
            First::Nothing => return Err(None),
        }
        let socket = Watched::new(socket, self.idle_limit);
        self.acceptor.accept(socket).await.map_err(|error| {
            // Scanners, and browsers that do not know the certificate: nobody can do anything about them here.
            tracing::debug!(%error, "a TLS handshake failed");
            None
        })
    }
}

/// Of this host alone, for the hub does not know what its subdomains are (RFC 6797, 6.1).
fn strict_transport_security(age: Duration) -> HeaderValue {
    let value = HeaderValue::try_from(format!("max-age={}", age.as_secs()));
    value.unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}

async fn first(socket: &TcpStream) -> First {
    let mut byte = [0; 1];
    match socket.peek(&mut byte).await {
        Ok(1) if byte == [HANDSHAKE] => First::Handshake,
        Ok(1) => First::Other,
        _ => First::Nothing,
    }
}

/// HTTP/1.1 inside TLS. Its streams stay in it, so it is hyper's from beginning to end; a client that takes nothing any more
/// is ended by its socket ([`Watched`]).
async fn serve_http1(
    (stream, peer): (TlsStream<Watched>, SocketAddr),
    http: &http1::Builder,
    router: Router,
    draining: &CancellationToken,
) {
    let transfer = Arc::new(Transfer::default());
    let wire = Arc::clone(stream.get_ref().0.wire());
    let service = ConnectionService {
        router,
        transfer: Arc::clone(&transfer),
        peer,
        encrypted: Some(Arc::clone(&wire)),
        turn: None,
    };
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let mut told_to_end = pin!(draining.cancelled());
    let mut ending = false;
    let ended = poll_fn(|context| {
        if !ending && told_to_end.as_mut().poll(context).is_ready() {
            ending = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        wire.begin();
        let ended = Pin::new(&mut connection).poll(context);
        if ended.is_pending() {
            wire.pause();
        }
        ended
    })
    .await;
    let still_sending = match ended {
        Ok(()) => transfer.refused_body(),
        Err(error) => {
            tracing::debug!(%error, "a connection broke");
            error.is_parse()
        }
    };
    if still_sending {
        linger(connection.into_parts().io.into_inner()).await;
    }
}
