//! A hub on a free port with a store of its own, and clients that read the wire as bytes.

mod binary;
mod chaos;
mod crash;
pub mod http2;
mod issuer;
mod sink;
mod stream;
pub mod tls;
mod way;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use campanile::auth::{Mint, Scope, Scopes};
use campanile::clock::Timestamp;
use campanile::config::Config;
use campanile::{Hub, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use binary::{BinaryHub, binary, command, token};
pub use chaos::{Chaos, Fate};
pub use issuer::{JwksServer, SigningKey, jwks};
pub use sink::{Reply, Sink};
pub use stream::{Event, EventStream, Open, Socket};
use tls::Pem;
use way::Application;
pub use way::{Road, Way};
pub use wire::{Wire, get_stream};

/// Every field of a draft.
pub const DRAFT_FIELDS: [&str; 19] = [
    "targetUserId",
    "targetUserIds",
    "targetRoles",
    "everyone",
    "message",
    "title",
    "details",
    "severity",
    "module",
    "actionType",
    "link",
    "data",
    "idempotencyKey",
    "reference",
    "throttle",
    "deliverAt",
    "expiresAt",
    "webhook",
    "ephemeral",
];

/// How long a test waits for what must come: long enough for a loaded machine, and only failures take it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
#[track_caller]
pub fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not come within {PATIENCE:?} ({place})"),
        }
    }
}

/// A whole hub behind its own accept loop. `stop` it at the end of a test: that also checks that it stops in order.
pub struct TestHub {
    hub: Hub,
    road: Road,
    /// Where its own server is: an administrator's routes are there alone.
    own: SocketAddr,
    application: Option<Application>,
    metrics_addr: Option<SocketAddr>,
    data: Arc<TempDir>,
    config: Config,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    client: reqwest::Client,
}

/// For how much of what was sent last a hub has memory, in bytes: none, so that whoever comes back is served from the
/// store; little, so that it ends in the middle of what they missed; and as much as by default.
pub const RECENT_BYTES: [usize; 3] = [0, 16 * 1024, 8 * 1024 * 1024];

impl TestHub {
    /// With the defaults, but for waits that a test should not sit through.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a configuration of its own.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a directory for the store"));
        let mut config = Config::default();
        config.serve.listen = "127.0.0.1:0".parse().expect("an address");
        config.serve.data = data.path().join("data");
        config.serve.drain = Duration::from_secs(5);
        config.delivery.start_grace = Duration::ZERO;
        config.delivery.retry = vec![Duration::from_millis(50); 3];
        let way = Way::asked();
        let pem = way.certificate();
        if let Some(pem) = &pem {
            pem.config(&mut config);
        }
        change(&mut config);
        Self::open(data, config, way, pem.map(Arc::new)).await
    }

    async fn open(data: Arc<TempDir>, config: Config, way: Way, pem: Option<Arc<Pem>>) -> Self {
        let server = Server::open(config.clone()).await.expect("the hub starts");
        let metrics_addr = server.metrics_addr();
        let hub = server.hub().clone();
        let application = match way {
            Way::Embedded => Some(Application::with(&hub, &config).await),
            _ => None,
        };
        let own = server.local_addr();
        let addr = application.as_ref().map_or(own, |it| it.addr);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            server
                .run(shutdown)
                .await
                .expect("the hub runs and stops in order");
        });
        let client = trusting(&config);
        Self {
            hub,
            road: Road { addr, way, pem },
            own,
            application,
            metrics_addr,
            data,
            config,
            stop: Some(stop),
            running: Some(running),
            client: client.build().expect("a client"),
        }
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(mut self) -> Stopped {
        self.stop_now().await;
        Stopped {
            data: Arc::clone(&self.data),
            config: self.config.clone(),
            way: self.road.way,
            pem: self.road.pem.clone(),
        }
    }

    /// Asks it to stop without waiting for the end.
    pub fn begin_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(application) = &mut self.application {
            application.begin_to_stop();
        }
    }

    async fn stop_now(&mut self) {
        self.begin_to_stop();
        if let Some(running) = self.running.take() {
            soon("the end of the hub", running)
                .await
                .expect("the hub does not panic");
        }
        if let Some(application) = self.application.take() {
            application.ended().await;
        }
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    pub fn addr(&self) -> SocketAddr {
        self.road.addr
    }

    /// Where it serves metrics without credentials, if it does.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The data directory.
    pub fn data(&self) -> std::path::PathBuf {
        self.config.serve.data.clone()
    }

    pub fn url(&self, path: &str) -> String {
        self.url_through(self.road.addr, path)
    }

    /// The same through a proxy.
    pub fn url_through(&self, addr: SocketAddr, path: &str) -> String {
        let scheme = if self.config.tls.is_on() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{addr}{path}")
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A client that a test makes in its own way.
    pub fn client_builder(&self) -> reqwest::ClientBuilder {
        trusting(&self.config)
    }

    /// The way to it.
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// A token that the hub takes, for an hour.
    pub fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String {
        self.token_for(user, roles, scopes, Duration::from_secs(3600))
    }

    pub fn token_for(&self, user: &str, roles: &[&str], scopes: &[&str], ttl: Duration) -> String {
        let scopes: Scopes = scopes
            .iter()
            .map(|scope| scope.parse::<Scope>().expect("a scope"))
            .collect();
        self.hub.authenticator().mint(
            Mint {
                user: user.to_owned(),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                scopes,
                ttl,
            },
            Timestamp::now(),
        )
    }

    /// POSTs JSON as a publisher and returns status and answer.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = soon(
            "an answer",
            self.client
                .post(self.url(path))
                .bearer_auth(self.token("publisher", &[], &["publish"]))
                .json(body)
                .send(),
        )
        .await
        .expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// POSTs JSON as an administrator and returns status and answer.
    pub async fn administer(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = soon(
            "an answer",
            self.client
                .post(self.url_through(self.own, path))
                .bearer_auth(self.token("root", &[], &["admin"]))
                .json(body)
                .send(),
        )
        .await
        .expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// Publishes a draft that must be accepted.
    pub async fn publish(&self, draft: Value) -> Value {
        let (status, answer) = self.post("/notifications", &draft).await;
        assert_eq!(status, 201, "{draft} was answered {answer}");
        answer
    }

    /// Broadcasts a draft that must be accepted.
    pub async fn broadcast(&self, draft: Value) -> Value {
        let (status, answer) = self.post("/notifications/broadcast", &draft).await;
        assert_eq!(status, 201, "{draft} was answered {answer}");
        answer
    }

    /// The hub's numbers as an admin sees them.
    pub async fn status(&self) -> Value {
        let response = self
            .client
            .get(self.url("/notifications/status"))
            .bearer_auth(self.token("admin", &[], &["admin"]))
            .send()
            .await
            .expect("an answer");
        let status: Value = response.json().await.expect("JSON");
        status["hubs"][0].clone()
    }

    /// Waits until the hub's numbers are as a test needs them.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let mut status = Value::Null;
            let look = async {
                loop {
                    status = self.status().await;
                    if holds(&status) {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            if tokio::time::timeout(PATIENCE, look).await.is_err() {
                panic!("{what} did not come within {PATIENCE:?} ({place}); the hub says {status}");
            }
            status
        }
    }

    /// Opens a stream for a user and waits for `connected`.
    pub async fn stream(&self, user: &str, roles: &[&str]) -> EventStream {
        self.open_stream(&self.token(user, roles, &[]), Open::default())
            .await
    }

    /// Opens a stream with a cursor and waits for `connected`.
    pub async fn resume(&self, user: &str, roles: &[&str], cursor: &str) -> EventStream {
        let open = Open {
            last_event_id: Some(cursor.to_owned()),
            ..Open::default()
        };
        self.open_stream(&self.token(user, roles, &[]), open).await
    }

    pub async fn open_stream(&self, token: &str, open: Open) -> EventStream {
        self.request_stream(token, open).await.opened().await
    }

    /// Asks for a stream and reads the head of the answer, whatever it says.
    pub async fn request_stream(&self, token: &str, open: Open) -> EventStream {
        let answer = soon("the head", self.road.request(token, open)).await;
        answer.expect("the head of an answer")
    }

    /// A stream whose client reads nothing, with more on its way than fits between the two.
    pub async fn stuck_stream(&self, token: &str) -> EventStream {
        let open = Open {
            receive_buffer: Some(4 * 1024),
            ..Open::default()
        };
        let stream = self.open_stream(token, open).await;
        let text = "x".repeat(4_000);
        let drafts: Vec<_> = (0..100)
            .map(|_| json!({"everyone": true, "message": text}))
            .collect();
        let (status, _) = self.post("/notifications/batch", &json!(drafts)).await;
        assert_eq!(status, 200);
        stream
    }

    /// A connection on which a test speaks HTTP/1.1 itself.
    pub async fn connect(&self) -> Box<dyn Socket> {
        let connection = soon("a connection", self.road.connect()).await;
        connection.expect("a connection")
    }

    /// Sends bytes and returns all that comes until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.expect("the bytes are taken");
        let mut answer = Vec::new();
        // A reset after the answer is an end as well.
        let _ = soon("the end of the answer", socket.read_to_end(&mut answer)).await;
        answer
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.begin_to_stop();
    }
}

/// A client that trusts this hub's certificate, where it has one, and nobody else.
fn trusting(config: &Config) -> reqwest::ClientBuilder {
    let trusted = config.tls.certificate.iter().map(|path| {
        let pem = std::fs::read(path).expect("a certificate");
        reqwest::Certificate::from_pem(&pem).expect("a certificate")
    });
    // The hub closes a connection on which nothing is asked for so long; whoever asks at that moment is not answered.
    let idle = config.serve.header_timeout / 2;
    reqwest::Client::builder()
        .tls_certs_only(trusted)
        .pool_idle_timeout(idle)
}

/// A hub that has stopped, with its store.
pub struct Stopped {
    data: Arc<TempDir>,
    config: Config,
    way: Way,
    pem: Option<Arc<Pem>>,
}

impl Stopped {
    /// Starts a hub on the same store.
    pub async fn restart(self) -> TestHub {
        TestHub::open(self.data, self.config, self.way, self.pem).await
    }
}

/// A draft for one user, with a number in it.
pub fn to_user(user: &str, number: usize) -> Value {
    json!({"targetUserId": user, "message": format!("n{number}")})
}

/// A draft for a role, with a number in it.
pub fn to_role(role: &str, number: usize) -> Value {
    json!({"targetRoles": [role], "message": format!("n{number}")})
}
