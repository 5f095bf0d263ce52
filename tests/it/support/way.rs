//! The ways on which a stream gets from the hub to its client. What is promised of a stream is promised on each: the tests
//! of those promises run over the hub's own socket, and over another way where [`VARIABLE`] names one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use campanile::Hub;
use campanile::config::Config;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::http2::Http2;
use super::tls::Pem;
use super::{EventStream, Open, Socket, soon};

/// What names the way.
pub const VARIABLE: &str = "CAMPANILE_TEST_WAY";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1 in the clear: the socket is handed over to the hub.
    Socket,
    /// Somebody else's axum application and its server: a body, fed through a pipe.
    Embedded,
    /// HTTP/1.1 in TLS: a body as well.
    Tls,
    /// HTTP/2 in TLS.
    Http2,
}

impl Way {
    /// That which is asked for.
    pub fn asked() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Err(_) | Ok("socket") => Self::Socket,
            Ok("embedded") => Self::Embedded,
            Ok("tls") => Self::Tls,
            Ok("h2") => Self::Http2,
            Ok(other) => panic!("{VARIABLE} is socket, embedded, tls or h2, and not {other:?}"),
        }
    }

    /// The certificate that a hub needs for it.
    pub fn certificate(self) -> Option<Pem> {
        matches!(self, Self::Tls | Self::Http2).then(Pem::new)
    }
}

/// A way to a hub that is there.
#[derive(Clone)]
pub struct Road {
    pub addr: SocketAddr,
    pub way: Way,
    /// The certificate that a client trusts on it.
    pub pem: Option<Arc<Pem>>,
}

impl Road {
    /// The same to another address, from which it goes on to the hub.
    pub fn through(&self, addr: SocketAddr) -> Self {
        Self {
            addr,
            ..self.clone()
        }
    }

    /// A connection on which HTTP/1.1 is spoken.
    pub async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        self.speaking_http1(TcpStream::connect(self.addr).await?)
            .await
    }

    /// Asks for a stream and reads the head of the answer.
    ///
    /// # Errors
    /// If there is no connection, or it ends before the head has.
    pub async fn request(&self, token: &str, open: Open) -> io::Result<EventStream> {
        let socket = open.connect(self.addr).await?;
        if let (Way::Http2, Some(pem)) = (self.way, &self.pem) {
            let io = pem.connect_on(socket, "h2").await?;
            let connection = Http2::try_on(self.addr, io, open.receive_buffer).await;
            let mut connection = connection.map_err(io::Error::other)?;
            let answer = connection.request_stream(token, open).await;
            return answer.map_err(io::Error::other);
        }
        EventStream::request_on(self.speaking_http1(socket).await?, token, open).await
    }

    async fn speaking_http1(&self, socket: TcpStream) -> io::Result<Box<dyn Socket>> {
        Ok(match &self.pem {
            Some(pem) => Box::new(pem.connect_on(socket, "http/1.1").await?),
            None => Box::new(socket),
        })
    }
}

/// Somebody else's application with the hub's routes in it, on a server of its own.
pub struct Application {
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
}

impl Application {
    pub async fn with(hub: &Hub, config: &Config) -> Self {
        let app = Router::new()
            .route("/", axum::routing::get(|| async { "theirs" }))
            .merge(campanile::http::router(hub.clone(), config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // What it accepts has it from here: it holds no more for a slow reader than the hub's own sockets.
        SockRef::from(&listener)
            .set_send_buffer_size(config.stream.send_buffer)
            .expect("a buffer of that size");
        let addr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Self {
            addr,
            stop: Some(stop),
            running: tokio::spawn(serving.into_future()),
        }
    }

    /// Asks it to take no more connections, and to end when those that are there have.
    pub fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for its end: nothing of the hub's keeps it.
    pub async fn ended(self) {
        soon("the end of the application", self.running)
            .await
            .expect("no panic")
            .expect("it ends in order");
    }
}
