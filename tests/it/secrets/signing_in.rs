//! Whatever is secret is planted here, and looked for in all that the hub says: its log, its answers, its metrics.

use campanile::auth::Secret;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{BinaryHub, SigningKey, command, token};

const NEXTAUTH: &str = "planted-nextauth-secret-0123456789abcdef";
const SHARED: &str = "planted-shared-secret-of-a-backend-0123456789";
const GARBAGE: &str = "planted-garbage-that-is-no-token";

/// The part of a token that must not be seen: who has its signature has the token.
fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("a signature")
}

#[tokio::test]
async fn no_secret_stands_in_the_log_an_error_or_a_metric() {
    let files = tempfile::tempdir().expect("a directory");
    let data = tempfile::tempdir().expect("a directory");
    let shared = files.path().join("shared");
    std::fs::write(&shared, SHARED).expect("a file");
    let log = files.path().join("log");
    let config = files.path().join("campanile.toml");
    std::fs::write(
        &config,
        format!(
            "[auth]\nnextauth_secret = \"{NEXTAUTH}\"\nquery_token = true\n\
             [[auth.issuers]]\nsecret_file = {shared:?}\naudience = [\"hub\"]\n"
        ),
    )
    .expect("a file");
    Secret::load_or_create(&data.path().join("secret")).expect("a secret");
    let config = config.to_str().expect("UTF-8");
    let level = ("CAMPANILE_LOG", "trace");
    let hub =
        BinaryHub::serve_logging_with(data.path(), &["--config", config], &[level], &log).await;
    let client = reqwest::Client::new();
    let mut said: Vec<String> = Vec::new();
    let mut planted: Vec<String> = [NEXTAUTH, SHARED, GARBAGE].map(str::to_owned).to_vec();
    for name in ["secret", "cron-secret"] {
        let text = std::fs::read_to_string(data.path().join(name)).expect("a secret");
        planted.push(text.trim().to_owned());
    }
    let admin = token(&data, "root", &["--scope", "admin"]).await;
    planted.push(signature(&admin).to_owned());
    let post = |path: &str, body: Value| {
        let request = client.post(hub.url(path)).bearer_auth(&admin);
        let request = request.json(&body);
        async {
            request
                .send()
                .await
                .expect("an answer")
                .json::<Value>()
                .await
                .unwrap_or_default()
        }
    };

    // What the hub gives out once.
    let made = post("/keys", json!({"name": "billing", "scopes": ["publish"]})).await;
    let key = made["key"].as_str().expect("a key").to_owned();
    let endpoint = post(
        "/webhooks",
        json!({"url": "https://hooks.example/planted-path", "on": "always"}),
    )
    .await;
    let code = post("/console/code", json!({})).await;
    let ticket = post("/notifications/stream/ticket", json!({})).await;
    let ticket = ticket["ticket"].as_str().expect("a ticket").to_owned();
    let code = code["code"].as_str().expect("a code").to_owned();
    let secret = endpoint["secret"].as_str().expect("a secret").to_owned();
    planted.extend([key.clone(), secret, code.clone(), ticket.clone()]);

    // Each where it belongs, and where it does not.
    let stranger =
        SigningKey::new("x", Algorithm::ES256).sign(&json!({"sub": "1", "exp": 9_999_999_999_u64}));
    planted.push(signature(&stranger).to_owned());
    let cookie = format!("authjs.session-token={GARBAGE}.a.b.c.d; campanile_session={GARBAGE}");
    for path in [
        "/notifications/stream",
        "/notifications/status",
        "/keys",
        "/nothing",
        "/cron/check-overdue",
    ] {
        for credential in [
            GARBAGE, &admin, &key, &stranger, &ticket, &code, SHARED, NEXTAUTH,
        ] {
            let url = |name: &str| hub.url(&format!("{path}?{name}={credential}"));
            for request in [
                client.get(hub.url(path)).bearer_auth(credential),
                client.post(hub.url(path)).bearer_auth(credential),
                client.get(url("token")),
                client.get(url("ticket")),
                client.get(url("code")),
                client.get(hub.url(path)).header("cookie", &cookie),
                client
                    .get(hub.url(path))
                    .basic_auth(credential, Some(credential)),
            ] {
                let response = request.send().await.expect("an answer");
                // An open stream has no end, and its head is all that is asked of it here.
                let is_stream =
                    response.headers()["content-type"] == "text/event-stream; charset=utf-8";
                said.push(format!("{:?}", response.headers()));
                if !is_stream {
                    said.push(response.text().await.expect("a body"));
                }
            }
        }
    }
    let sign_in = client.get(hub.url(&format!("/sign-in?code={code}")));
    sign_in.send().await.expect("an answer");
    for path in [
        "/metrics",
        "/keys",
        "/webhooks",
        "/notifications/connections",
        "/audit/duplicates",
    ] {
        let request = client.get(hub.url(path)).bearer_auth(&admin);
        said.push(
            request
                .send()
                .await
                .expect("an answer")
                .text()
                .await
                .expect("a body"),
        );
    }
    let (_, out, words) = command(data.path(), &["webhook", "list", "--json"]).await;
    said.extend([out, words]);
    assert_eq!(hub.terminate().await, Some(0));

    let log = std::fs::read_to_string(&log).expect("the log");
    assert!(
        log.contains("request_answered"),
        "the log is as talkative as it gets"
    );
    assert!(log.lines().count() > 250);
    let printed = crate::support::binary()
        .args(["config", "--effective", "--config", config])
        .output()
        .await
        .expect("the binary runs");
    said.push(log);
    said.push(String::from_utf8(printed.stdout).expect("UTF-8"));
    assert!(said.len() > 250, "{}", said.len());
    for secret in &planted {
        assert!(secret.len() >= 20, "{secret}");
        for text in &said {
            if let Some(place) = text.find(secret.as_str()) {
                let around = &text[place.saturating_sub(200)..place];
                panic!("{secret} stands after {around:?}");
            }
        }
    }
}
