//! Streams end with a word: when their token does, when the hub stops, when there are too many.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Open, TestHub, soon, to_user};

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let hub = TestHub::with(|config| config.auth.leeway = Duration::ZERO).await;
    let token = hub.token_for("ann", &[], &[], Duration::from_secs(2));
    let mut stream = hub.open_stream(&token, Open::default()).await;
    hub.publish(to_user("ann", 1)).await;
    stream.expect_next_message("n1").await;
    let bye = stream.last_word().await;
    assert_eq!(
        (bye.kind(), &bye.data["data"]["reason"]),
        ("bye", &json!("token-expired"))
    );
    assert!(bye.retry.is_some());
    assert_eq!(stream.try_next().await, None);
    assert!(stream.ended_in_order());
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_has_lived_its_longest_asks_for_new_credentials() {
    let hub = TestHub::with(|config| config.stream.max_age = Duration::from_secs(1)).await;
    let mut stream = hub.stream("ann", &[]).await;
    let bye = stream.last_word().await;
    assert_eq!(
        (bye.kind(), &bye.data["data"]["reason"]),
        ("bye", &json!("reauth"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_stops_says_so_with_waits_that_differ() {
    let mut hub = TestHub::start().await;
    let mut streams = Vec::new();
    for user in 0..20 {
        streams.push(hub.stream(&format!("user-{user}"), &[]).await);
    }
    hub.begin_to_stop();
    let mut waits = Vec::new();
    for mut stream in streams {
        let bye = stream.last_word().await;
        assert_eq!(
            (bye.kind(), &bye.data["data"]["reason"]),
            ("bye", &json!("draining"))
        );
        waits.push(bye.retry.unwrap());
        assert_eq!(stream.try_next().await, None);
        assert!(stream.ended_in_order());
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "the same wait for all: {waits:?}");
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_stops_does_not_wait_for_clients_that_have_it_all_and_do_not_hang_up() {
    let hub = TestHub::with(|config| config.serve.drain = Duration::from_secs(60)).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(hub.stream("ann", &[]).await);
    }
    hub.publish(to_user("ann", 1)).await;
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let begun = Instant::now();
    hub.stop().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    // What they have not read yet is theirs all the same.
    for mut stream in streams {
        stream.expect_next_message("n1").await;
        assert_eq!(stream.last_word().await.data["data"]["reason"], "draining");
        assert_eq!(stream.try_next().await, None);
        assert!(stream.ended_in_order());
    }
}

#[tokio::test]
async fn one_stream_too_many_is_refused_in_a_way_that_an_event_source_survives() {
    let hub = TestHub::with(|config| config.stream.per_user = 2).await;
    let first = hub.stream("ann", &[]).await;
    let _second = hub.stream("ann", &[]).await;
    let token = hub.token("ann", &[], &[]);
    let refused = hub.request_stream(&token, Open::default()).await;
    assert!(
        refused.head.starts_with("HTTP/1.1 200 OK"),
        "{}",
        refused.head
    );
    assert!(
        refused.head.contains("text/event-stream"),
        "{}",
        refused.head
    );
    let status = hub
        .client()
        .get(hub.url("/notifications/stream"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(status.status(), 429);
    assert!(status.headers().contains_key("retry-after"));
    // Others are not concerned, and a place that is given up can be taken.
    let _other = hub.stream("bob", &[]).await;
    drop(first);
    hub.until("a free place", |s| s["streams"]["total"] == 2)
        .await;
    let _third = hub.stream("ann", &[]).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_forgotten() {
    let hub = TestHub::start().await;
    let stream = hub.stream("ann", &["CREW"]).await;
    assert_eq!(hub.status().await["streams"]["byRole"]["CREW"], 1);
    drop(stream);
    let status = hub
        .until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    assert_eq!(status["streams"]["byRole"], json!({}));
    assert_eq!(status["streams"]["users"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_closed_after_the_idle_limit() {
    let hub = TestHub::with(|config| {
        config.stream.idle_limit = Duration::from_secs(1);
        config.stream.sweep = Duration::from_secs(1);
        config.stream.send_buffer = 16 * 1024;
    })
    .await;
    let token = hub.token("stuck", &[], &[]);
    let stuck = hub.stuck_stream(&token).await;
    hub.until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    // A server that is not the hub's own waits for its connections.
    drop(stuck);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_is_closed_refuses_what_comes_later_and_keeps_nobody_waiting() {
    use campanile::auth::User;
    use campanile::clock::Timestamp;
    use campanile::hub::{Subscribe, SubscribeError};
    let test_hub = TestHub::start().await;
    let hub = test_hub.hub().clone();
    soon("its close", hub.close()).await;
    soon("its drain", hub.drain()).await;
    let subscribe = hub.subscribe(Subscribe {
        user: User {
            id: "ann".into(),
            roles: [].into(),
            expires_at: Timestamp::MAX,
            issued_at: None,
        },
        cursor: None,
        address: None,
        unnamed: false,
    });
    let refused = soon("an answer", subscribe).await;
    assert!(
        matches!(refused, Err(SubscribeError::Draining)),
        "{refused:?}"
    );
    test_hub.stop().await;
}
