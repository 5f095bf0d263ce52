//! What is ephemeral goes to the streams that are live, once, in its place among the rest, and is nowhere afterwards.

use serde_json::{Value, json};

use crate::support::{EventStream, Open, TestHub, to_role, to_user};

fn ephemeral(mut draft: Value) -> Value {
    draft["ephemeral"] = json!(true);
    draft
}

async fn messages(stream: &mut EventStream, count: usize) -> Vec<String> {
    stream.messages(count).await
}

#[tokio::test]
async fn it_reaches_the_live_streams_of_its_audience_once_and_carries_no_id() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["CREW"]).await;
    let mut bob = hub.stream("bob", &[]).await;
    let draft = ephemeral(json!({
        "targetUserId": "ann", "targetRoles": ["CREW", "OTHERS"], "message": "typing",
        "module": "chat", "data": {"n": 12345678901234567890_u64}
    }));
    let answer = hub.publish(draft).await;
    assert_eq!(answer["eventId"], Value::Null);
    assert_eq!(answer["status"], "sent");
    let event = ann.notification().await;
    assert_eq!((&event.id, event.retry), (&None, None));
    assert_eq!(event.data["notificationId"], answer["notificationId"]);
    assert_eq!(event.data["data"]["module"], "chat");
    assert_eq!(
        event.data["data"]["data"]["n"],
        json!(12345678901234567890_u64)
    );

    hub.broadcast(ephemeral(json!({"message": "to all"}))).await;
    hub.publish(to_user("ann", 1)).await;
    assert_eq!(messages(&mut ann, 2).await, ["to all", "n1"]);
    hub.publish(to_user("bob", 2)).await;
    assert_eq!(messages(&mut bob, 2).await, ["to all", "n2"]);
    drop((ann, bob));
    hub.stop().await;
}

#[tokio::test]
async fn it_is_not_stored_not_in_an_inbox_and_not_there_for_whoever_comes_later() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    hub.publish(to_user("ann", 1)).await;
    let first = stream.notification().await;
    hub.publish(ephemeral(to_user("ann", 2))).await;
    hub.publish(ephemeral(to_user("nobody", 3))).await;
    assert_eq!(stream.notification().await.message(), "n2");
    // A resume goes on from the last id, which is the stored one's.
    assert_eq!(stream.last_id, first.id);
    drop(stream);

    let cursor = first.id.expect("an id");
    let mut resumed = hub.resume("ann", &[], &cursor).await;
    let mut nobody = hub.stream("nobody", &[]).await;
    hub.publish(to_user("ann", 4)).await;
    hub.publish(to_user("nobody", 5)).await;
    resumed.expect_next_message("n4").await;
    nobody.expect_next_message("n5").await;
    let status = hub.status().await;
    assert_eq!(status["stored"]["notifications"], 3);
    assert_eq!(status["stored"]["broadcasts"], 0);
    assert_eq!(status["queue"]["failed"], 0);
    drop((resumed, nobody));
    hub.stop().await;
}

#[tokio::test]
async fn it_keeps_its_place_between_what_the_same_publisher_sent_before_and_after() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let mut expected = Vec::new();
    for number in 0..200 {
        let draft = if number % 2 == 0 {
            to_user("ann", number)
        } else {
            to_role("CREW", number)
        };
        let draft = if number % 3 == 0 {
            ephemeral(draft)
        } else {
            draft
        };
        hub.publish(draft).await;
        expected.push(format!("n{number}"));
    }
    assert_eq!(messages(&mut stream, 200).await, expected);
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_behind_misses_it_and_nothing_else() {
    let hub = TestHub::with(|config| config.stream.send_buffer = 4_096).await;
    let open = Open {
        receive_buffer: Some(4_096),
        ..Open::default()
    };
    let mut slow = hub.open_stream(&hub.token("slow", &[], &[]), open).await;
    let text = "x".repeat(16_000);
    for number in 0..40 {
        let message = format!("{number} ");
        hub.publish(
            json!({"targetUserId": "slow", "message": message, "details": text, "data": text}),
        )
        .await;
    }
    hub.publish(ephemeral(to_user("slow", 1))).await;
    hub.publish(to_user("slow", 2)).await;
    for number in 0..40 {
        let message = slow.notification().await;
        assert!(message.message().starts_with(&format!("{number} ")));
    }
    slow.expect_next_message("n2").await;
    // It is live again, and passed things again.
    hub.publish(ephemeral(to_user("slow", 3))).await;
    slow.expect_next_message("n3").await;
    drop(slow);
    hub.stop().await;
}

#[tokio::test]
async fn a_batch_may_hold_some_and_the_rules_of_a_draft_hold_for_them() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let batch = json!([
        to_user("ann", 1),
        ephemeral(to_user("ann", 2)),
        ephemeral(json!({"message": "for nobody"}))
    ]);
    let (status, answer) = hub.post("/notifications/batch", &batch).await;
    assert_eq!(status, 200, "{answer}");
    let statuses: Vec<&Value> = answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|r| &r["status"])
        .collect();
    assert_eq!(statuses, [201, 201, 422]);
    assert_eq!(messages(&mut stream, 2).await, ["n1", "n2"]);

    let (status, problem) = hub
        .post(
            "/notifications",
            &json!({"targetUserId": "ann", "message": "m", "ephemeral": "yes"}),
        )
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("ephemeral"))
    );
    let lapsed = ephemeral(
        json!({"targetUserId": "ann", "message": "late", "expiresAt": "2001-01-01T00:00:00Z"}),
    );
    let (status, problem) = hub.post("/notifications", &lapsed).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("expiresAt"))
    );
    drop(stream);
    hub.stop().await;
}
