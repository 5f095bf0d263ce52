//! `campanile webhook`, beside a running hub.

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::support::{Reply, command, soon};

struct Beside {
    data: PathBuf,
}

impl Beside {
    async fn webhook(&self, arguments: &[&str]) -> (i32, String, String) {
        command(&self.data, &[&["webhook"], arguments].concat()).await
    }

    async fn done(&self, arguments: &[&str]) -> (String, String) {
        let (code, results, words) = self.webhook(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {words}");
        (results, words)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_makes_tries_out_lists_and_deletes_endpoints_and_sends_again() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.retry = Vec::new();
    })
    .await;
    let mut sink = Sink::start([Reply::status(200), Reply::status(500), Reply::status(503)]).await;
    let beside = Beside { data: hub.data() };
    let url = sink.url();
    let add = ["add", &url, "--on", "always", "--severity", "medium"];
    let (secret, words) = beside.done(&add).await;
    let id = words
        .trim()
        .strip_prefix("endpoint ")
        .expect("an id")
        .to_owned();
    assert_eq!(
        beside.done(&["test", &id]).await.1,
        "it arrived, and was answered 200\n"
    );
    sink.signed(secret.trim()).await;
    let (code, _, words) = beside.webhook(&["test", &id]).await;
    let expected = "campanile: it did not come through: answered 500 Internal Server Error\n";
    assert_eq!((code, words.as_str()), (1, expected));
    sink.next().await;

    hub.broadcast(json!({"message": "all"})).await;
    let first = sink.next().await;
    let made = Made {
        id: id.clone(),
        secret: secret.trim().to_owned(),
    };
    until(&hub, &made, "its failure", |it| it["status"] == "failed").await;
    let (table, _) = beside.done(&["history", &id, "--status", "failed"]).await;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[1].starts_with(&first.id), "{table}");
    assert!(
        rows[1].ends_with("answered 503 Service Unavailable"),
        "{table}"
    );
    let again = beside.done(&["redeliver", &id, "--since", "1h"]).await;
    assert_eq!(again.1, "1 to be sent again\n");
    assert_eq!(sink.signed(secret.trim()).await.id, first.id);
    until(&hub, &made, "success", |it| it["status"] == "sent").await;
    beside.done(&["redeliver", &first.id]).await;
    assert_eq!(sink.next().await.id, first.id);

    let (rotated, _) = beside.done(&["rotate", &id]).await;
    assert!(rotated.starts_with("whsec_") && rotated != secret);
    let (table, _) = beside.done(&["list"]).await;
    let row = table.lines().nth(1).expect("a row");
    let expected = format!("{url}  (severities medium)");
    assert!(row.starts_with(&id) && row.ends_with(&expected), "{table}");
    let (list, _) = beside.done(&["list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["endpoints"][0]["on"], "always");
    beside.done(&["enable", &id]).await;
    beside.done(&["remove", &id]).await;
    let (code, _, words) = beside.webhook(&["remove", &id]).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("there is no such webhook endpoint"),
        "{words}"
    );
    let (code, _, words) = beside.webhook(&["add", "http://10.0.0.1/"]).await;
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("the address 10.0.0.1 is private"), "{words}");
    soon("the end", hub.stop()).await;
}
