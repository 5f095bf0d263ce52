//! What is held back comes when it is due, not before, and in its place in the log; and until then it can be cancelled.

use std::time::Duration;

use campanile::clock::Timestamp;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Retention, StoreError};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{BinaryHub, RECENT_BYTES, TestHub, command, soon, to_role, to_user};

/// A moment in so many milliseconds, as drafts have it.
fn in_ms(ms: u64) -> String {
    Timestamp::now()
        .saturating_add(Duration::from_millis(ms))
        .to_string()
}

fn held_back(user: &str, number: usize, ms: u64) -> Value {
    let mut draft = to_user(user, number);
    draft["deliverAt"] = in_ms(ms).into();
    draft
}

/// Far enough away that no test lives to see it.
const AN_HOUR: u64 = 3_600_000;

/// DELETEs a notification and returns the status.
async fn cancel(hub: &TestHub, which: &Value, user: &str, scopes: &[&str]) -> u16 {
    let which = which.as_str().expect("an id");
    let request = hub
        .client()
        .delete(hub.url(&format!("/notifications/{which}")))
        .bearer_auth(hub.token(user, &[], scopes));
    let answer = soon("an answer", request.send()).await.expect("an answer");
    answer.status().as_u16()
}

/// What became of it, as its publisher is told.
async fn story(hub: &TestHub, which: &Value) -> Value {
    let path = format!("/notifications/{}/deliveries", which.as_str().unwrap());
    let request = hub
        .client()
        .request(Method::GET, hub.url(&path))
        .bearer_auth(hub.token("publisher", &[], &["publish"]));
    let answer = soon("an answer", request.send()).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

/// Waits until it stands so.
async fn until_status(hub: &TestHub, which: &Value, status: &str) {
    let told = async {
        while story(hub, which).await["status"] != status {
            tokio::task::yield_now().await;
        }
    };
    soon(status, told).await;
}

#[tokio::test]
async fn what_is_held_back_comes_when_it_is_due_and_not_before() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    let due = Timestamp::now().saturating_add(Duration::from_millis(400));
    let mut draft = to_user("ann", 1);
    draft["deliverAt"] = due.to_string().into();
    let answer = hub.publish(draft).await;
    assert_eq!(
        (&answer["status"], &answer["eventId"]),
        (&json!("scheduled"), &Value::Null)
    );
    hub.publish(to_user("ann", 2)).await;
    ann.expect_next_message("n2").await;
    let held = story(&hub, &answer["notificationId"]).await;
    assert_eq!(held["status"], "scheduled");
    assert_eq!(held["deliverAt"], due.to_string());

    let event = ann.notification().await;
    assert!(Timestamp::now() >= due, "not before its time");
    assert_eq!(event.message(), "n1");
    assert_eq!(event.data["notificationId"], answer["notificationId"]);
    // To those who are told, it comes into being now.
    assert_eq!(event.data["data"]["createdAt"], due.to_string());
    assert!(
        event.position().is_some(),
        "its place was given when it was released"
    );
    until_status(&hub, &answer["notificationId"], "sent").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_away_at_the_release_finds_it_in_its_place() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    hub.publish(held_back("ann", 3, 300)).await;
    hub.publish(to_user("ann", 1)).await;
    let cursor = ann.notification().await.id.unwrap();
    drop(ann);
    hub.publish(to_user("ann", 2)).await;
    hub.until("its release", |s| s["queue"]["scheduled"] == 0)
        .await;
    hub.publish(to_user("ann", 4)).await;
    let mut back = hub.resume("ann", &[], &cursor).await;
    assert_eq!(back.messages(3).await, ["n2", "n3", "n4"]);
    hub.stop().await;
}

#[tokio::test]
async fn what_fell_due_while_the_hub_was_down_comes_at_the_next_start() {
    let hub = TestHub::start().await;
    let first = hub.publish(held_back("ann", 1, 50)).await;
    let later = hub.publish(held_back("ann", 2, AN_HOUR)).await;
    assert_eq!(first["status"], "scheduled");
    let hub = hub.stop().await.restart().await;
    let mut ann = hub.stream("ann", &[]).await;
    ann.expect_next_message("n1").await;
    assert_eq!(
        story(&hub, &later["notificationId"]).await["status"],
        "scheduled"
    );
    assert_eq!(hub.status().await["queue"]["scheduled"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn many_that_are_due_at_once_come_once_each_in_the_order_of_their_times() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    // More than one step of a release, the later ones published first.
    let first = Timestamp::now().saturating_add(Duration::from_millis(1_500));
    let draft = |number: usize| {
        let mut draft = to_user("ann", number);
        let due = first.saturating_add(Duration::from_millis(number as u64));
        draft["deliverAt"] = due.to_string().into();
        draft
    };
    let drafts: Vec<Value> = (0..600).rev().map(draft).collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200, "{answer}");
    let expected: Vec<String> = (0..600).map(|number| format!("n{number}")).collect();
    assert_eq!(ann.messages(600).await, expected);
    hub.stop().await;
}

#[tokio::test]
async fn a_key_is_answered_as_before_whether_its_notification_is_held_back_or_released() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    let mut draft = held_back("ann", 1, 300);
    draft["idempotencyKey"] = "order-1".into();
    let first = hub.publish(draft.clone()).await;
    let mut repeated = first.clone();
    repeated["duplicate"] = true.into();
    assert_eq!(
        hub.post("/notifications", &draft).await,
        (200, repeated.clone())
    );
    ann.expect_next_message("n1").await;
    // Its time has passed by now; it is the same draft all the same.
    assert_eq!(hub.post("/notifications", &draft).await, (200, repeated));
    let mut other = draft.clone();
    other["deliverAt"] = in_ms(AN_HOUR).into();
    assert_eq!(hub.post("/notifications", &other).await.0, 422);
    hub.stop().await;
}

#[tokio::test]
async fn references_and_throttles_are_given_when_it_is_accepted() {
    let hub = TestHub::start().await;
    let mut draft = held_back("ann", 1, AN_HOUR);
    draft["reference"] = json!({"prefix": "CNC"});
    draft["throttle"] = json!({"key": "ticket", "window": "1h"});
    let first = hub.publish(draft.clone()).await;
    assert!(first["reference"].as_str().unwrap().ends_with("-0001"));
    let (status, second) = hub.post("/notifications", &draft).await;
    assert_eq!((status, &second["throttled"]), (200, &json!(true)));
    assert_eq!(second["notificationId"], first["notificationId"]);
    assert_eq!(second["status"], "scheduled");
    // Its number leads to it already.
    let found = story(&hub, &first["reference"]).await;
    assert_eq!(found["notificationId"], first["notificationId"]);
    assert_eq!(
        cancel(&hub, &first["reference"], "publisher", &["publish"]).await,
        204
    );
    // Cancelling releases neither the number nor the throttle.
    let (_, third) = hub.post("/notifications", &draft).await;
    assert_eq!(third["throttled"], true);
    hub.stop().await;
}

#[tokio::test]
async fn one_that_expires_before_it_is_delivered_is_told_as_expired() {
    let hub = TestHub::start().await;
    let mut draft = to_user("ann", 1);
    let due = Timestamp::now().saturating_add(Duration::from_millis(30));
    draft["deliverAt"] = due.to_string().into();
    draft["expiresAt"] = due
        .saturating_add(Duration::from_millis(1))
        .to_string()
        .into();
    let answer = hub.publish(draft).await;
    let hub = hub.stop().await;
    while Timestamp::now() < due.saturating_add(Duration::from_millis(2)) {
        tokio::task::yield_now().await;
    }
    let hub = hub.restart().await;
    hub.until("its release", |s| {
        s["queue"]["scheduled"] == 0 && s["queue"]["depth"] == 0
    })
    .await;
    until_status(&hub, &answer["notificationId"], "expired").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_cannot_be_held_back_is_refused_with_its_field() {
    let hub = TestHub::start().await;
    for (fields, field, message) in [
        (
            json!({"deliverAt": "tomorrow"}),
            "deliverAt",
            "must be a time in RFC 3339, such as 2026-12-01T09:00:00Z",
        ),
        (
            json!({"deliverAt": "9999-01-01T00:00:00Z"}),
            "deliverAt",
            "must be at most 366 days from now",
        ),
        (
            json!({"deliverAt": in_ms(AN_HOUR), "expiresAt": in_ms(1_000)}),
            "expiresAt",
            "must be after deliverAt",
        ),
        (
            json!({"deliverAt": in_ms(AN_HOUR), "ephemeral": true}),
            "deliverAt",
            "cannot stand together with ephemeral, of which nothing is kept",
        ),
    ] {
        let mut draft = to_user("ann", 1);
        draft
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let (status, problem) = hub.post("/notifications", &draft).await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(
            problem["errors"],
            json!([{"field": field, "message": message}])
        );
    }
    // A time that has passed holds nothing back.
    let mut late = to_user("ann", 1);
    late["deliverAt"] = "2020-01-01T00:00:00Z".into();
    assert_eq!(hub.publish(late).await["status"], "pending");
    assert_eq!(hub.status().await["queue"]["scheduled"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn what_is_cancelled_in_time_never_comes() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    let taken_back = hub.publish(held_back("ann", 1, 300)).await;
    hub.publish(held_back("ann", 2, 301)).await;
    let id = &taken_back["notificationId"];
    assert_eq!(cancel(&hub, id, "publisher", &["publish"]).await, 204);
    assert_eq!(
        cancel(&hub, id, "publisher", &["publish"]).await,
        204,
        "once more is no error"
    );
    ann.expect_next_message("n2").await;
    let told = story(&hub, id).await;
    assert_eq!(told["status"], "cancelled");
    assert_eq!(told["cancelledBy"], "user:campanile/publisher");
    assert_eq!(hub.status().await["queue"]["scheduled"], 0);
    let hub = hub.stop().await.restart().await;
    assert_eq!(story(&hub, id).await["status"], "cancelled");
    hub.stop().await;
}

#[tokio::test]
async fn what_nobody_took_can_be_withdrawn_and_then_nobody_gets_it() {
    for recent_bytes in RECENT_BYTES {
        is_withdrawn_from_everybody(recent_bytes).await;
    }
}

async fn is_withdrawn_from_everybody(recent_bytes: usize) {
    let hub = TestHub::with(|config| config.stream.recent_bytes = recent_bytes).await;
    let stream = hub.stream("bob", &["CREW"]).await;
    let place = stream.connected.id.clone().unwrap();
    drop(stream);
    hub.until("nobody is there", |s| s["streams"]["total"] == 0)
        .await;
    let draft = json!({"targetUserId": "ann", "targetRoles": ["CREW"], "message": "n1"});
    let answer = hub.publish(draft).await;
    let id = &answer["notificationId"];
    hub.until("both failed", |s| s["queue"]["failed"] == 2)
        .await;
    assert_eq!(cancel(&hub, id, "admin", &["admin"]).await, 204);
    assert_eq!(hub.status().await["queue"]["failed"], 0);
    let told = story(&hub, id).await;
    assert_eq!(told["status"], "cancelled");
    assert_eq!(told["deliveries"][0]["outcome"], "cancelled");
    assert_eq!(
        told["deliveries"][0]["reason"],
        "it was cancelled before they came"
    );
    let mut ann = hub.stream("ann", &["CREW"]).await;
    ann.counted(0).await;
    hub.publish(to_role("CREW", 2)).await;
    ann.expect_next_message("n2").await;
    let mut bob = hub.resume("bob", &["CREW"], &place).await;
    bob.expect_next_message("n2").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_somebody_has_or_may_still_get_cannot_be_cancelled() {
    let hub = TestHub::with(|config| config.delivery.retry = vec![Duration::from_secs(60)]).await;
    let mut ann = hub.stream("ann", &["CREW"]).await;
    let sent = hub.publish(to_role("CREW", 1)).await;
    ann.expect_next_message("n1").await;
    let owed = hub.publish(to_user("bob", 2)).await;
    hub.until("one owed", |s| s["queue"]["pending"] == 1).await;
    let broadcast = hub.broadcast(json!({"message": "n3"})).await;
    for answer in [&sent, &owed, &broadcast] {
        let id = &answer["notificationId"];
        assert_eq!(cancel(&hub, id, "publisher", &["publish"]).await, 409);
    }
    hub.stop().await;
}

#[tokio::test]
async fn only_its_publisher_or_an_admin_can_cancel_it() {
    let hub = TestHub::start().await;
    let answer = hub.publish(held_back("ann", 1, AN_HOUR)).await;
    let id = &answer["notificationId"];
    assert_eq!(cancel(&hub, id, "ann", &[]).await, 403, "a reader");
    assert_eq!(cancel(&hub, id, "stranger", &["publish"]).await, 404);
    let unknown = json!("019aa4f8-41a3-7c51-8f0e-2f1b0a6f5a10");
    assert_eq!(cancel(&hub, &unknown, "publisher", &["publish"]).await, 404);
    assert_eq!(hub.status().await["queue"]["scheduled"], 1);
    assert_eq!(cancel(&hub, id, "admin", &["admin"]).await, 204);
    hub.stop().await;
}

/// The clock is the caller's here: what it says counts, forwards and backwards.
#[tokio::test]
async fn a_clock_that_jumps_releases_early_or_late_but_never_twice() -> Result<(), StoreError> {
    let hub = TestHub::start().await;
    let answer = hub.publish(held_back("ann", 1, AN_HOUR)).await;
    let file = hub.data().join("campanile.db");
    // It keeps the directory.
    let _stopped = hub.stop().await;
    let opened = SqliteStore::open(&file, SqliteOptions::default()).expect("the store opens");
    let store = opened.store;
    let now = Timestamp::now();
    let ahead = now.saturating_add(Duration::from_hours(2));
    assert_eq!(store.release(now, 100).await?.count, 0);
    assert_eq!(store.release(ahead, 100).await?.count, 1);
    for moment in [now, ahead, ahead.saturating_add(Duration::from_hours(2))] {
        let released = store.release(moment, 100).await?;
        assert_eq!((released.count, released.next_due), (0, None));
    }
    let entries = store.entries(campanile::log::Position::START, 10).await?;
    let ids: Vec<Value> = entries.iter().map(|entry| json!(entry.id)).collect();
    assert_eq!(ids, [answer["notificationId"].clone()]);
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn two_processes_that_release_at_once_release_each_once() {
    let hub = TestHub::start().await;
    let drafts: Vec<Value> = (0..200).map(|n| held_back("ann", n, AN_HOUR)).collect();
    let (status, _) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200);
    let file = hub.data().join("campanile.db");
    // It keeps the directory.
    let _stopped = hub.stop().await;
    let shared = || SqliteOptions {
        shared: true,
        ..SqliteOptions::default()
    };
    let (one, two) = (
        SqliteStore::open(&file, shared())
            .expect("the store opens")
            .store,
        SqliteStore::open(&file, shared())
            .expect("the store opens")
            .store,
    );
    let ahead = Timestamp::now().saturating_add(Duration::from_hours(2));
    let mut released = 0;
    for _ in 0..20 {
        let (first, second) = tokio::join!(one.release(ahead, 7), two.release(ahead, 9));
        released += first.expect("released").count + second.expect("released").count;
    }
    assert_eq!(released, 200);
    let entries = one.entries(campanile::log::Position::START, 1_000).await;
    let positions: Vec<u64> = entries
        .expect("read")
        .iter()
        .map(|e| e.position.0)
        .collect();
    assert_eq!(positions, (1..=200).collect::<Vec<u64>>());
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn one_that_was_cancelled_is_told_of_for_as_long_as_notifications_are_kept() {
    let hub = TestHub::start().await;
    let answer = hub.publish(held_back("ann", 1, AN_HOUR)).await;
    let id = &answer["notificationId"];
    assert_eq!(cancel(&hub, id, "publisher", &["publish"]).await, 204);
    let file = hub.data().join("campanile.db");
    let _stopped = hub.stop().await;
    let store = SqliteStore::open(&file, SqliteOptions::default()).expect("the store opens");
    let store = store.store;
    let kept = Retention {
        notifications: Duration::from_hours(24),
        broadcasts: Duration::from_hours(1),
        idempotency: Duration::from_hours(24),
        audit: Duration::from_hours(24),
        webhooks: Duration::from_hours(24),
    };
    let in_hours = |hours| Timestamp::now().saturating_add(Duration::from_hours(hours));
    for (hours, left) in [(23, 0), (25, 1)] {
        let aged = store.aged(in_hours(hours), kept).await.expect("counted");
        let pruned = store.prune(in_hours(hours), kept, 100).await;
        let gone = pruned.expect("pruned").gone;
        assert_eq!((aged.notifications, gone.notifications), (left, left));
    }
    store.close().await;
}

#[tokio::test]
async fn the_command_schedules_tells_and_cancels() {
    let data = tempfile::tempdir().expect("a directory");
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let due = in_ms(AN_HOUR);
    let send = [
        "send",
        "--user",
        "ann",
        "--message",
        "hello",
        "--deliver-at",
        &due,
    ];
    let (code, id, words) = command(data.path(), &send).await;
    assert_eq!((code, words.as_str()), (0, ""));
    let id = id.trim();
    let (_, told, _) = command(data.path(), &["why", id]).await;
    assert!(told.contains("(not in the log yet)"), "{told}");
    assert!(told.contains(&format!("  due        {due}\n")), "{told}");
    assert!(told.ends_with("  status     scheduled\n"), "{told}");
    let cancelled = command(data.path(), &["cancel", id]).await;
    assert_eq!(cancelled, (0, String::new(), "cancelled\n".to_owned()));
    assert_eq!(hub.terminate().await, Some(0));
    // The file of a hub that has stopped tells the same.
    let (_, told, _) = command(data.path(), &["why", id]).await;
    assert!(told.ends_with("  status     cancelled\n"), "{told}");
    let (code, _, words) = command(data.path(), &["cancel", id]).await;
    assert_eq!(code, 4, "{words}");
}
