//! What is secret stands nowhere but where it belongs: not in the log at its loudest, not in an answer, a metric, a store's
//! file or what a program prints for its programmers. And its files are their owner's alone, or the hub says so.

mod signing_in;

use std::fmt::Debug;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use campanile::auth::{Authenticator, KeyRing, Mint, Scope, Secret, new_key};
use campanile::clock::Timestamp;
use campanile::config::{Config, Environment};
use campanile::events;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{BinaryHub, DRAFT_FIELDS, TestHub, soon};

const MARK: &str = "pl4nted";

/// Secrets that have been handed out, and those that no hub knows, each with where it was put.
#[derive(Default)]
struct Planted(Vec<(String, String)>);

impl Planted {
    /// A new one, for this place.
    fn seed(&mut self, place: &str) -> String {
        let secret = format!(
            "{MARK}-{:04}-secret-{}",
            self.0.len(),
            place.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        );
        self.real(place, &secret);
        secret
    }

    /// One that really opens something.
    fn real(&mut self, place: &str, secret: &str) {
        assert!(secret.len() >= 16, "{place}: that is no secret: {secret}");
        self.0.push((place.to_owned(), secret.to_owned()));
    }

    #[track_caller]
    fn are_not_in(&self, what: &str, text: &[u8]) {
        assert!(!text.is_empty(), "{what} is empty");
        for (place, secret) in &self.0 {
            let found = memchr::memmem::find(text, secret.as_bytes());
            let around = found.map(|at| {
                let end = text.len().min(at + 200);
                String::from_utf8_lossy(&text[at.saturating_sub(200)..end]).into_owned()
            });
            assert!(
                around.is_none(),
                "the secret of {place} is in {what}: {around:?}"
            );
        }
    }
}

/// The part of a token without which it is worth nothing.
fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("three parts")
}

async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = soon("an answer", request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    let headers = format!("{:?}", response.headers());
    (
        status,
        headers + &soon("its body", response.text()).await.expect("text"),
    )
}

#[tokio::test]
async fn secrets_are_in_no_log_no_answer_no_metric_and_no_store() {
    let data = tempfile::tempdir().expect("a directory");
    let log = data.path().join("log");
    let more = [
        "--webhook-allow",
        "127.0.0.0/8",
        "--start-grace",
        "0s",
        "--retry",
        "1ms",
    ];
    let variables = [
        ("CAMPANILE_LOG", "trace"),
        ("CAMPANILE_WEBHOOKS_RETRY", "1ms"),
    ];
    let hub = BinaryHub::serve_logging_with(data.path(), &more, &variables, &log).await;
    let mut planted = Planted::default();

    let text_of = |file: &str| std::fs::read_to_string(data.path().join(file)).expect("a secret");
    planted.real("the signing secret", text_of("secret").trim());
    let cron = text_of("cron-secret").trim().to_owned();
    planted.real("the cron secret", &cron);
    let secret = Secret::load_or_create(&data.path().join("secret")).expect("the secret");
    let authenticator = Authenticator::new(secret, &Config::default().auth);
    let admin = authenticator.mint(
        Mint {
            user: "root".to_owned(),
            roles: vec![],
            scopes: [Scope::Admin].into_iter().collect(),
            ttl: Duration::from_secs(3_600),
        },
        Timestamp::now(),
    );
    planted.real("a token", signature(&admin));

    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("a client");
    let ask = |method: Method, path: &str| client.request(method, hub.url(path));
    let post = |path: &str, body: Value| ask(Method::POST, path).bearer_auth(&admin).json(&body);

    // What the hub itself hands out, once, and what is then used.
    let (_, made) = answer(post(
        "/keys",
        json!({"name": "billing", "scopes": ["publish"]}),
    ))
    .await;
    let (_, key) = made.split_once("\"key\":\"").expect("a key");
    let key = key.split('"').next().expect("its end").to_owned();
    planted.real("an API key", &key);
    let url = format!(
        "http://127.0.0.1:9/{}?t={}",
        planted.seed("a hook's path"),
        planted.seed("a hook's query")
    );
    let hook = json!({"url": url, "on": "always"});
    let (status, made) = answer(post("/webhooks", hook)).await;
    assert_eq!(status, 201, "{made}");
    let (_, whsec) = made.split_once("\"whsec_").expect("a webhook's secret");
    planted.real(
        "a webhook's secret",
        whsec.split('"').next().expect("its end"),
    );
    let (_, code) = answer(post("/console/code", json!({}))).await;
    let (_, code) = code.split_once("\"code\":\"").expect("a code");
    let code = code.split('"').next().expect("its end").to_owned();
    planted.real("a sign-in code", &code);
    let (status, _) = answer(ask(Method::GET, &format!("/sign-in?code={code}"))).await;
    assert_eq!(status, 303);
    let cookie = format!("campanile_session={admin}");
    let mut answers = Vec::new();
    let published = ask(Method::POST, "/notifications")
        .bearer_auth(&key)
        .json(&json!({"targetUserId": "42", "message": "m"}));
    for request in [
        published,
        ask(Method::GET, "/queue").header("cookie", &cookie),
        ask(Method::POST, "/cron/check-overdue").bearer_auth(&cron),
        ask(Method::GET, "/keys").bearer_auth(&admin),
    ] {
        let (status, text) = answer(request).await;
        assert!((200..300).contains(&status), "{status} {text}");
        answers.push(text);
    }

    // What no hub knows, wherever a client can put it; what is refused says so without it.
    let bearer = planted.seed("a bearer");
    let basic = planted.seed("basic");
    let cookies = planted.seed("a cookie");
    let unknown_key = format!("cmp_{}", planted.seed("an unknown key"));
    let jwt = format!(
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.{}",
        planted.seed("a jwt")
    );
    for request in [
        ask(Method::GET, "/queue").bearer_auth(bearer),
        ask(Method::GET, "/queue").header("authorization", format!("Basic {basic}")),
        ask(Method::GET, "/queue").header(
            "cookie",
            format!("campanile_session={cookies}; other={cookies}"),
        ),
        ask(Method::GET, "/queue").bearer_auth(unknown_key),
        ask(Method::GET, "/queue").bearer_auth(&jwt),
        ask(Method::GET, "/notifications/stream")
            .header("cookie", format!("campanile_session={jwt}")),
        ask(Method::POST, "/cron/check-overdue").bearer_auth(jwt),
    ] {
        let (status, text) = answer(request).await;
        assert_eq!(status, 401, "{text}");
        answers.push(text);
    }
    for path in [
        "/sign-in?code=",
        "/notifications/status?token=",
        "/notifications/stream?ticket=",
        "/notifications/stream?events=",
        "/deliveries?limit=",
        "/deliveries?user=",
        "/notifications/",
        "/keys/",
        "/reminders/",
        "/webhooks/",
        "/",
    ] {
        let request = ask(Method::GET, &format!("{path}{}", planted.seed(path)));
        // The stream's body has no end; its answer is its head.
        let response = soon("an answer", request.bearer_auth(&admin).send()).await;
        let response = response.expect("an answer");
        assert!(response.status().as_u16() < 500, "{path}");
        answers.push(format!("{:?}", response.headers()));
        if response.status() != 200 {
            answers.push(response.text().await.expect("text"));
        }
    }
    for field in DRAFT_FIELDS.into_iter().chain(["nosuchfield"]) {
        // Of a type that the field does not take, or with what it refuses.
        let secret = format!("{}\u{7}", planted.seed(field));
        for wrong in [
            json!(secret),
            json!([secret, 7]),
            json!({ "prefix": secret }),
        ] {
            let (_, text) = answer(post(
                "/notifications",
                json!({"everyone": false, field: wrong}),
            ))
            .await;
            answers.push(text);
        }
    }
    let word = planted.seed("a body");
    let broken = ask(Method::POST, "/notifications").bearer_auth(&admin);
    for (content_type, body) in [
        ("application/json", format!("{{{word}")),
        ("text/plain", word),
    ] {
        let (_, text) = answer(
            broken
                .try_clone()
                .expect("a request")
                .header("content-type", content_type)
                .body(body),
        )
        .await;
        answers.push(text);
    }
    let cursor = planted.seed("a cursor");
    let stream = ask(Method::GET, "/notifications/stream")
        .bearer_auth(&admin)
        .header("last-event-id", cursor);
    drop(soon("a stream", stream.send()).await.expect("an answer"));

    // Until a webhook has been given up, whose URL would say where.
    let failed = async {
        while !std::fs::read_to_string(&log)
            .expect("the log")
            .contains(events::WEBHOOK_FAILED)
        {
            tokio::task::yield_now().await;
        }
    };
    soon("a webhook's failure", failed).await;
    let (status, metrics) = answer(ask(Method::GET, "/metrics").bearer_auth(&admin)).await;
    assert_eq!(status, 200);
    assert_eq!(hub.terminate().await, Some(0));

    let text = std::fs::read(&log).expect("the log");
    assert!(
        memchr::memmem::find(&text, b"\"TRACE\"").is_some(),
        "the log is not at its loudest"
    );
    planted.are_not_in("the log", &text);
    planted.are_not_in("the metrics", metrics.as_bytes());
    // The store keeps what an endpoint needs, and what it is asked for again.
    let kept = ["a hook's path", "a hook's query", "a webhook's secret"];
    planted
        .0
        .retain(|(place, _)| !kept.contains(&place.as_str()));
    let store = std::fs::read(data.path().join("campanile.db")).expect("the store");
    planted.are_not_in("the store", &store);
    for answer in &answers {
        planted.are_not_in("an answer", answer.as_bytes());
    }
}

#[tokio::test]
async fn what_is_printed_for_programmers_has_no_secret_in_it() {
    let mut planted = Planted::default();
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().join("secret");
    let secret = Secret::load_or_create(&path).expect("a secret");
    planted.real(
        "the secret",
        std::fs::read_to_string(&path).expect("its file").trim(),
    );
    let config = Config::default();
    let authenticator = Authenticator::new(secret.clone(), &config.auth).with_cron_secret(&secret);
    let (key, stored) = new_key(
        "billing",
        [Scope::Publish].into_iter().collect(),
        Timestamp::now(),
    );
    planted.real("a key", &key);
    planted.real("a key's hash", &format!("{:?}", stored.hash));
    let ring = KeyRing::default();
    ring.insert(stored.clone());
    let signing = campanile::webhooks::Secret::random();
    planted.real(
        "a webhook's secret",
        signing.reveal().trim_start_matches("whsec_"),
    );
    let token = planted.seed("CAMPANILE_TOKEN");
    let environment: Environment = [("CAMPANILE_TOKEN", token.as_str())].into_iter().collect();
    let printed: [&dyn Debug; 6] = [
        &secret,
        &authenticator,
        &stored,
        &ring,
        &signing,
        &environment,
    ];
    for value in printed {
        planted.are_not_in("Debug", format!("{value:?} {value:#?}").as_bytes());
    }
}

/// The modes of all files in a directory.
fn modes(directory: &Path) -> Vec<(String, u32)> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mode = |entry: std::fs::DirEntry| {
        let mode = entry.metadata().expect("its mode").permissions().mode() & 0o777;
        (entry.file_name().into_string().expect("a name"), mode)
    };
    entries
        .map(|entry| mode(entry.expect("an entry")))
        .collect()
}

#[tokio::test]
async fn files_with_secrets_are_their_owner_s_alone() {
    let hub = TestHub::start().await;
    hub.publish(json!({"targetUserId": "42", "message": "m"}))
        .await;
    let modes = modes(&hub.data());
    for name in ["campanile.db", "campanile.db-wal", "secret", "cron-secret"] {
        let found = modes.iter().find(|(file, _)| file == name);
        let (_, mode) = found.unwrap_or_else(|| panic!("no {name} in {modes:?}"));
        assert_eq!(*mode, 0o600, "{name}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_file_that_others_can_open_is_told_of_at_the_start() {
    let data = tempfile::tempdir().expect("a directory");
    let names = ["campanile.db", "secret", "cron-secret"];
    let hub = BinaryHub::serve(data.path(), &[]).await;
    assert_eq!(hub.terminate().await, Some(0));
    for name in names {
        let path = data.path().join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
    }
    let log = data.path().join("log");
    let hub = BinaryHub::serve_logging(data.path(), &[], &log).await;
    assert_eq!(hub.terminate().await, Some(0));
    let log = std::fs::read_to_string(&log).expect("the log");
    for name in names {
        let told = log.lines().any(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let fields = &line["fields"];
            line["level"] == "WARN"
                && fields["event"] == events::FILE_EXPOSED
                && fields["mode"] == "0640"
                && fields["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with(&format!("/{name}")))
        });
        assert!(told, "{name}: {log}");
    }
}
