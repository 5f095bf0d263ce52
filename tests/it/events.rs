//! The log as a pipeline reads it: lines of JSON, events by name, and nothing in them that is secret.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use campanile::auth::{Mint, Scope};
use campanile::clock::Timestamp;
use campanile::events;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::support::{EventStream, Open, binary, soon};

/// The lines of a log, each of which must be JSON.
struct Log {
    lines: Lines<BufReader<ChildStderr>>,
    text: String,
}

impl Log {
    /// Reads on to the next line of an event.
    async fn next(&mut self, event: &str) -> Value {
        loop {
            let line = soon(event, self.lines.next_line()).await.expect("text");
            let line =
                line.unwrap_or_else(|| panic!("the log ended before {event}: {}", self.text));
            self.text.push_str(&line);
            self.text.push('\n');
            let line: Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            if line["fields"]["event"] == event {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn each_line_of_a_json_log_is_json_named_and_without_a_secret() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = binary()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ])
        .args([
            "--log-format",
            "json",
            "--start-grace",
            "0s",
            "--retry",
            "1ms",
            "--data",
        ])
        .arg(data.path())
        .env("CAMPANILE_LOG", "campanile=trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(hub.stdout.take().unwrap()).lines();
    let mut log = Log {
        lines: BufReader::new(hub.stderr.take().unwrap()).lines(),
        text: String::new(),
    };
    let said = soon("its address", stdout.next_line())
        .await
        .unwrap()
        .unwrap();
    let base = said
        .strip_prefix("campanile listening on ")
        .unwrap()
        .to_owned();
    let secret = campanile::auth::Secret::load_or_create(&data.path().join("secret")).unwrap();
    let authenticator = campanile::auth::Authenticator::new(secret, &Default::default());
    let mint = |user: &str, scopes: &[Scope]| {
        let mint = Mint {
            user: user.to_owned(),
            roles: Vec::new(),
            scopes: scopes.iter().copied().collect(),
            ttl: Duration::from_secs(3600),
        };
        authenticator.mint(mint, Timestamp::now())
    };
    let (admin, reader) = (mint("root", &[Scope::Admin]), mint("ann", &[]));
    let client = reqwest::Client::new();
    let post = |path: &str, body: Value| {
        let request = client
            .post(format!("{base}{path}"))
            .bearer_auth(&admin)
            .json(&body);
        async move {
            let answer = soon("an answer", request.send()).await.unwrap();
            answer.json::<Value>().await.unwrap()
        }
    };

    let key = post("/keys", json!({"name": "billing", "scopes": ["publish"]})).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    let made = log.next(events::KEY_CREATED).await;
    assert_eq!(
        (&made["level"], &made["fields"]["name"]),
        (&json!("INFO"), &json!("billing"))
    );
    let answered = log.next(events::REQUEST_ANSWERED).await;
    assert_eq!(
        (&answered["level"], &answered["fields"]["route"]),
        (&json!("DEBUG"), &json!("/keys"))
    );

    let published = post(
        "/notifications",
        json!({"targetUserId": "bob", "message": "m"}),
    )
    .await;
    let failed = log.next(events::RECIPIENT_FAILED).await;
    assert_eq!(
        failed["fields"]["notification"],
        published["notificationId"]
    );
    assert_eq!(failed["fields"]["recipient"], "u:bob");

    let look = client
        .get(format!("{base}/notifications?user=bob&role=CREW"))
        .bearer_auth(&admin);
    assert!(
        soon("an answer", look.send())
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let viewed = log.next(events::INBOX_VIEWED).await;
    assert_eq!(viewed["level"], "INFO");
    assert_eq!(
        (&viewed["fields"]["by"], &viewed["fields"]["user"]),
        (&json!("user:campanile/root"), &json!("bob"))
    );

    let foreign = Open {
        last_event_id: Some("elsewhere-7".to_owned()),
        ..Open::default()
    };
    let address = base.strip_prefix("http://").unwrap().parse().unwrap();
    let stream = EventStream::open(address, &reader, foreign).await;
    let gap = log.next(events::STREAM_GAP).await;
    assert_eq!(
        (&gap["level"], &gap["fields"]["scope"]),
        (&json!("WARN"), &json!("epoch"))
    );
    assert_eq!(gap["fields"]["user"], "ann");
    drop(stream);

    let wrong = client
        .get(format!("{base}/keys"))
        .bearer_auth(format!("{admin}x"));
    assert_eq!(
        soon("an answer", wrong.send())
            .await
            .unwrap()
            .status()
            .as_u16(),
        401
    );
    let by_key = client
        .post(format!("{base}/notifications"))
        .bearer_auth(&key)
        .json(&json!({}));
    assert_eq!(
        soon("an answer", by_key.send())
            .await
            .unwrap()
            .status()
            .as_u16(),
        422
    );

    let pid = hub
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    soon("its end", log.lines.get_mut().read_to_string(&mut rest))
        .await
        .unwrap();
    let text = log.text + &rest;
    let mut named = BTreeSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        if let Some(event) = line["fields"]["event"].as_str() {
            assert!(events::ALL.contains(&event), "{event} is not listed");
            named.insert(event.to_owned());
        }
    }
    assert!(named.len() >= 4, "{named:?}");
    let stored = std::fs::read(data.path().join("secret")).unwrap();
    let stored = String::from_utf8_lossy(&stored).trim().to_owned();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [key, signature(&admin), signature(&reader), stored] {
        assert!(secret.len() > 16, "that is no secret: {secret}");
        assert!(!text.contains(&secret), "{secret} is in the log: {text}");
    }
    assert!(
        !text.contains("code="),
        "a link that signs in is in the log: {text}"
    );
    assert!(soon("its end", hub.wait()).await.unwrap().success());
}

#[test]
fn the_readme_lists_every_event() {
    const README: &str = include_str!("../../README.md");
    const HEAD: &str = "| event | level | fields | what it means |\n| --- | --- | --- | --- |\n";
    let (_, table) = README.split_once(HEAD).expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| {
        let first = row.split('|').nth(1).expect("a first column");
        first.split('`').skip(1).step_by(2)
    });
    let listed: Vec<&str> = names.collect();
    let mut all = events::ALL.to_vec();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    all.sort_unstable();
    assert_eq!(sorted, all);
}
