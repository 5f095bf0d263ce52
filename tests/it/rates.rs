//! A publisher can be held to a rate, and then no other feels it; without one, nobody is held to anything.

use serde_json::{Value, json};

use crate::support::{TestHub, soon, to_user};

/// What a publisher of this name is answered: status, `Retry-After`, body.
async fn publish(hub: &TestHub, who: &str, path: &str, body: Value) -> (u16, Option<u64>, Value) {
    let request = hub
        .client()
        .post(hub.url(path))
        .bearer_auth(hub.token(who, &[], &["publish"]))
        .json(&body);
    let response = soon("an answer", request.send()).await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let retry_after = headers.get("retry-after");
    let retry_after = retry_after.map(|value| value.to_str().unwrap().parse().unwrap());
    (status, retry_after, response.json().await.expect("JSON"))
}

async fn refused(hub: &TestHub) -> String {
    let metrics = soon("the metrics", hub.hub().metrics()).await;
    let line = |line: &&str| line.starts_with("campanile_publishes_refused_total{reason=\"rate\"}");
    metrics.lines().find(line).expect("the count").to_owned()
}

/// Ten at once, and the next in sixteen minutes and more: no test is so slow that one comes back.
async fn strict() -> TestHub {
    TestHub::with(|config| {
        config.publish_rate.per_second = 1;
        config.publish_rate.burst = 1_000;
    })
    .await
}

fn batch(drafts: usize) -> Value {
    json!(vec![json!({"everyone": true, "message": "m"}); drafts])
}

#[tokio::test]
async fn whoever_has_used_up_the_rate_is_told_429_and_when_to_come_back() {
    let hub = strict().await;
    let batches = "/notifications/batch";
    let (status, _, answer) = publish(&hub, "loud", batches, batch(1_000)).await;
    assert_eq!(status, 200, "{answer}");

    // A batch counts as its drafts, and all of it is refused or none. A second of the rate is one draft.
    let (status, retry_after, problem) = publish(&hub, "loud", batches, batch(900)).await;
    assert_eq!(status, 429, "{problem}");
    assert!(
        retry_after.is_some_and(|s| (800..=900).contains(&s)),
        "{retry_after:?}"
    );
    assert_eq!(problem["title"], "Too Many Requests");
    assert_eq!(hub.status().await["counts"]["published"], 1_000);
    assert!(refused(&hub).await.ends_with(" 900"));

    // Nobody else feels it.
    let (status, _, _) = publish(&hub, "quiet", "/notifications", to_user("42", 1)).await;
    assert_eq!(status, 201);
    hub.stop().await;
}

#[tokio::test]
async fn every_way_of_publishing_counts() {
    let hub = TestHub::with(|config| {
        config.publish_rate.per_second = 1;
        config.publish_rate.burst = 1;
    })
    .await;
    let draft = || to_user("42", 1);
    for (path, body) in [
        ("/notifications", draft()),
        ("/notifications/create-and-notify", draft()),
        ("/notifications/broadcast", json!({"message": "m"})),
        ("/notifications/batch", json!([draft()])),
        (
            "/notifications",
            json!({"action": "broadcast", "message": "m"}),
        ),
    ] {
        let spent = async {
            // Each has a publisher of its own, which the second finds at its limit, unless a second went by between them.
            while publish(&hub, path, path, body.clone()).await.0 != 429 {}
        };
        soon(path, spent).await;
    }
    let (status, _, problem) = publish(&hub, "p", "/notifications/batch", batch(2)).await;
    assert_eq!(
        status, 422,
        "more than a burst is never accepted: {problem}"
    );
    assert_eq!(problem["errors"][0]["field"], "body");
    hub.stop().await;
}

#[tokio::test]
async fn without_a_rate_nobody_is_held_to_one() {
    let hub = TestHub::start().await;
    for _ in 0..4 {
        let (status, _, _) = publish(&hub, "p", "/notifications/batch", batch(1_000)).await;
        assert_eq!(status, 200);
    }
    hub.stop().await;
}
