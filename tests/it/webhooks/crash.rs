//! kill -9 between the claim, the sending and the record: at most one more send, under the same id, and the log says so.

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::support::{BinaryHub, Reply, token};

const ALLOWED: [&str; 4] = ["--webhook-allow", "127.0.0.0/8", "--start-grace", "0s"];

struct Crashing {
    data: tempfile::TempDir,
    admin: String,
    client: reqwest::Client,
}

impl Crashing {
    async fn new() -> (Self, BinaryHub) {
        let data = tempfile::tempdir().unwrap();
        let hub = BinaryHub::serve(data.path(), &ALLOWED).await;
        let crashing = Self {
            admin: token(&data, "root", &["--scope", "admin"]).await,
            client: reqwest::Client::new(),
            data,
        };
        (crashing, hub)
    }

    async fn post(&self, hub: &BinaryHub, path: &str, body: Value) -> Value {
        let request = self.client.post(hub.url(path)).bearer_auth(&self.admin);
        let answer = soon("an answer", request.json(&body).send()).await.unwrap();
        answer.json().await.unwrap()
    }

    fn file(&self) -> Connection {
        let file = Connection::open(self.data.path().join("campanile.db")).unwrap();
        file.busy_timeout(crate::support::PATIENCE).unwrap();
        file
    }

    /// Serves again; the ids that it says may arrive a second time.
    async fn again(&self) -> (BinaryHub, Vec<String>) {
        let log = self.data.path().join("log");
        let hub = BinaryHub::serve_logging(self.data.path(), &ALLOWED, &log).await;
        (hub, interrupted(&log).await)
    }
}

/// What the log names as interrupted, once it has anything to say about claims.
async fn interrupted(log: &Path) -> Vec<String> {
    let read = async {
        loop {
            let text = tokio::fs::read_to_string(log).await.unwrap_or_default();
            if text.contains("leases_reclaimed") && text.ends_with('\n') {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let text = soon("a word about claims", read).await;
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["fields"]["event"] == "webhook_interrupted")
        .map(|line| {
            line["fields"]["webhook"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn killed_between_send_and_record_it_is_sent_once_more_under_its_id_and_the_log_says_so() {
    let (crashing, hub) = Crashing::new().await;
    // It arrives, and is never answered: the hub has sent it, and cannot have written that.
    let mut sink = Sink::start([Reply::Silence]).await;
    let made = crashing
        .post(
            &hub,
            "/webhooks",
            json!({"url": sink.url(), "on": "always"}),
        )
        .await;
    let secret = made["secret"].as_str().expect("a secret");
    crashing
        .post(&hub, "/notifications/broadcast", json!({"message": "all"}))
        .await;
    let first = sink.signed(secret).await;
    hub.kill().await;
    let (hub, named) = crashing.again().await;
    let second = sink.signed(secret).await;
    assert_eq!(second.id, first.id);
    assert_eq!(named, [first.id]);
    assert_eq!(hub.terminate().await, Some(0));
    let states = crashing.file().query_row(
        "SELECT count(*), sum(state = 'sent'), max(attempts) FROM webhook",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    assert_eq!(states, Ok((1, 1, 2)));
    sink.expect_nothing();
}

#[tokio::test]
async fn killed_between_claim_and_send_it_is_sent_once_and_nothing_is_said_of_a_second_time() {
    let (crashing, hub) = Crashing::new().await;
    let mut sink = Sink::start([Reply::Silence]).await;
    let made = crashing
        .post(
            &hub,
            "/webhooks",
            json!({"url": sink.url(), "on": "always"}),
        )
        .await;
    crashing
        .post(&hub, "/notifications/broadcast", json!({"message": "all"}))
        .await;
    let first = sink.next().await;
    hub.kill().await;
    // As it stands after the claim, and before it begins.
    let changed = crashing.file().execute(
        "UPDATE webhook SET begun_ms = NULL WHERE owner IS NOT NULL",
        [],
    );
    assert_eq!(changed, Ok(1));
    let (hub, named) = crashing.again().await;
    let second = sink
        .signed(made["secret"].as_str().expect("a secret"))
        .await;
    assert_eq!((second.id, named), (first.id, Vec::new()));
    assert_eq!(hub.terminate().await, Some(0));
    sink.expect_nothing();
}

#[tokio::test]
async fn killed_at_any_moment_every_notification_has_its_one_webhook() {
    let (crashing, mut hub) = Crashing::new().await;
    let mut sink = Sink::start([]).await;
    let pace = json!({"url": sink.url(), "on": "always"});
    crashing.post(&hub, "/webhooks", pace).await;
    let mut told = std::collections::BTreeMap::new();
    for round in 0..3 {
        for number in 0..5 {
            let draft = json!({"everyone": true, "message": format!("{round}:{number}")});
            let answer = crashing.post(&hub, "/notifications", draft).await;
            let id = answer["notificationId"].as_str().expect("an id").to_owned();
            told.insert(id, std::collections::BTreeSet::new());
        }
        hub.kill().await;
        hub = BinaryHub::serve(crashing.data.path(), &ALLOWED).await;
    }
    while told.values().any(std::collections::BTreeSet::is_empty) {
        let received = sink.next().await;
        let about = &received.body["data"]["notification"]["notificationId"];
        let ids = told
            .get_mut(about.as_str().expect("an id"))
            .expect("it was published");
        ids.insert(received.id);
    }
    assert!(told.values().all(|ids| ids.len() == 1), "{told:?}");
    assert_eq!(hub.terminate().await, Some(0));
}
