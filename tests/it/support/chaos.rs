//! A proxy between clients and a hub that does to connections what networks do: it delays, stalls, cuts, resets, and forgets
//! one of the two sides. Which of these, and when, follows from its seed and the connection's number alone.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of a connection; places are in bytes of the hub's answer, but where the request is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Passed,
    /// Each piece comes late.
    Delayed(Duration),
    /// After so many bytes nothing comes any more, and nobody says so.
    Stalled(usize),
    /// After so many bytes it ends in order, as if all had been said.
    Truncated(usize),
    /// After so many bytes it is reset on both sides.
    Reset(usize),
    /// After so many bytes of the request it is reset on both sides.
    RequestCut(usize),
    /// After so many bytes it ends for the client, and the hub is not told.
    HalfOpen(usize),
}

/// Numbers that look random and follow from their seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl Fate {
    /// That of a connection.
    fn of(seed: u64, connection: u64) -> Self {
        let mut draw = Draw(seed.wrapping_mul(1_000_003) ^ connection.wrapping_mul(0x5851_f42d));
        let kind = draw.below(8);
        // Often within the head or the first event, and sometimes far behind.
        let reach = [400, 1_500, 12_000][usize::try_from(draw.below(3)).unwrap()];
        let place = usize::try_from(draw.below(reach)).unwrap();
        match kind {
            0 => Self::Passed,
            1 => Self::Delayed(Duration::from_millis(1 + draw.below(20))),
            2 => Self::Stalled(place),
            3 | 4 => Self::Truncated(place),
            5 => Self::Reset(place),
            6 => Self::RequestCut(place % 400),
            _ => Self::HalfOpen(place),
        }
    }
}

/// The proxy.
pub struct Chaos {
    pub addr: SocketAddr,
    upstream: watch::Sender<SocketAddr>,
    suffered: Arc<Mutex<Vec<Fate>>>,
    accepting: JoinHandle<()>,
}

impl Chaos {
    /// In front of this address.
    pub async fn start(upstream: SocketAddr, seed: u64) -> Self {
        Self::with(upstream, move |connection| Fate::of(seed, connection)).await
    }

    /// The same with one fate for all.
    pub async fn certain(upstream: SocketAddr, fate: Fate) -> Self {
        Self::with(upstream, move |_| fate).await
    }

    async fn with(upstream: SocketAddr, fate: impl Fn(u64) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (upstream, to) = watch::channel(upstream);
        let suffered = Arc::<Mutex<Vec<Fate>>>::default();
        let fates = Arc::clone(&suffered);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else {
                    return;
                };
                let fate = fate(number);
                fates.lock().unwrap().push(fate);
                let hub = *to.borrow();
                connections.spawn(async move {
                    // If the hub is not there, the client is closed.
                    if let Ok(hub) = TcpStream::connect(hub).await {
                        carry(client, hub, fate).await;
                    }
                });
            }
        });
        Self {
            addr,
            upstream,
            suffered,
            accepting,
        }
    }

    /// In front of another address from now on.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }

    /// What has become of the connections so far, in their order.
    pub fn suffered(&self) -> Vec<Fate> {
        self.suffered.lock().unwrap().clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// How one direction ended.
enum End {
    /// As its sender ended it, or the receiver is gone.
    Over,
    /// At the place that its fate has for it.
    Fated,
}

async fn carry(client: TcpStream, hub: TcpStream, fate: Fate) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_hub, mut to_hub) = hub.into_split();
    let (asked, answered) = match fate {
        Fate::RequestCut(place) => (place, usize::MAX),
        Fate::Stalled(place)
        | Fate::Truncated(place)
        | Fate::Reset(place)
        | Fate::HalfOpen(place) => (usize::MAX, place),
        Fate::Passed | Fate::Delayed(_) => (usize::MAX, usize::MAX),
    };
    let pause = match fate {
        Fate::Delayed(pause) => pause,
        _ => Duration::ZERO,
    };
    let end = tokio::select! {
        end = pass(&mut from_client, &mut to_hub, asked, pause) => end,
        end = pass(&mut from_hub, &mut to_client, answered, pause) => end,
    };
    if matches!(end, End::Over) {
        return;
    }
    let client = from_client.reunite(to_client).expect("the same socket");
    let hub = from_hub.reunite(to_hub).expect("the same socket");
    match fate {
        Fate::Reset(_) | Fate::RequestCut(_) => {
            for socket in [&client, &hub] {
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
        }
        Fate::Stalled(_) => std::future::pending().await,
        Fate::HalfOpen(_) => {
            drop(client);
            std::future::pending().await
        }
        Fate::Truncated(_) | Fate::Passed | Fate::Delayed(_) => {}
    }
}

/// Passes bytes on, up to a place.
async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut left: usize,
    pause: Duration,
) -> End {
    let mut buffer = vec![0; 4_096];
    loop {
        if left == 0 {
            return End::Fated;
        }
        let most = left.min(buffer.len());
        match from.read(&mut buffer[..most]).await {
            Ok(read) if read > 0 => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                if to.write_all(&buffer[..read]).await.is_err() {
                    return End::Over;
                }
                left -= read;
            }
            _ => return End::Over,
        }
    }
}
