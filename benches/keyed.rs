//! What a key costs: publishing with an `Idempotency-Key` against publishing without, over HTTP, durably, in turns.
//!
//!     cargo bench --bench keyed
//!
//! One backend with 64 connections, each publishing for a user with an open stream: a quarter of a second without keys,
//! another with keys that follow each other (order numbers), another in which each connection is a backend with numbers of
//! its own, another with random keys, and so on, so that the machine's own ups and downs fall on all alike. It prints the
//! medians of the notifications per second, and of the ratios of neighbouring turns. The more pages of their index the keys
//! of a commit fall on, the more they cost; the key comes first in it, so what counts is how the keys lie, not whose they are.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::auth::{Mint, Scope};
use campanile::clock::Timestamp;
use campanile::config::Config;
use campanile::{Hub, Server};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use uuid::Uuid;

type Failure = Box<dyn Error + Send + Sync>;

const PUBLISHERS: usize = 64;
const TURN: Duration = Duration::from_millis(250);
const ROUNDS: usize = 40;

/// What keys a turn's notifications have.
#[derive(Clone, Copy)]
enum Keys {
    None,
    InOrder,
    /// In order as well, but each publisher is a backend of its own.
    OfItsOwn,
    Random,
}

const KINDS: [(Keys, &str); 4] = [
    (Keys::None, "without a key"),
    (Keys::InOrder, "keys in order"),
    (Keys::OfItsOwn, "64 backends"),
    (Keys::Random, "random keys"),
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let mut config = Config::default();
    config.serve.listen = "127.0.0.1:0".parse()?;
    config.serve.data = data.path().join("data");
    let server = Server::open(config).await?;
    let (hub, address) = (server.hub().clone(), server.local_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));

    let readers = try_join_all((0..PUBLISHERS).map(|n| read(address, token(&hub, n, &[]))));
    let readers: Vec<_> = readers.await?.into_iter().map(tokio::spawn).collect();
    let publishers = (0..PUBLISHERS).map(|n| {
        let [shared, own] = [0, n].map(|user| token(&hub, user, &[Scope::Publish]));
        Publisher::connect(address, shared, own, n)
    });
    let mut publishers = try_join_all(publishers).await?;

    turn(&mut publishers, Keys::InOrder).await?;
    let mut rates: [Vec<f64>; KINDS.len()] = Default::default();
    for round in 0..ROUNDS {
        // Who comes first alternates as well.
        for turns in 0..KINDS.len() {
            let kind = (turns + round) % KINDS.len();
            rates[kind].push(turn(&mut publishers, KINDS[kind].0).await?);
        }
    }
    println!("{PUBLISHERS} publishers, {ROUNDS} rounds of turns of {TURN:?}; medians:");
    for ((_, name), of_kind) in KINDS.iter().zip(&rates) {
        let ratios = of_kind
            .iter()
            .zip(&rates[0])
            .map(|(rate, plain)| rate / plain);
        let (ratio, rate) = (median(ratios.collect()), median(of_kind.clone()));
        println!("{name:<14} {rate:>7.0} notifications/s   ratio {ratio:.3}");
    }

    drop(publishers);
    let _ = stop.send(());
    running.await??;
    for reader in readers {
        reader.await?;
    }
    Ok(())
}

fn token(hub: &Hub, user: usize, scopes: &[Scope]) -> String {
    let mint = Mint {
        user: format!("u{user}"),
        roles: Vec::new(),
        scopes: scopes.iter().copied().collect(),
        ttl: Duration::from_secs(3600),
    };
    hub.authenticator().mint(mint, Timestamp::now())
}

/// Opens a stream; what is returned reads it to its end.
async fn read(address: SocketAddr, token: String) -> Result<impl Future<Output = ()>, Failure> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!(
        "GET /notifications/stream HTTP/1.1\r\nhost: hub\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut bytes = vec![0; 64 * 1024];
    if socket.read(&mut bytes).await? == 0 {
        return Err("the stream was not opened".into());
    }
    Ok(async move { while matches!(socket.read(&mut bytes).await, Ok(1..)) {} })
}

struct Publisher {
    socket: TcpStream,
    /// The one backend's, and one of its own.
    shared: Arc<str>,
    own: Arc<str>,
    number: usize,
    published: usize,
    answer: Vec<u8>,
}

impl Publisher {
    async fn connect(
        address: SocketAddr,
        shared: String,
        own: String,
        number: usize,
    ) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            shared: shared.into(),
            own: own.into(),
            number,
            published: 0,
            answer: vec![0; 4 * 1024],
        })
    }

    /// Publishes one after the other until the turn is over; how many were acknowledged.
    async fn publish(&mut self, keys: Keys, until: Instant) -> Result<usize, Failure> {
        let mut acknowledged = 0;
        while Instant::now() < until {
            self.published += 1;
            let (n, i) = (self.number, self.published);
            let token = match keys {
                Keys::OfItsOwn => &self.own,
                Keys::None | Keys::InOrder | Keys::Random => &self.shared,
            };
            let body = format!(
                r#"{{"targetUserId":"u{n}","message":"Order #{i} was placed","module":"orders"}}"#
            );
            let key = match keys {
                Keys::None => String::new(),
                Keys::InOrder => format!("idempotency-key: order-{:08}\r\n", i * PUBLISHERS + n),
                Keys::OfItsOwn => format!("idempotency-key: mine-{i:08}\r\n"),
                Keys::Random => format!("idempotency-key: {}\r\n", Uuid::new_v4()),
            };
            let request = format!(
                "POST /notifications HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{key}content-length: {}\r\n\r\n{body}",
                body.len()
            );
            self.socket.write_all(request.as_bytes()).await?;
            let length = self.socket.read(&mut self.answer).await?;
            let answer = String::from_utf8_lossy(&self.answer[..length]);
            if !answer.starts_with("HTTP/1.1 201") {
                return Err(format!("not published: {answer}").into());
            }
            acknowledged += 1;
        }
        Ok(acknowledged)
    }
}

/// All publishers at once; how many notifications a second they published.
async fn turn(publishers: &mut [Publisher], keys: Keys) -> Result<f64, Failure> {
    let begun = Instant::now();
    let until = begun + TURN;
    let publishing = publishers.iter_mut().map(|one| one.publish(keys, until));
    let acknowledged: usize = try_join_all(publishing).await?.into_iter().sum();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    Ok(acknowledged as f64 / begun.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
