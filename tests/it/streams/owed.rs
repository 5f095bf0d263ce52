//! What nobody took is owed, asked after, failed in the end, and still delivered to whoever comes.

use std::time::Duration;

use serde_json::json;

use crate::support::{TestHub, to_role, to_user};

#[tokio::test]
async fn nobody_there_is_owed_then_failed_then_sent_to_whoever_comes() {
    let hub = TestHub::start().await;
    hub.publish(to_user("ann", 1)).await;
    let status = hub
        .until("its failure", |s| s["queue"]["failed"] == 1)
        .await;
    assert_eq!(status["queue"]["pending"], 0);
    let mut stream = hub.stream("ann", &[]).await;
    stream.expect_next_message("n1").await;
    hub.until("its delivery", |s| s["queue"]["failed"] == 0)
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn an_owed_notification_goes_to_the_stream_that_takes_it_and_not_to_the_next() {
    let hub = TestHub::start().await;
    // Somebody who has been here: their later streams begin at a place, not at the head.
    let first = hub.stream("ann", &[]).await;
    let place = first.connected.id.clone().unwrap();
    drop(first);
    hub.until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    hub.publish(to_user("ann", 1)).await;
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;

    // The second begins past it and is owed it; the third comes when it has been taken.
    let mut marker = hub.stream("bob", &[]).await;
    hub.publish(to_user("bob", 9)).await;
    let head = marker.notification().await.id.unwrap();
    let mut second = hub.resume("ann", &[], &head).await;
    let owed = second.notification().await;
    assert_eq!((owed.message(), &owed.id), ("n1", &None));
    hub.until("its delivery", |s| {
        s["queue"]["pending"] == 0 && s["queue"]["failed"] == 0
    })
    .await;
    let mut third = hub.resume("ann", &[], &head).await;
    hub.publish(to_user("ann", 2)).await;
    third.expect_next_message("n2").await;
    second.expect_next_message("n2").await;

    // Whoever resumes from before it finds it in its place in the log.
    let mut replayed = hub.resume("ann", &[], &place).await;
    assert_eq!(replayed.messages(2).await, ["n1", "n2"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_role_has_it_once_one_of_its_members_does() {
    let hub = TestHub::with(|config| config.delivery.retry = vec![Duration::from_secs(60)]).await;
    hub.publish(json!({"targetRoles": ["CREW", "NOBODY"], "message": "n1"}))
        .await;
    hub.until("both owed", |s| s["queue"]["pending"] == 2).await;
    let _gone_before = hub.stream("ann", &["CREW"]).await;
    hub.publish(to_role("CREW", 2)).await;
    let status = hub
        .until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    // The first is a role's and not owed by name: a first visit begins after it. The second was taken at once.
    assert_eq!(status["queue"]["pending"], 2);
    hub.stop().await;
}

#[tokio::test]
async fn an_owed_one_does_not_hold_up_what_is_behind_it() {
    let hub = TestHub::with(|config| config.delivery.retry = vec![Duration::from_secs(60)]).await;
    let mut ann = hub.stream("ann", &[]).await;
    for number in 0..50 {
        hub.publish(to_user("nobody", number)).await;
        hub.publish(to_user("ann", number)).await;
    }
    let expected: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
    assert_eq!(ann.messages(50).await, expected);
    hub.stop().await;
}

#[tokio::test]
async fn what_has_expired_is_not_delivered() {
    let hub =
        TestHub::with(|config| config.delivery.retry = vec![Duration::from_millis(400)]).await;
    let soon = campanile::clock::Timestamp::now().saturating_add(Duration::from_millis(300));
    hub.publish(
        json!({"targetUserId": "ann", "message": "lapsing", "expiresAt": soon.to_string()}),
    )
    .await;
    hub.until("the debt", |s| s["queue"]["pending"] == 1).await;
    let status = hub.until("its end", |s| s["queue"]["pending"] == 0).await;
    assert_eq!(status["queue"]["failed"], 0);
    let mut ann = hub.stream("ann", &[]).await;
    hub.publish(to_user("ann", 2)).await;
    ann.expect_next_message("n2").await;
    hub.stop().await;
}

#[tokio::test]
async fn no_attempt_counts_while_clients_are_on_their_way_back_after_a_start() {
    let hub = TestHub::with(|config| {
        config.delivery.start_grace = Duration::from_secs(3600);
        config.delivery.retry = vec![Duration::from_millis(1)];
    })
    .await;
    hub.publish(to_user("ann", 1)).await;
    hub.until("the debt", |s| s["queue"]["pending"] == 1).await;
    // With the shortest schedule it would have failed by the time fifty others have been published.
    for number in 0..50 {
        hub.publish(json!({"everyone": true, "message": format!("n{number}")}))
            .await;
    }
    let status = hub.status().await;
    assert_eq!(
        (&status["queue"]["pending"], &status["queue"]["failed"]),
        (&json!(1), &json!(0))
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_thousand_absent_recipients_at_once_are_all_owed_and_none_is_forgotten() {
    let hub = TestHub::with(|config| config.delivery.retry = vec![Duration::from_secs(600)]).await;
    let users: Vec<String> = (0..1_000).map(|user| format!("u{user}")).collect();
    let drafts: Vec<_> = (0..60)
        .map(|number| json!({"targetUserIds": users, "message": format!("n{number}")}))
        .collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200, "{answer}");
    hub.until("every debt", |s| s["queue"]["pending"] == 60_000)
        .await;
    let mut one = hub.stream("u999", &[]).await;
    let expected: Vec<String> = (0..60).map(|number| format!("n{number}")).collect();
    assert_eq!(one.messages(60).await, expected);
    hub.until("theirs to be sent", |s| s["queue"]["pending"] == 59_940)
        .await;
    hub.stop().await;
}
