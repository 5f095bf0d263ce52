//! A cursor never causes an error: what cannot be resumed says `gap`, and goes on.

use serde_json::json;

use crate::support::{Open, TestHub, to_role, to_user};

#[tokio::test]
async fn garbage_another_epoch_and_the_future_are_gaps_that_go_on_live() {
    let hub = TestHub::start().await;
    let first = hub.stream("ann", &[]).await;
    let own = first.connected.id.clone().unwrap();
    let (epoch, _) = own.split_once('-').unwrap();
    hub.publish(to_user("bob", 0)).await;
    for (number, cursor) in [
        "garbage".to_owned(),
        "-".to_owned(),
        "x".repeat(3_000),
        format!("{epoch}-"),
        format!("{epoch}--1"),
        format!("{epoch}-+1"),
        format!("{epoch}-99999999999999999999999"),
        format!("{epoch}-1000000"),
        "zzzzzzzz-1".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = hub.resume("ann", &[], &cursor).await;
        assert_eq!(stream.connected.id, None, "for {cursor}");
        assert_eq!(stream.connected.data["data"]["recovered"], false);
        let gap = stream.next().await;
        assert_eq!(
            (gap.kind(), gap.name.as_deref()),
            ("gap", Some("gap")),
            "for {cursor}"
        );
        assert!(gap.position().is_some());
        hub.publish(to_user("ann", number)).await;
        stream.expect_next_message(&format!("n{number}")).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn too_far_behind_is_a_gap_to_the_head_and_owed_ones_still_come() {
    let hub = TestHub::with(|config| config.stream.replay_limit = 20).await;
    let first = hub.stream("ann", &["CREW"]).await;
    let cursor = first.connected.id.clone().unwrap();
    drop(first);
    hub.until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    hub.publish(to_user("ann", 0)).await;
    for number in 1..=20 {
        hub.publish(to_role("CREW", number)).await;
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let mut stream = hub.resume("ann", &["CREW"], &cursor).await;
    let gap = stream.next().await;
    assert_eq!(gap.data["data"]["scope"], "inbox", "{gap:?}");
    let owed = stream.notification().await;
    assert_eq!((owed.message(), &owed.id), ("n0", &None));
    hub.publish(to_role("CREW", 21)).await;
    stream.expect_next_message("n21").await;
    // From the gap's own id there is nothing to be told again.
    let mut resumed = hub.resume("ann", &["CREW"], &gap.id.unwrap()).await;
    resumed.expect_next_message("n21").await;
    hub.stop().await;
}

#[tokio::test]
async fn just_within_the_limit_is_replayed_whole() {
    let hub = TestHub::with(|config| config.stream.replay_limit = 20).await;
    let first = hub.stream("ann", &["CREW"]).await;
    let cursor = first.connected.id.clone().unwrap();
    for number in 0..20 {
        hub.publish(to_role("CREW", number)).await;
    }
    let mut stream = hub.resume("ann", &["CREW"], &cursor).await;
    let expected: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    assert_eq!(stream.messages(20).await, expected);
    hub.stop().await;
}

#[tokio::test]
async fn the_query_brings_a_cursor_too_and_the_header_wins() {
    let hub = TestHub::start().await;
    let first = hub.stream("ann", &[]).await;
    let start = first.connected.id.clone().unwrap();
    hub.publish(json!({"targetUserId": "ann", "message": "one"}))
        .await;
    let token = hub.token("ann", &[], &[]);
    let query: &'static str = Box::leak(format!("?lastEventId={start}").into_boxed_str());
    let mut stream = hub
        .open_stream(
            &token,
            Open {
                query,
                ..Open::default()
            },
        )
        .await;
    stream.expect_next_message("one").await;
    let open = Open {
        query: "?lastEventId=garbage",
        last_event_id: Some(start),
        ..Open::default()
    };
    let mut stream = hub.open_stream(&token, open).await;
    stream.expect_next_message("one").await;
    hub.stop().await;
}
