//! Asleep, not gone: a machine that falls asleep takes bytes that it will never read. What its connection never acknowledged
//! is owed again when the connection ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{EventStream, Open, TestHub, to_user};

/// Of all that is written to it, little fits before it has to be read.
const NARROW: u32 = 2_048;

async fn narrow(hub: &TestHub, user: &str, roles: &[&str]) -> EventStream {
    let open = Open {
        receive_buffer: Some(NARROW),
        ..Open::default()
    };
    hub.open_stream(&hub.token(user, roles, &[]), open).await
}

/// Reads until a heartbeat, which comes after the hub has looked at what was acknowledged.
async fn heartbeat(stream: &mut EventStream) {
    while stream.next().await.kind() != "heartbeat" {}
}

async fn failed(hub: &TestHub, whose: &str) -> Vec<Value> {
    let response = hub
        .client()
        .get(hub.url(&format!("/deliveries?{whose}&outcome=failed")))
        .bearer_auth(hub.token("admin", &[], &["admin"]))
        .send()
        .await
        .expect("an answer");
    let answer: Value = response.json().await.expect("JSON");
    answer["deliveries"].as_array().expect("a list").clone()
}

fn long(target: Value, number: usize) -> Value {
    let mut draft = target;
    draft["message"] = json!(format!("n{number}"));
    draft["details"] = json!("x".repeat(1_000));
    if number.is_multiple_of(20) {
        // The first is more than the client's machine takes: from here on, nothing is ever wholly acknowledged.
        draft["details"] = json!("x".repeat(16_000));
        draft["data"] = json!("y".repeat(16_000));
    }
    draft
}

#[tokio::test]
async fn what_was_written_and_never_acknowledged_is_owed_again_and_comes_with_the_next_stream() {
    let hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let mut asleep = narrow(&hub, "ann", &[]).await;
    for number in 0..3 {
        hub.publish(to_user("ann", number)).await;
    }
    assert_eq!(asleep.messages(3).await, ["n0", "n1", "n2"]);
    heartbeat(&mut asleep).await;
    for number in 20..40 {
        hub.publish(long(json!({"targetUserId": "ann"}), number))
            .await;
    }
    let status = hub
        .until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    assert_eq!(status["queue"]["pending"], 0, "the kernel took all of it");
    drop(asleep);
    hub.until("its debts", |s| s["queue"]["failed"] == 20).await;
    let owed = failed(&hub, "user=ann").await;
    assert_eq!(owed.len(), 20);
    for delivery in &owed {
        assert_eq!(
            delivery["reason"],
            "the connection broke before it was acknowledged"
        );
    }

    let mut awake = hub.stream("ann", &[]).await;
    let expected: Vec<String> = (20..40).map(|number| format!("n{number}")).collect();
    assert_eq!(awake.messages(20).await, expected);
    hub.until("what was owed", |s| s["queue"]["failed"] == 0)
        .await;
    hub.publish(to_user("ann", 40)).await;
    awake.expect_next_message("n40").await;
    drop(awake);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_and_had_it_settles_it() {
    let hub = TestHub::with(|config| config.delivery.retry = vec![Duration::from_secs(60)]).await;
    let mut stream = narrow(&hub, "ann", &[]).await;
    for number in 0..20 {
        hub.publish(long(json!({"targetUserId": "ann"}), number))
            .await;
    }
    let mut last = None;
    for _ in 0..10 {
        last = stream.notification().await.id;
    }
    drop(stream);
    // No heartbeat has come by, so all of it is in doubt; the client knows better.
    hub.until("its debts", |s| s["queue"]["pending"] == 20)
        .await;
    let mut back = hub.resume("ann", &[], &last.expect("an id")).await;
    let expected: Vec<String> = (10..20).map(|number| format!("n{number}")).collect();
    assert_eq!(back.messages(10).await, expected);
    hub.until("what was owed", |s| s["queue"]["pending"] == 0)
        .await;
    drop(back);
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_ends_with_everything_acknowledged_owes_nothing() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    for number in 0..20 {
        hub.publish(to_user("ann", number)).await;
    }
    stream.messages(20).await;
    stream.counted(20).await;
    drop(stream);
    let status = hub
        .until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    hub.publish(to_user("bob", 1)).await;
    assert_eq!(status["queue"]["failed"], 0);
    // Bob's is the only one that anybody was ever asked after for.
    hub.until("bob's", |s| s["queue"]["failed"] == 1).await;
    assert!(failed(&hub, "user=ann").await.is_empty());
    hub.stop().await;
}

#[tokio::test]
async fn a_role_that_another_of_its_streams_has_acknowledged_is_not_owed_again() {
    let hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let mut awake = hub.stream("bob", &["CREW"]).await;
    let asleep = narrow(&hub, "ann", &["CREW", "NIGHT"]).await;
    for number in 0..20 {
        let target = json!({"targetRoles": ["CREW", "NIGHT"], "targetUserId": "ann"});
        hub.publish(long(target, number)).await;
    }
    awake.messages(20).await;
    awake.counted(20).await;
    heartbeat(&mut awake).await;
    drop(asleep);
    hub.until("its debts", |s| s["queue"]["failed"] == 40).await;
    assert_eq!(failed(&hub, "user=ann").await.len(), 20);
    assert_eq!(failed(&hub, "role=NIGHT").await.len(), 20);
    assert!(failed(&hub, "role=CREW").await.is_empty());
    drop(awake);
    hub.stop().await;
}

#[tokio::test]
async fn steady_traffic_does_not_keep_what_was_acknowledged_in_doubt() {
    let hub = TestHub::with(|config| {
        config.stream.heartbeat = Duration::from_secs(1);
        config.delivery.retry = vec![Duration::from_secs(60)];
    })
    .await;
    let mut stream = narrow(&hub, "ann", &[]).await;
    // It is always a little behind: some of it is on its way whenever the hub looks.
    let (mut published, mut read, mut beats) = (0, 0, 0);
    while beats < 8 {
        while published < read + 12 {
            hub.publish(long(json!({"targetUserId": "ann"}), published + 1))
                .await;
            published += 1;
        }
        match stream.next().await.kind() {
            "notification" => read += 1,
            "heartbeat" => beats += 1,
            _ => {}
        }
    }
    drop(stream);
    hub.until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    let status = hub
        .until("what is in doubt", |s| s["queue"]["pending"] != 0)
        .await;
    let pending = status["queue"]["pending"].as_u64().expect("a number");
    let published = u64::try_from(published).expect("a number");
    assert!(pending < published / 2, "{pending} of {published}");
    hub.stop().await;
}

#[tokio::test]
async fn a_role_is_owed_again_although_somebody_else_has_come_since() {
    let hub = TestHub::start().await;
    let asleep = narrow(&hub, "ann", &["CREW"]).await;
    for number in 0..5 {
        hub.publish(long(json!({"targetRoles": ["CREW"]}), number))
            .await;
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    // A first visit begins behind them.
    let newcomer = hub.stream("bob", &["CREW"]).await;
    drop(asleep);
    hub.until("its debts", |s| s["queue"]["failed"] == 5).await;
    drop(newcomer);
    hub.stop().await;
}

#[tokio::test]
async fn what_was_owed_and_is_lost_with_its_connection_is_owed_still() {
    const TOTAL: usize = 30;
    let hub = TestHub::with(|config| config.stream.send_buffer = 16 * 1024).await;
    let text = "x".repeat(4_000);
    for number in 0..TOTAL {
        let message = format!("{number} {text}");
        hub.publish(json!({"targetUserId": "ann", "message": message}))
            .await;
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    // The kernel takes some of it, and the client goes without having taken any.
    let stream = narrow(&hub, "ann", &[]).await;
    hub.until("some to be on their way", |s| {
        let open = [&s["queue"]["pending"], &s["queue"]["failed"]];
        open.iter().filter_map(|n| n.as_u64()).sum::<u64>() < TOTAL as u64
    })
    .await;
    let cursor = stream.last_id.clone().expect("a place");
    drop(stream);
    hub.until("the end of asking", |s| {
        s["queue"]["pending"] == 0 && s["queue"]["failed"] == TOTAL
    })
    .await;

    // No id told it that it had any of them.
    let mut stream = hub.resume("ann", &[], &cursor).await;
    for number in 0..TOTAL {
        let owed = stream.notification().await;
        assert_eq!(owed.id, None);
        assert!(
            owed.message().starts_with(&format!("{number} ")),
            "{number}"
        );
    }
    hub.until("every delivery", |s| {
        s["queue"]["pending"] == 0 && s["queue"]["failed"] == 0
    })
    .await;
    drop(stream);
    hub.stop().await;
}
