//! Each of the store's calls fails once, at its first, second, third time: publishers and readers ask again, and everything
//! ends up as if it had not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campanile::Hub;
use campanile::auth::{Authenticator, Mint, Scope, Secret};
use campanile::clock::Timestamp;
use campanile::config::Config;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Opened, Store};
use futures::future::join_all;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::store::{Call, Faulty};
use crate::support::{EventStream, Open, soon};

/// Each, and how often it is certain to be called.
const CALLS: [(Call, usize); 19] = [
    (Call::Append, 6),
    (Call::Release, 2),
    (Call::Remind, 2),
    (Call::Flush, 2),
    (Call::Start, 3),
    (Call::Page, 1),
    (Call::Owed, 1),
    (Call::Inbox, 1),
    (Call::InboxEntry, 1),
    (Call::Unread, 2),
    (Call::MarkRead, 1),
    (Call::MarkAllRead, 1),
    (Call::Entries, 3),
    (Call::Claim, 3),
    (Call::Settle, 3),
    (Call::Reclaim, 1),
    (Call::Prune, 1),
    (Call::Counts, 2),
    (Call::ClaimWebhooks, 1),
];

/// A hub on such a store, behind the hub's own server.
struct FaultyHub {
    hub: Hub,
    addr: SocketAddr,
    client: reqwest::Client,
    what: String,
}

impl FaultyHub {
    fn token(&self, user: &str, scope: Option<Scope>) -> String {
        self.hub.authenticator().mint(
            Mint {
                user: user.to_owned(),
                roles: Vec::new(),
                scopes: scope.into_iter().collect(),
                ttl: Duration::from_secs(3600),
            },
            Timestamp::now(),
        )
    }

    /// Asks until the answer is another than 503, which it must be soon.
    async fn ask(&self, token: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let asked = async {
            loop {
                let url = format!("http://{}{path}", self.addr);
                let request = match &body {
                    Some(body) => self.client.post(url).json(body),
                    None => self.client.get(url),
                };
                let response = request.bearer_auth(token).send().await.expect("an answer");
                let status = response.status().as_u16();
                if status != 503 {
                    return (status, response.json().await.unwrap_or(Value::Null));
                }
                assert!(
                    response.headers().contains_key("retry-after"),
                    "{}",
                    self.what
                );
            }
        };
        soon(&format!("an answer to {path}, {}", self.what), asked).await
    }

    async fn publish(&self, number: usize) -> Value {
        let mut draft = json!({
            "targetUserIds": ["ann", "bob"], "message": format!("n{number}"),
            "idempotencyKey": format!("k{number}"), "reference": {"prefix": "R"},
            "throttle": {"key": format!("t{number}"), "window": "1h"},
        });
        if number == 5 {
            // The last one is held back for a moment.
            let due = Timestamp::now().saturating_add(Duration::from_millis(400));
            draft["deliverAt"] = due.to_string().into();
        }
        let token = self.token("publisher", Some(Scope::Publish));
        let (status, answer) = self.ask(&token, "/notifications", Some(draft)).await;
        // Not 200: what failed has left nothing under its key.
        assert_eq!(status, 201, "{}: {answer}", self.what);
        answer
    }

    /// Opens a stream, again if it is sent away for now.
    async fn stream(&self, user: &str, cursor: Option<&str>) -> EventStream {
        let opened = async {
            loop {
                let open = Open {
                    last_event_id: cursor.map(str::to_owned),
                    ..Open::default()
                };
                let token = self.token(user, None);
                let mut stream = EventStream::request(self.addr, &token, open).await;
                assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
                // Whoever is sent away is told so in a body of a known length.
                if stream.head.contains("content-length") {
                    continue;
                }
                let connected = stream.next().await;
                assert_eq!(connected.kind(), "connected", "{}", self.what);
                return stream;
            }
        };
        soon(&format!("a stream, {}", self.what), opened).await
    }

    /// Waits until the hub's numbers are as they should be.
    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let token = self.token("admin", Some(Scope::Admin));
        let looked = async {
            while !holds(&self.ask(&token, "/notifications/status", None).await.1["hubs"][0]) {
                tokio::task::yield_now().await;
            }
        };
        soon(&format!("{what}, {}", self.what), looked).await;
    }

    async fn unread(&self, user: &str) -> Value {
        let token = self.token(user, None);
        let (_, status) = self.ask(&token, "/notifications/status", None).await;
        status["unread"].clone()
    }
}

async fn messages(stream: &mut EventStream, from: usize, to: usize) {
    let due: Vec<String> = (from..to).map(|number| format!("n{number}")).collect();
    assert_eq!(stream.messages(due.len()).await, due);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_fails_is_made_again_and_nothing_is_lost_or_doubled() {
    let each = CALLS
        .iter()
        .flat_map(|(call, times)| (1..=*times).map(|time| fails_once(*call, time)));
    join_all(each).await;
}

async fn fails_once(call: Call, time: usize) {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("campanile.db");
    let mut config = Config::default();
    config.delivery.start_grace = Duration::ZERO;
    config.delivery.safety_look = Duration::from_millis(100);
    config.delivery.retry = vec![Duration::from_millis(20); 3];
    let secret = || Secret::load_or_create(&data.path().join("secret")).expect("a secret");
    let options = || SqliteOptions {
        first_ask: Duration::from_millis(20),
        ..SqliteOptions::default()
    };
    let opened = || SqliteStore::open(&file, options()).expect("the store opens");
    let Opened {
        store,
        committed,
        log,
    } = opened();
    let faulty = Arc::new(Faulty {
        store,
        call,
        time,
        called: AtomicUsize::new(0),
    });
    let begun = Opened {
        store: Arc::clone(&faulty) as Arc<dyn Store>,
        committed,
        log,
    };
    let authenticator = Authenticator::new(secret(), &config.auth);
    let hub = match Hub::start(begun, &config, authenticator).await {
        Ok(hub) => hub,
        // Whoever cannot read the log does not begin; once the store answers, it does.
        Err(error) => {
            assert_eq!((call, time), (Call::Entries, 1), "{error}");
            faulty.close().await;
            let authenticator = Authenticator::new(secret(), &config.auth);
            let started = Hub::start(opened(), &config, authenticator).await;
            started.expect("the hub starts")
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hub = FaultyHub {
        addr: listener.local_addr().expect("an address"),
        hub,
        client: reqwest::Client::new(),
        what: format!("with {call:?} failing at its time {time}"),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (handle, served) = (hub.hub.clone(), config.clone());
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        campanile::server::serve(listener, handle, &served, stopped).await
    });

    let mut ann = hub.stream("ann", None).await;
    let first = ann.last_id.clone().expect("a place");
    let mut last = Value::Null;
    for number in 0..6 {
        last = hub.publish(number).await;
    }
    messages(&mut ann, 0, 6).await;
    hub.until("the end of asking", |s| {
        s["queue"]["pending"] == 0 && s["queue"]["failed"] == 6
    })
    .await;
    // One who resumes, and one for whom all of it is owed.
    let mut resumed = hub.stream("ann", Some(&first)).await;
    messages(&mut resumed, 0, 6).await;
    let mut bob = hub.stream("bob", None).await;
    messages(&mut bob, 0, 6).await;
    hub.until("every delivery", |s| s["queue"]["failed"] == 0)
        .await;

    let path = format!(
        "/notifications/{}/read",
        last["notificationId"].as_str().expect("an id")
    );
    let token = hub.token("ann", None);
    assert_eq!(hub.ask(&token, &path, Some(json!({}))).await.0, 204);
    assert_eq!(hub.unread("ann").await, 5);
    let (status, page) = hub.ask(&token, "/notifications", None).await;
    assert_eq!((status, &page["unread"]), (200, &json!(5)), "{}", hub.what);
    let item = path.strip_suffix("/read").expect("its path");
    let (status, item) = hub.ask(&token, item, None).await;
    assert_eq!((status, &item["read"]), (200, &json!(true)), "{}", hub.what);
    assert_eq!(page["notifications"][0], item, "{}", hub.what);
    let all = hub
        .ask(&token, "/notifications/read-all", Some(json!({})))
        .await;
    assert_eq!((all.0, hub.unread("ann").await), (204, json!(0)));
    drop((ann, resumed, bob));
    assert!(
        faulty.called.load(Ordering::SeqCst) >= time,
        "never {}",
        hub.what
    );
    stop.send(()).expect("it runs");
    soon("the end", serving)
        .await
        .expect("no panic")
        .expect("an orderly end");
    check(&file, &hub.what);
}

/// That six were made whole, and nothing else.
fn check(file: &Path, what: &str) {
    let file = Connection::open(file).expect("a connection");
    let number = |sql: &str| -> i64 {
        let number = file.query_row(sql, [], |row| row.get(0));
        number.expect("a number")
    };
    for (sql, due) in [
        ("SELECT count(*) FROM entry", 6),
        ("SELECT head FROM hub", 6),
        ("SELECT settled FROM hub", 6),
        ("SELECT count(*) FROM audience", 12),
        ("SELECT count(*) FROM idempotency JOIN entry USING (id)", 6),
        ("SELECT count(*) FROM reference JOIN entry USING (id)", 6),
        ("SELECT last FROM reference_counter", 6),
        ("SELECT count(*) FROM throttle JOIN entry USING (id)", 6),
        ("SELECT count(*) FROM duplicate", 0),
        // A stream that was dropped may have had a last packet on its way: what that stood for is owed again.
        (
            "SELECT count(*) FROM delivery WHERE owner IS NOT NULL OR
             (state <> 'sent' AND reason <> 'the connection broke before it was acknowledged')",
            0,
        ),
    ] {
        assert_eq!(number(sql), due, "{sql}, {what}");
    }
}
