//! Keys at a URL: fetched, changed, withdrawn, and an issuer that is down.

use std::io::ErrorKind;
use std::time::Duration;

use campanile::clock::Timestamp;
use campanile::config::Issuer;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::REALM;
use crate::support::{JwksServer, Open, SigningKey, TestHub, jwks, soon};

fn key(kid: &str) -> SigningKey {
    SigningKey::new(kid, Algorithm::ES256)
}

fn claims() -> Value {
    let now = Timestamp::now().as_millis() / 1000;
    json!({"iss": REALM, "sub": "42", "aud": "campanile", "iat": now, "exp": now + 600})
}

async fn hub(server: &JwksServer, refresh: Duration) -> TestHub {
    hub_of(&server.url, refresh).await
}

async fn hub_of(url: &str, refresh: Duration) -> TestHub {
    TestHub::with(|config| {
        config.auth.jwks_refresh = refresh;
        config.auth.issuers = vec![Issuer {
            issuer: Some(REALM.to_owned()),
            jwks_url: Some(url.to_owned()),
            audience: vec!["campanile".to_owned()],
            ..Issuer::default()
        }];
    })
    .await
}

const NEVER: Duration = Duration::from_secs(3600);

async fn status(hub: &TestHub, token: &str) -> u16 {
    let request = hub.client().get(hub.url("/notifications/status"));
    let answer = soon("an answer", request.bearer_auth(token).send()).await;
    answer.expect("an answer").status().as_u16()
}

/// Waits until the token is answered so.
async fn until(hub: &TestHub, token: &str, expected: u16) {
    let look = async {
        while status(hub, token).await != expected {
            tokio::task::yield_now().await;
        }
    };
    soon("another answer", look).await;
}

#[tokio::test]
async fn keys_are_fetched_and_an_unknown_one_has_them_fetched_once_more_and_no_oftener() {
    let (first, second) = (key("first"), key("second"));
    let server = JwksServer::start(&jwks(&[&first])).await;
    let hub = hub(&server, NEVER).await;
    assert_eq!(status(&hub, &first.sign(&claims())).await, 200);
    assert_eq!(server.asked(), 1);
    // The issuer has changed its key, and has begun to sign with it.
    server.publish(&jwks(&[&first, &second]));
    assert_eq!(status(&hub, &second.sign(&claims())).await, 200);
    assert_eq!(server.asked(), 2);
    // Names that somebody makes up have it asked no more.
    for n in 0..20 {
        let made_up = key(&format!("made-up-{n}"));
        assert_eq!(status(&hub, &made_up.sign(&claims())).await, 401);
    }
    assert_eq!(server.asked(), 2);
    assert_eq!(status(&hub, &first.sign(&claims())).await, 200);
    hub.stop().await;
}

#[tokio::test]
async fn a_key_that_is_withdrawn_is_refused_and_one_of_an_issuer_that_is_down_is_not() {
    let (old, new) = (key("old"), key("new"));
    let server = JwksServer::start(&jwks(&[&old])).await;
    let hub = hub(&server, Duration::from_secs(1)).await;
    until(&hub, &old.sign(&claims()), 200).await;
    for broken in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n",
        "",
    ] {
        server.answer_with(broken);
        server.asked_again().await;
        server.asked_again().await;
        assert_eq!(status(&hub, &old.sign(&claims())).await, 200, "{broken:?}");
    }
    server.publish(&jwks(&[&new]));
    until(&hub, &new.sign(&claims()), 200).await;
    assert_eq!(status(&hub, &old.sign(&claims())).await, 401);
    hub.stop().await;
}

#[tokio::test]
async fn keys_are_not_taken_from_where_a_redirect_leads() {
    let thief = key("a");
    let elsewhere = JwksServer::start(&jwks(&[&thief])).await;
    let server = JwksServer::start("").await;
    server.answer_with(&format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url
    ));
    let hub = hub(&server, NEVER).await;
    assert_eq!(status(&hub, &thief.sign(&claims())).await, 503);
    assert_eq!(elsewhere.asked(), 0);
    assert!(server.asked() >= 1);
    assert_eq!(server.paths()[0], "GET /jwks HTTP/1.1");
    hub.stop().await;
}

#[tokio::test]
async fn while_an_issuer_was_never_reached_its_users_are_told_to_come_back_and_others_are_served() {
    let ann = key("a");
    let server = JwksServer::start(&jwks(&[&ann])).await;
    server.answer_with("");
    let hub = hub(&server, NEVER).await;
    let token = ann.sign(&claims());
    let request = hub.client().get(hub.url("/notifications/status"));
    let response = request.bearer_auth(&token).send().await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    // An EventSource would give up for good on a 503.
    let request = format!(
        "GET /notifications/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let refused = String::from_utf8(hub.raw(request.as_bytes()).await).expect("UTF-8");
    assert!(refused.starts_with("HTTP/1.1 200 OK"), "{refused}");
    assert!(refused.contains(r#""reason":"busy""#), "{refused}");
    assert!(refused.contains("\nretry: "), "{refused}");
    let _own = hub.stream("7", &[]).await;

    server.publish(&jwks(&[&ann]));
    until(&hub, &token, 200).await;
    let stream = hub.open_stream(&token, Open::default()).await;
    assert_eq!(stream.connected.data["userId"], "42");
    hub.stop().await;
}

#[tokio::test]
async fn streams_that_wait_for_an_issuer_keep_nobody_elses_waiting() {
    let known = key("known");
    let issuer = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", issuer.local_addr().expect("an address"));
    let keys = jwks(&[&known]);
    // It answers once. Whoever asks again is kept.
    let publishing = tokio::spawn(async move {
        let (mut first, _) = issuer.accept().await.expect("a hub");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}",
            keys.len()
        );
        first.write_all(answer.as_bytes()).await.expect("an answer");
        first.shutdown().await.expect("its end");
        let mut kept = Vec::new();
        while let Ok((socket, _)) = issuer.accept().await {
            kept.push(socket);
        }
    });
    let hub = hub_of(&url, NEVER).await;
    until(&hub, &known.sign(&claims()), 200).await;
    // Far more than are opened at a time.
    let stranger = key("made-up").sign(&claims());
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(hub.addr()).await.expect("a connection");
        let head = format!(
            "GET /notifications/stream HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {stranger}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("a request");
        waiting.push(socket);
    }
    let _stream = hub.stream("42", &[]).await;
    for socket in &waiting {
        let read = socket.try_read(&mut [0; 1]);
        assert!(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
    publishing.abort();
    drop(waiting);
    hub.stop().await;
}
