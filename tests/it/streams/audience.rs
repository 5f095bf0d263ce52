//! A notification reaches those it is for, each stream once, and nobody else.

use serde_json::json;

use crate::support::{TestHub, to_role, to_user};

#[tokio::test]
async fn every_stream_of_a_user_gets_it_and_other_users_do_not() {
    let hub = TestHub::start().await;
    let mut phone = hub.stream("ann", &[]).await;
    let mut laptop = hub.stream("ann", &[]).await;
    let mut stranger = hub.stream("bob", &[]).await;
    hub.publish(to_user("ann", 1)).await;
    hub.publish(to_user("bob", 2)).await;
    phone.expect_next_message("n1").await;
    laptop.expect_next_message("n1").await;
    stranger.expect_next_message("n2").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_role_reaches_whoever_holds_it() {
    let hub = TestHub::start().await;
    let mut admin = hub.stream("ann", &["ADMIN", "Chef d'équipe"]).await;
    let mut other = hub.stream("bob", &["USER"]).await;
    hub.publish(to_role("ADMIN", 1)).await;
    // "é" in its decomposed form is the same role.
    hub.publish(to_role("Chef d'e\u{301}quipe", 2)).await;
    hub.publish(to_role("USER", 3)).await;
    admin.expect_next_message("n1").await;
    admin.expect_next_message("n2").await;
    other.expect_next_message("n3").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_matches_in_three_ways_gets_it_once() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["ADMIN", "SALES"]).await;
    let mut cleo = hub.stream("cleo", &["SALES"]).await;
    hub.publish(
        json!({"targetUserId": "ann", "targetUserIds": ["ann", "bob"],
        "targetRoles": ["ADMIN", "SALES"], "message": "once"}),
    )
    .await;
    hub.publish(json!({"everyone": true, "message": "after"}))
        .await;
    for stream in [&mut ann, &mut cleo] {
        assert_eq!(stream.messages(2).await, ["once", "after"]);
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_broadcast_is_for_everyone_unless_it_is_narrowed() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["ADMIN"]).await;
    let mut bob = hub.stream("bob", &[]).await;
    hub.broadcast(json!({"message": "all"})).await;
    hub.broadcast(json!({"message": "admins", "targetRoles": ["ADMIN"]}))
        .await;
    hub.broadcast(json!({"message": "bob", "targetUserId": "bob"}))
        .await;
    assert_eq!(ann.messages(2).await, ["all", "admins"]);
    assert_eq!(bob.messages(2).await, ["all", "bob"]);
    hub.stop().await;
}

#[tokio::test]
async fn receivers_do_not_learn_who_else_was_addressed() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    hub.publish(
        json!({"targetUserIds": ["ann", "secret-person"], "targetRoles": ["SECRET"],
        "message": "hello", "title": "t", "details": "d", "severity": "high", "module": "orders",
        "actionType": "new", "link": "/orders/1", "data": {"deep": [1, {"a": null}]}}),
    )
    .await;
    let event = ann.notification().await;
    let text = event.data.to_string();
    assert!(
        !text.contains("secret") && !text.contains("SECRET") && !text.contains("publisher"),
        "{text}"
    );
    let mut fields: Vec<&str> = event.data["data"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "actionType",
            "createdAt",
            "data",
            "details",
            "link",
            "message",
            "module",
            "notificationId",
            "severity",
            "title"
        ]
    );
    assert_eq!(
        event.data["notificationId"],
        event.data["data"]["notificationId"]
    );
    hub.stop().await;
}
