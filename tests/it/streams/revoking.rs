//! A user's credentials are taken back: their streams end, what was issued before is refused, and it stays so.

use std::time::Duration;

use campanile::auth::{AuthError, Authenticator, Caller, Mint, Scopes, Secret};
use campanile::clock::Timestamp;
use campanile::config::{Auth, Issuer};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{BinaryHub, Open, SigningKey, TestHub, command, soon, to_user, token};

const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

fn mint(user: &str, ttl: Duration) -> Mint {
    Mint {
        user: user.to_owned(),
        roles: vec![],
        scopes: Scopes::default(),
        ttl,
    }
}

/// A token that the hub signs two seconds from now: what is issued in the second of a revocation is refused with it.
fn later_token(hub: &TestHub, user: &str) -> String {
    let later = Timestamp::now().saturating_add(Duration::from_secs(2));
    let mint = mint(user, Duration::from_secs(3600));
    hub.hub().authenticator().mint(mint, later)
}

async fn status(client: &reqwest::Client, base: &str, token: &str) -> (u16, Value) {
    let request = client.get(format!("{base}/notifications/status"));
    let response = request.bearer_auth(token).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_revoked_users_streams_end_at_once_and_nobody_elses() {
    let hub = TestHub::start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(hub.stream("42", &["CREW"]).await);
    }
    let mut other = hub.stream("7", &["CREW"]).await;
    let (code, answer) = hub.administer("/users/42/revoke", &json!({})).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        (&answer["userId"], &answer["streamsEnded"]),
        (&json!("42"), &json!(3))
    );
    for mut stream in streams {
        let bye = stream.last_word().await;
        assert_eq!(bye.data["data"]["reason"], "revoked");
        assert_eq!(stream.try_next().await, None);
        assert!(stream.ended_in_order());
    }
    hub.publish(to_user("7", 1)).await;
    other.expect_next_message("n1").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_was_issued_before_is_refused_everywhere_and_what_is_issued_later_is_not() {
    let hub = TestHub::start().await;
    let before = hub.token("42", &["CREW"], &["admin"]);
    let ask = |path: &str, token: &str| {
        let request = hub.client().post(hub.url(path));
        request.bearer_auth(token).send()
    };
    let ticket = ask("/notifications/stream/ticket", &before).await.unwrap();
    let ticket: Value = ticket.json().await.unwrap();
    let ticket = ticket["ticket"].as_str().expect("a ticket");
    hub.administer("/users/42/revoke", &json!({})).await;

    let base = hub.url("");
    let (code, problem) = status(hub.client(), &base, &before).await;
    assert_eq!(code, 401);
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("was revoked"), "{detail}");
    for path in [
        "/notifications",
        "/users/7/revoke",
        "/notifications/stream/ticket",
    ] {
        assert_eq!(ask(path, &before).await.unwrap().status(), 401, "{path}");
    }
    let by_ticket = hub.url(&format!("/notifications/stream?ticket={ticket}"));
    let by_ticket = hub.client().get(by_ticket).send().await.unwrap();
    assert_eq!(by_ticket.status(), 401, "a ticket from before");
    assert_eq!(
        status(hub.client(), &base, &hub.token("7", &[], &[]))
            .await
            .0,
        200
    );
    let later = later_token(&hub, "42");
    assert_eq!(status(hub.client(), &base, &later).await.0, 200);
    hub.open_stream(&later, Open::default()).await;

    // A restart forgets nothing.
    let hub = hub.stop().await.restart().await;
    assert_eq!(status(hub.client(), &hub.url(""), &before).await.0, 401);
    assert_eq!(status(hub.client(), &hub.url(""), &later).await.0, 200);
    hub.stop().await;
}

/// What an issuer's token is worth that was issued so many milliseconds after the revocation, or does not say when.
#[test]
fn a_token_counts_by_when_it_was_issued() {
    let files = tempfile::tempdir().expect("a directory");
    let key = SigningKey::new("a", Algorithm::ES256);
    let file = files.path().join("key.pem");
    std::fs::write(&file, key.pem()).expect("a file");
    let auth = Auth {
        issuers: vec![Issuer {
            key_file: Some(file),
            audience: vec!["hub".to_owned()],
            ..Issuer::default()
        }],
        ..Auth::default()
    };
    let hub = Authenticator::new(Secret::random(), &auth);
    let hub = hub.with_issuers(&auth).expect("its key");
    let revoked_at = NOW.saturating_add(Duration::from_millis(500));
    hub.revocations().add([("42".into(), revoked_at)]);
    // An earlier one does not undo it.
    hub.revocations().add([("42".into(), NOW)]);
    let issued = |user: &str, iat: Value| {
        let exp = NOW.as_millis() / 1000 + 600;
        let mut claims = json!({"sub": user, "aud": "hub", "exp": exp, "iat": iat});
        if iat.is_null() {
            claims.as_object_mut().expect("an object").remove("iat");
        }
        hub.token(&key.sign(&claims), NOW).map(|_| ())
    };
    let second = NOW.as_millis() / 1000;
    let refused = Err(AuthError::UserRevoked);
    assert_eq!(issued("42", json!(second - 60)), refused);
    assert_eq!(issued("42", json!(second)), refused, "in the same second");
    assert_eq!(issued("42", json!(second as f64 + 0.499)), refused);
    assert_eq!(issued("42", json!(second as f64 + 0.5)), Ok(()));
    assert_eq!(issued("42", json!(second + 1)), Ok(()));
    for nothing in [json!(null), json!("soon"), json!(-1), json!([])] {
        assert_eq!(issued("42", nothing.clone()), refused, "{nothing}");
        assert_eq!(issued("7", nothing.clone()), Ok(()), "{nothing}");
    }
}

#[test]
fn a_ticket_of_a_user_who_was_revoked_meanwhile_opens_nothing() {
    let hub = Authenticator::new(Secret::random(), &Auth::default());
    let caller = |now| {
        let token = hub.mint(mint("42", Duration::from_secs(60)), now);
        hub.token(&token, now)
    };
    let ann: Caller = caller(NOW).expect("a caller");
    let ticket = hub.issue_ticket(&ann, NOW).expect("a ticket");
    hub.revocations()
        .add([("42".into(), NOW.saturating_add(Duration::from_secs(1)))]);
    let redeemed = hub.redeem_ticket(&ticket.text, NOW);
    assert_eq!(redeemed, Err(AuthError::UserRevoked));
    let later = NOW.saturating_add(Duration::from_secs(1));
    let ticket = hub.issue_ticket(&caller(later).expect("a caller"), later);
    assert!(hub.redeem_ticket(&ticket.expect("one").text, later).is_ok());
}

#[tokio::test]
async fn a_stream_that_is_being_opened_while_its_user_is_revoked_ends_as_well() {
    let hub = TestHub::with(|config| config.stream.per_user = 1_000).await;
    for round in 0..20 {
        let user = format!("user-{round}");
        let token = hub.token(&user, &[], &[]);
        let addr = hub.addr();
        let openings: Vec<_> = (0..20)
            .map(|_| {
                let request = format!(
                    "GET /notifications/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     Authorization: Bearer {token}\r\n\r\n"
                );
                tokio::spawn(async move {
                    let mut socket = TcpStream::connect(addr).await.expect("a connection");
                    socket.write_all(request.as_bytes()).await.expect("taken");
                    let mut answer = Vec::new();
                    // Whether it was admitted or not, it ends: if it were left open, there would be no end to read to.
                    let _ = soon("the end", socket.read_to_end(&mut answer)).await;
                })
            })
            .collect();
        // Somewhere among them.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let revoked = hub.hub().revoke_user(user.as_str().into()).await;
        revoked.expect("the store answers");
        for opening in openings {
            opening.await.expect("it ended");
        }
    }
    assert_eq!(hub.status().await["streams"]["total"], 0);
    hub.stop().await;
}

async fn patient_hub() -> TestHub {
    TestHub::with(|config| {
        config.stream.idle_limit = Duration::from_secs(3600);
        config.stream.send_buffer = 16 * 1024;
        config.stream.heartbeat = Duration::from_secs(1);
        config.stream.sweep = Duration::from_secs(1);
        config.auth.leeway = Duration::ZERO;
    })
    .await
}

#[tokio::test]
async fn a_revoked_user_whose_socket_is_stalled_is_cut_off_without_waiting_for_it() {
    let hub = patient_hub().await;
    let stuck = hub.stuck_stream(&hub.token("42", &[], &[])).await;
    hub.administer("/users/42/revoke", &json!({})).await;
    hub.until("no stream", |s| s["streams"]["total"] == 0).await;
    // A server that is not the hub's own waits for its connections.
    drop(stuck);
    hub.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_in_mid_stream_on_a_stalled_socket_ends_it_without_waiting_for_it() {
    let hub = patient_hub().await;
    let token = hub.token_for("42", &[], &[], Duration::from_secs(5));
    let stuck = hub.stuck_stream(&token).await;
    hub.until("no stream", |s| s["streams"]["total"] == 0).await;
    // A server that is not the hub's own waits for its connections.
    drop(stuck);
    hub.stop().await;
}

#[tokio::test]
async fn only_administrators_revoke() {
    let hub = TestHub::start().await;
    let revoke = async |token: String, user: &str| {
        let request = hub.client().post(hub.url(&format!("/users/{user}/revoke")));
        let response = request.bearer_auth(token).send().await.expect("an answer");
        response.status().as_u16()
    };
    assert_eq!(revoke(hub.token("42", &["ADMIN"], &[]), "42").await, 403);
    assert_eq!(revoke(hub.token("42", &[], &["publish"]), "7").await, 403);
    assert_eq!(revoke(hub.token("1", &[], &["admin"]), "%0A").await, 404);
    assert_eq!(revoke(hub.token("1", &[], &["admin"]), "%FF").await, 404);
    // A name as other issuers give them.
    let (_, answer) = hub
        .administer("/users/auth0%7C64%2Fb7/revoke", &json!({}))
        .await;
    assert_eq!(answer["userId"], "auth0|64/b7", "{answer}");
    hub.stop().await;
}

#[tokio::test]
async fn the_command_asks_a_running_hub_or_writes_to_the_store_and_a_kill_forgets_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let (ann, bob) = (
        token(&data, "ann", &[]).await,
        token(&data, "bob", &[]).await,
    );
    let stream = crate::support::EventStream::open(hub.addr(), &ann, Open::default()).await;
    let (code, out, words) = command(data.path(), &["revoke", "--user", "ann"]).await;
    assert_eq!((code, out.as_str()), (0, ""), "{words}");
    assert!(
        words.starts_with("ann is revoked: what was issued before 20"),
        "{words}"
    );
    assert!(words.contains("1 stream has ended"), "{words}");
    let mut stream = stream;
    assert_eq!(stream.last_word().await.data["data"]["reason"], "revoked");
    hub.kill().await;

    let (code, _, words) = command(data.path(), &["revoke", "--user", "bob"]).await;
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("no stream was open"), "{words}");
    let (code, _, _) = command(data.path(), &["revoke", "--user", ".."]).await;
    assert_eq!(code, 2);
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let client = reqwest::Client::new();
    for token in [ann, bob] {
        assert_eq!(status(&client, &hub.base, &token).await.0, 401);
    }
    let other = token(&data, "eve", &[]).await;
    assert_eq!(status(&client, &hub.base, &other).await.0, 200);
    assert_eq!(hub.terminate().await, Some(0));
}
