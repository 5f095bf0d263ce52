//! `campanile prune`: by hand, beside a running hub or in a stopped one's store.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{BinaryHub, EventStream, Open, command, soon, token};

/// A hub's process with so many notifications for ann in its log, all decided about, and accepted eight days ago.
struct Aged {
    data: TempDir,
    hub: BinaryHub,
    publisher: String,
    client: reqwest::Client,
}

impl Aged {
    async fn hub(notifications: usize) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let publisher = token(&data, "backend", &["--scope", "publish"]).await;
        let hub = BinaryHub::serve(data.path(), &[]).await;
        let this = Self {
            data,
            hub,
            publisher,
            client: reqwest::Client::new(),
        };
        let drafts: Vec<Value> = (0..notifications).map(draft).collect();
        for drafts in drafts.chunks(1_000) {
            assert_eq!(this.post("/notifications/batch", json!(drafts)).await, 200);
        }
        let file = this.file();
        let settled = async {
            let left = "SELECT head - settled FROM hub";
            while file.query_row(left, [], |row| row.get::<_, i64>(0)) != Ok(0) {
                tokio::task::yield_now().await;
            }
        };
        soon("every verdict", settled).await;
        file.execute(
            "UPDATE entry SET created_ms = created_ms - 8 * 86400000",
            [],
        )
        .expect("they are older now");
        this
    }

    fn file(&self) -> Connection {
        Connection::open(self.data.path().join("campanile.db")).expect("the store")
    }

    async fn post(&self, path: &str, body: Value) -> u16 {
        let answer = self
            .client
            .post(self.hub.url(path))
            .bearer_auth(&self.publisher)
            .json(&body)
            .send()
            .await;
        answer.expect("an answer").status().as_u16()
    }

    async fn prune(&self, more: &[&str]) -> (i32, String, String) {
        prune(self.data.path(), more).await
    }
}

async fn prune(data: &Path, more: &[&str]) -> (i32, String, String) {
    command(data, &[&["prune"], more].concat()).await
}

fn draft(number: usize) -> Value {
    json!({"targetUserId": "ann", "message": format!("n{number}")})
}

#[tokio::test]
async fn beside_a_running_hub_what_is_old_goes_and_a_stream_from_before_is_told_of_the_gap() {
    let aged = Aged::hub(450).await;
    let reader = token(&aged.data, "ann", &[]).await;
    let stream = EventStream::open(aged.hub.addr(), &reader, Open::default()).await;
    let epoch = stream.connected.id.clone().expect("an id");
    let epoch = epoch.split_once('-').expect("an epoch").0;
    drop(stream);
    assert_eq!(aged.post("/notifications", draft(450)).await, 201);

    let as_configured = aged.prune(&["--json"]).await;
    let nothing = r#"{"pruned":{"audit":0,"broadcasts":0,"idempotency":0,"notifications":0,"throttles":0,"webhooks":0}}"#;
    assert_eq!(as_configured, (0, format!("{nothing}\n"), String::new()));
    let week = ["--notifications", "7d"];
    let counted = aged.prune(&[&week[..], &["--dry-run"]].concat()).await;
    let expected = "would delete 450 notifications\n".to_owned();
    assert_eq!(counted, (0, expected, String::new()));
    let pruned = aged.prune(&week).await;
    let expected = "deleted 450 notifications\n".to_owned();
    assert_eq!(pruned, (0, expected, String::new()));
    assert_eq!(aged.prune(&week).await.1, "deleted nothing\n");

    let open = |position: u64| Open {
        last_event_id: Some(format!("{epoch}-{position}")),
        ..Open::default()
    };
    let mut from_before = EventStream::open(aged.hub.addr(), &reader, open(449)).await;
    let gap = from_before.next().await;
    assert_eq!(gap.data["data"]["scope"], "inbox", "{gap:?}");
    let mut from_after = EventStream::open(aged.hub.addr(), &reader, open(450)).await;
    from_after.expect_next_message("n450").await;
}

#[tokio::test]
async fn whoever_publishes_meanwhile_has_their_turn_after_every_step() {
    let aged = Aged::hub(3_000).await;
    let pruning = aged.prune(&["--notifications", "7d"]);
    tokio::pin!(pruning);
    let mut accepted = 0;
    let (code, stdout, stderr) = loop {
        tokio::select! {
            pruned = &mut pruning => break pruned,
            status = aged.post("/notifications", draft(0)) => {
                assert_eq!(status, 201);
                accepted += 1;
            }
        }
    };
    assert_eq!(stdout, "deleted 3000 notifications\n", "{code} {stderr}");
    // Thirty steps of 100.
    assert!(accepted >= 30, "{accepted}");
}

#[tokio::test]
async fn a_stopped_hubs_store_is_pruned_where_it_lies() {
    let aged = Aged::hub(1_200).await;
    let Aged { data, hub, .. } = aged;
    assert_eq!(hub.terminate().await, Some(0));
    let (code, stdout, stderr) = prune(
        data.path(),
        &["--notifications", "7d", "--dry-run", "--json"],
    )
    .await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let counted: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(counted["left"]["notifications"], 1_200);
    let (code, stdout, stderr) = prune(data.path(), &["--notifications", "7d"]).await;
    let expected = "deleted 1200 notifications\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, expected, ""));
    let (_, stdout, _) = prune(data.path(), &["--notifications", "7d"]).await;
    assert_eq!(stdout, "deleted nothing\n");
}

#[tokio::test]
async fn an_age_that_is_not_allowed_is_told_in_one_line_and_nothing_goes() {
    let data = tempfile::tempdir().expect("a directory");
    for (arguments, expected) in [
        (
            ["--idempotency", "1h"],
            "campanile: --idempotency: retention.idempotency: must be 1d to 3650d, not 1h\n",
        ),
        (
            ["--notifications", "7"],
            "campanile: --notifications: retention.notifications: must be a duration such as \"500ms\", \"15s\", \"1m 30s\", \"1h\" or \"30d\"\n",
        ),
    ] {
        let (code, stdout, stderr) = prune(data.path(), &arguments).await;
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert_eq!(stderr, expected);
    }
    let (code, _, stderr) = prune(data.path(), &[]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(!data.path().join("campanile.db").exists());
}

#[tokio::test]
async fn over_http_a_step_says_what_went_and_whether_there_is_more() {
    let aged = Aged::hub(250).await;
    let admin = token(&aged.data, "root", &["--scope", "admin"]).await;
    let post = async |body: Value| {
        let request = aged.client.post(aged.hub.url("/prune"));
        let answer = request.bearer_auth(&admin).json(&body).send().await;
        let answer = answer.expect("an answer");
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.expect("JSON"),
        )
    };
    for (gone, more) in [(100, true), (100, true), (50, false), (0, false)] {
        let (status, answer) = post(json!({"notifications": "7d"})).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["pruned"]["notifications"], gone);
        assert_eq!(answer["more"], more);
    }
    for (field, age) in [("broadcasts", "0s"), ("idempotency", "23h"), ("audit", "x")] {
        let (status, answer) = post(json!({field: age})).await;
        assert_eq!(status, 422, "{answer}");
        assert_eq!(answer["errors"][0]["field"], field);
    }
    assert_eq!(post(json!({"notification": "7d"})).await.0, 422);
}
