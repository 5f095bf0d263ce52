//! After a restart every stream comes back at once, each with its cursor: all of them are served, in order and once, and
//! whoever publishes and listens meanwhile is served as well.
//!
//! `CAMPANILE_TEST_STREAMS` says how many come, and `CAMPANILE_TEST_HUB` names another binary than the tests' own: what it took
//! is printed (`cargo test --test it -- --nocapture storm`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use campanile::auth::{Authenticator, Mint, Scope, Secret};
use campanile::clock::Timestamp;
use campanile::config::Config;
use serde_json::json;
use tokio::sync::Barrier;

use crate::support::{BinaryHub, EventStream, Open, soon};

/// How many notifications each has missed.
const MISSED: usize = 20;
const STREAMS: usize = 1_000;
/// How long whoever comes back may take: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn streams() -> usize {
    let asked = std::env::var("CAMPANILE_TEST_STREAMS").ok();
    asked.map_or(STREAMS, |asked| asked.parse().expect("a number"))
}

/// Tokens that the hub of a data directory takes.
struct Tokens(Authenticator);

impl Tokens {
    fn of(data: &Path) -> Self {
        let secret = Secret::load_or_create(&data.join("secret")).expect("the secret");
        Self(Authenticator::new(secret, &Config::default().auth))
    }

    fn mint(&self, user: &str, scopes: &[Scope]) -> String {
        let mint = Mint {
            user: user.to_owned(),
            roles: vec!["CREW".to_owned()],
            scopes: scopes.iter().copied().collect(),
            ttl: Duration::from_secs(3_600),
        };
        self.0.mint(mint, Timestamp::now())
    }
}

async fn publish(hub: &BinaryHub, token: &str, body: serde_json::Value) {
    let request = reqwest::Client::new()
        .post(hub.url("/notifications/batch"))
        .bearer_auth(token)
        .json(&body);
    let response = soon("an answer", request.send()).await.expect("an answer");
    assert_eq!(response.status(), 200);
}

/// Comes back with a cursor until it is let in, and reads what it missed. How often it was told to wait.
async fn comes_back(addr: std::net::SocketAddr, token: String, cursor: String) -> usize {
    let mut refused = 0;
    loop {
        let open = Open {
            last_event_id: Some(cursor.clone()),
            ..Open::default()
        };
        let mut stream = EventStream::request(addr, &token, open).await;
        assert!(
            stream.head.starts_with("HTTP/1.1 200 OK"),
            "{}",
            stream.head
        );
        let first = stream.next().await;
        if first.kind() == "bye" {
            refused += 1;
            let retry = first.retry.expect("when to come back");
            tokio::time::sleep(Duration::from_millis(retry)).await;
            continue;
        }
        assert_eq!(first.data["data"]["recovered"], true, "{first:?}");
        for number in 0..MISSED {
            assert_eq!(
                stream.notification().await.message(),
                format!("missed {number}")
            );
        }
        return refused;
    }
}

/// The most memory that a process has had, in megabytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("a number") / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_come_back_at_once_each_gets_what_it_missed_and_who_is_live_is_served_meanwhile() {
    let data = tempfile::tempdir().expect("a directory");
    let streams = streams();
    let more = ["--start-grace", "60s"];
    let quick = [
        ("CAMPANILE_STREAM_RETRY_MIN", "1s"),
        ("CAMPANILE_STREAM_RETRY_MAX", "3s"),
    ];
    let hub = BinaryHub::serve_with(data.path(), &more, &quick).await;
    let tokens = Tokens::of(data.path());
    let publisher = tokens.mint("publisher", &[Scope::Publish]);
    let stream = EventStream::open(hub.addr(), &tokens.mint("first", &[]), Open::default()).await;
    let cursor = stream.connected.id.clone().expect("a place");
    let missed: Vec<_> = (0..MISSED)
        .map(|number| json!({"targetRoles": ["CREW"], "message": format!("missed {number}")}))
        .collect();
    publish(&hub, &publisher, json!(missed)).await;
    hub.kill().await;

    let hub = BinaryHub::serve_with(data.path(), &more, &quick).await;
    let mut live = EventStream::open(hub.addr(), &tokens.mint("live", &[]), Open::default()).await;
    let start = Arc::new(Barrier::new(streams + 1));
    let back = Arc::new(AtomicUsize::new(0));
    let storm: Vec<_> = (0..streams)
        .map(|number| {
            let (token, cursor) = (tokens.mint(&format!("user-{number}"), &[]), cursor.clone());
            let (start, back, addr) = (Arc::clone(&start), Arc::clone(&back), hub.addr());
            tokio::spawn(async move {
                start.wait().await;
                let refused = comes_back(addr, token, cursor).await;
                back.fetch_add(1, Ordering::Relaxed);
                refused
            })
        })
        .collect();
    start.wait().await;
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while back.load(Ordering::Relaxed) < streams && begun.elapsed() < PATIENCE {
        let message = format!("live {}", latencies.len());
        let sent = Instant::now();
        publish(
            &hub,
            &publisher,
            json!([{"targetUserId": "live", "message": message}]),
        )
        .await;
        live.expect_next_message(&message).await;
        latencies.push(sent.elapsed());
    }
    let took = begun.elapsed();
    let mut refusals = 0;
    for one in storm {
        refusals += soon("one of the storm", one).await.expect("no panic");
    }
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies
            .get(latencies.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    let memory = peak_memory(hub.id());
    println!(
        "{streams} streams were back after {took:?}, {refusals} times told to wait; meanwhile {} notifications from POST to \
         stream: half within {:?}, 99 of 100 within {:?}, all within {:?}; at most {memory} MB",
        latencies.len(),
        at(50),
        at(99),
        latencies.last().copied().unwrap_or_default(),
    );
    // A page for each of them in memory at once would be more than this, and so would a buffer for each.
    let bound = 150 + streams as u64 / 10;
    assert!(memory < bound, "{memory} MB for {streams} streams");
    assert_eq!(hub.terminate().await, Some(0));
}
