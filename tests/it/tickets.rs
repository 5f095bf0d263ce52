//! Tickets for streams of pages on other sites: good once, for half a minute, for one user, and for a stream only.

use std::sync::Barrier;
use std::time::Duration;

use campanile::auth::{
    AuthError, Authenticator, Caller, MAX_TICKETS, MAX_TICKETS_OF_ONE, Mint, Scopes, Secret,
    TICKET_LIFETIME, TicketError, new_key,
};
use campanile::clock::Timestamp;
use campanile::config;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::{Open, TestHub, to_role};

const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);
const ADMIN: Scopes = Scopes {
    publish: true,
    admin: true,
};

fn after(time: Duration) -> Timestamp {
    NOW.saturating_add(time)
}

fn authenticator() -> Authenticator {
    Authenticator::new(Secret::random(), &config::Auth::default())
}

/// Somebody with a token for an hour.
fn caller(hub: &Authenticator, user: &str) -> Caller {
    caller_for(hub, user, Duration::from_secs(3600))
}

fn caller_for(hub: &Authenticator, user: &str, ttl: Duration) -> Caller {
    let mint = Mint {
        user: user.to_owned(),
        roles: vec!["CREW".to_owned()],
        scopes: ADMIN,
        ttl,
    };
    hub.token(&hub.mint(mint, NOW), NOW).expect("a caller")
}

#[test]
fn a_ticket_is_good_until_half_a_minute_is_over() {
    let hub = authenticator();
    let ann = caller(&hub, "ann");
    let issue = || hub.issue_ticket(&ann, NOW).expect("a ticket");
    let (in_time, late) = (issue(), issue());
    assert_eq!(in_time.expires_at, after(Duration::from_secs(30)));
    assert_eq!(TICKET_LIFETIME, Duration::from_secs(30));
    let redeemed = hub.redeem_ticket(&in_time.text, after(Duration::from_millis(29_999)));
    assert!(redeemed.is_ok(), "{redeemed:?}");
    let redeemed = hub.redeem_ticket(&late.text, after(Duration::from_secs(30)));
    assert_eq!(redeemed, Err(AuthError::Ticket));
    // One that came too late is spent all the same, even if the clock goes back.
    assert_eq!(hub.redeem_ticket(&late.text, NOW), Err(AuthError::Ticket));
}

#[test]
fn a_ticket_inherits_user_roles_and_expiry_and_no_scope() {
    let hub = authenticator();
    let ann = caller(&hub, "ann");
    let ticket = hub.issue_ticket(&ann, NOW).expect("a ticket");
    let redeemed = hub.redeem_ticket(&ticket.text, NOW).expect("a caller");
    assert_eq!(redeemed.user(), ann.user());
    assert_eq!(redeemed.publisher(), ann.publisher());
    assert_eq!(
        (ann.scopes(), redeemed.scopes()),
        (ADMIN, Scopes::default())
    );
}

#[test]
fn a_ticket_ends_with_the_token_that_asked_for_it() {
    let hub = authenticator();
    let brief = caller_for(&hub, "ann", Duration::from_secs(10));
    let issue = |now| hub.issue_ticket(&brief, now);
    let (ticket, other) = (issue(NOW).expect("one"), issue(NOW).expect("another"));
    assert_eq!(ticket.expires_at, after(Duration::from_secs(10)));
    let redeem = |ticket: &str, millis| {
        let redeemed = hub.redeem_ticket(ticket, after(Duration::from_millis(millis)));
        redeemed.map(|_| ())
    };
    assert_eq!(redeem(&ticket.text, 9_999), Ok(()));
    assert_eq!(redeem(&other.text, 10_000), Err(AuthError::Ticket));
    // Within the leeway the token still counts, but there is no time left to hand on.
    assert_eq!(
        issue(after(Duration::from_secs(10))),
        Err(TicketError::Expired)
    );
}

#[test]
fn a_ticket_that_many_redeem_at_once_is_one_callers() {
    let hub = authenticator();
    let ann = caller(&hub, "ann");
    for _ in 0..50 {
        let ticket = hub.issue_ticket(&ann, NOW).expect("a ticket").text;
        let barrier = Barrier::new(4);
        let won = std::thread::scope(|scope| {
            let redeem = || {
                barrier.wait();
                hub.redeem_ticket(&ticket, NOW).is_ok()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(redeem)).collect();
            let outcomes = threads.into_iter().map(|it| it.join().expect("no panic"));
            outcomes.filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn one_user_gets_only_so_many_tickets_and_others_theirs_all_the_same() {
    let hub = authenticator();
    let (ann, bob) = (caller(&hub, "ann"), caller(&hub, "bob"));
    let issue = |caller: &Caller, now| hub.issue_ticket(caller, now);
    let first = issue(&ann, NOW).expect("the first");
    for _ in 1..MAX_TICKETS_OF_ONE {
        issue(&ann, NOW).expect("another");
    }
    let refused = issue(&ann, NOW);
    assert_eq!(refused, Err(TicketError::TooMany(TICKET_LIFETIME)));
    assert!(issue(&bob, NOW).is_ok());
    assert!(hub.redeem_ticket(&first.text, NOW).is_ok());
    assert!(issue(&ann, NOW).is_ok(), "a spent one makes room");
    assert_eq!(
        issue(&ann, after(Duration::from_millis(29_999))),
        Err(TicketError::TooMany(TICKET_LIFETIME))
    );
    for _ in 0..MAX_TICKETS_OF_ONE {
        issue(&ann, after(TICKET_LIFETIME)).expect("those that have lapsed make room");
    }
}

#[test]
fn tickets_are_bounded_in_all() {
    let hub = authenticator();
    let now = after(Duration::from_secs(1));
    for user in 0..MAX_TICKETS / MAX_TICKETS_OF_ONE {
        let caller = caller(&hub, &user.to_string());
        for _ in 0..MAX_TICKETS_OF_ONE {
            hub.issue_ticket(&caller, now).expect("a ticket");
        }
    }
    let ann = caller(&hub, "ann");
    let later = after(Duration::from_secs(11));
    assert_eq!(
        hub.issue_ticket(&ann, later),
        Err(TicketError::Full(Duration::from_secs(20)))
    );
    let lapsed = now.saturating_add(TICKET_LIFETIME);
    assert!(hub.issue_ticket(&ann, lapsed).is_ok());
}

#[test]
fn an_api_key_gets_no_ticket_and_nothing_that_is_none_is_redeemed() {
    let hub = authenticator();
    let (key, stored) = new_key("billing", ADMIN, NOW);
    hub.keys().insert(stored);
    let billing = hub.token(&key, NOW).expect("a caller");
    assert_eq!(hub.issue_ticket(&billing, NOW), Err(TicketError::NoUser));
    let ticket = hub.issue_ticket(&caller(&hub, "ann"), NOW).expect("one");
    let other = authenticator();
    for none in ["", "x", &key, &"x".repeat(100_000), &ticket.text] {
        assert_eq!(other.redeem_ticket(none, NOW), Err(AuthError::Ticket));
    }
    assert!(!format!("{ticket:?} {hub:?}").contains(&ticket.text));
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn ticket(hub: &TestHub, token: &str) -> String {
    let request = hub.client().post(hub.url("/notifications/stream/ticket"));
    let (status, issued) = answer(request.bearer_auth(token)).await;
    assert_eq!(status, 201, "{issued}");
    assert!(issued["expiresAt"].as_str().unwrap().ends_with('Z'));
    issued["ticket"].as_str().expect("a ticket").to_owned()
}

fn in_url(credential: &str) -> Open {
    Open {
        in_url: Some(credential.to_owned()),
        ..Open::default()
    }
}

#[tokio::test]
async fn a_ticket_opens_one_stream_for_its_user_and_roles_and_a_spent_one_is_401() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &["CREW"], &[]);
    let ticket = ticket(&hub, &token).await;
    let url = hub.url(&format!("/notifications/stream?ticket={ticket}"));
    // What looks at a link before it is followed does not use it up, and other routes take none.
    assert_eq!(answer(hub.client().head(&url)).await.0, 405);
    let elsewhere = hub.url(&format!("/notifications/status?ticket={ticket}"));
    assert_eq!(answer(hub.client().get(elsewhere)).await.0, 401);

    let once = in_url(&format!("ticket={ticket}"));
    let mut stream = hub.open_stream("", once).await;
    assert_eq!(stream.connected.data["userId"], "42");
    hub.publish(to_role("CREW", 1)).await;
    stream.expect_next_message("n1").await;

    for accept in ["text/event-stream", "*/*"] {
        let again = hub.client().get(&url).header("accept", accept);
        let (status, problem) = answer(again).await;
        assert_eq!(status, 401);
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains("spent, expired or unknown"), "{problem}");
        assert!(!problem.to_string().contains(&ticket), "{problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_opened_with_a_ticket_ends_when_the_token_does_that_asked_for_it() {
    let hub = TestHub::with(|config| config.auth.leeway = Duration::ZERO).await;
    let token = hub.token_for("ann", &[], &[], Duration::from_secs(5));
    let ticket = ticket(&hub, &token).await;
    let mut stream = hub
        .open_stream("", in_url(&format!("ticket={ticket}")))
        .await;
    let bye = stream.last_word().await;
    assert_eq!(bye.data["data"]["reason"], "token-expired");
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_comes_back_with_another_ticket_and_its_cursor_and_misses_nothing() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &["CREW"], &[]);
    let first = in_url(&format!("ticket={}", ticket(&hub, &token).await));
    let mut stream = hub.open_stream("", first).await;
    hub.publish(to_role("CREW", 1)).await;
    stream.expect_next_message("n1").await;
    let cursor = stream.last_id.clone().expect("an id");
    drop(stream);
    hub.publish(to_role("CREW", 2)).await;
    let ticket = ticket(&hub, &token).await;
    let second = in_url(&format!("lastEventId={cursor}&ticket={ticket}"));
    let mut stream = hub.open_stream("", second).await;
    stream.expect_next_message("n2").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_bearer_wins_over_a_ticket_and_a_ticket_over_a_cookie() {
    let hub = TestHub::start().await;
    let (ann, bob) = (hub.token("ann", &[], &[]), hub.token("bob", &[], &[]));
    let ticket = ticket(&hub, &ann).await;
    let stream = |credential: &str| {
        let url = hub.url(&format!("/notifications/stream?{credential}"));
        hub.client().get(url)
    };
    let open = format!("ticket={ticket}");
    let mut response = stream(&open).bearer_auth(&bob).send().await.unwrap();
    let chunk = response.chunk().await.unwrap().expect("an event");
    assert!(String::from_utf8_lossy(&chunk).contains(r#""userId":"bob""#));
    // So the ticket is still good; and a spent one is not made up for by a cookie.
    let with_cookie = || stream(&open).header("cookie", format!("campanile_session={bob}"));
    let mut response = with_cookie().send().await.unwrap();
    let chunk = response.chunk().await.unwrap().expect("an event");
    assert!(String::from_utf8_lossy(&chunk).contains(r#""userId":"ann""#));
    assert_eq!(answer(with_cookie()).await.0, 401);
    let twice = stream(&format!("{open}&{open}"));
    assert_eq!(answer(twice).await.0, 401);
    hub.stop().await;
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_with_a_sentence_unless_that_is_switched_on() {
    let origin = "https://app.example";
    let closed = TestHub::with(|config| config.serve.cors_origins = vec![origin.into()]).await;
    let get = |hub: &TestHub, token: &str| {
        let url = hub.url(&format!("/notifications/stream?token={token}"));
        hub.client().get(url).header("origin", origin)
    };
    let token = closed.token("42", &[], &[]);
    let (status, problem) = answer(get(&closed, &token)).await;
    assert_eq!(status, 401);
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("a token in the URL is not accepted"));
    assert!(detail.contains("auth.query_token"), "{detail}");
    assert!(!problem.to_string().contains(&token));
    closed.stop().await;

    let open = TestHub::with(|config| {
        config.serve.cors_origins = vec![origin.into()];
        config.auth.query_token = true;
    })
    .await;
    let token = open.token("42", &[], &[]);
    let mut response = get(&open, &token).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], origin);
    let chunk = response.chunk().await.unwrap().expect("an event");
    assert!(String::from_utf8_lossy(&chunk).contains(r#""userId":"42""#));
    for (method, path) in [
        (Method::GET, "/notifications/status"),
        (Method::POST, "/notifications/stream/ticket"),
    ] {
        let url = open.url(&format!("{path}?token={token}"));
        let (status, _) = answer(open.client().request(method, url)).await;
        assert_eq!(status, 401, "{path}: it is for the stream alone");
    }
    let (key, stored) = new_key("billing", ADMIN, Timestamp::now());
    open.hub().authenticator().keys().insert(stored);
    assert_eq!(answer(get(&open, &key)).await.0, 401, "a key has headers");
    open.stop().await;
}

#[tokio::test]
async fn a_page_of_a_configured_origin_asks_for_a_ticket_with_a_cookie_and_no_other_page_does() {
    let origin = "https://app.example";
    let hub = TestHub::with(|config| config.serve.cors_origins = vec![origin.into()]).await;
    let cookie = format!("campanile_session={}", hub.token("42", &[], &[]));
    let ask = |origin: &str| {
        let request = hub.client().post(hub.url("/notifications/stream/ticket"));
        request.header("cookie", &cookie).header("origin", origin)
    };
    let response = ask(origin).send().await.expect("an answer");
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["access-control-allow-origin"], origin);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(answer(ask("https://evil.example")).await.0, 403);
    let preflight = hub
        .client()
        .request(Method::OPTIONS, hub.url("/notifications/stream/ticket"))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let preflight = preflight.send().await.expect("an answer");
    let allowed = &preflight.headers()["access-control-allow-headers"];
    assert!(allowed.to_str().unwrap().contains("authorization"));
    hub.stop().await;
}

#[tokio::test]
async fn too_many_tickets_are_429_with_a_word_on_when_to_come_back() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &[], &[]);
    for _ in 0..MAX_TICKETS_OF_ONE {
        ticket(&hub, &token).await;
    }
    let request = hub.client().post(hub.url("/notifications/stream/ticket"));
    let response = request.bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "30");
    ticket(&hub, &hub.token("7", &[], &[])).await;
    hub.stop().await;
}
