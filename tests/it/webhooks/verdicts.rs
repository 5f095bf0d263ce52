//! When a webhook is made: after the last verdict, one for each notification and endpoint, for those that ask for it.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::{to_role, to_user};

#[tokio::test]
async fn what_nobody_took_goes_out_after_the_last_retry_with_all_its_recipients() {
    let hub = hub().await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "undelivered").await;
    let mut ann = hub.stream("ann", &[]).await;
    hub.publish(json!({"targetUserId": "ann", "message": "taken"}))
        .await;
    let draft = json!({
        "targetUserIds": ["ann", "bob"], "targetRoles": ["CREW"], "message": "half", "severity": "high",
        "module": "orders", "data": {"n": 1}, "idempotencyKey": "k1"
    });
    let published = hub.publish(draft).await;
    let received = sink.signed(&made.secret).await;
    assert_eq!(received.message(), "half");
    assert_eq!(received.body["type"], "notification.undelivered");
    assert!(received.body["timestamp"].is_string());
    let data = &received.body["data"];
    let fields: Vec<&str> = data
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(fields, ["notification", "recipients"]);
    assert_eq!(
        data["notification"]["notificationId"],
        published["notificationId"]
    );
    assert_eq!(data["notification"]["data"], json!({"n": 1}));
    let private = ["idempotencyKey", "publisher", "targetUserIds", "audience"];
    for field in private {
        assert!(data["notification"].get(field).is_none(), "{data}");
    }
    assert_eq!(
        data["recipients"],
        json!([
            {"kind": "user", "id": "ann", "outcome": "sent"},
            {"kind": "user", "id": "bob", "outcome": "failed"},
            {"kind": "role", "id": "CREW", "outcome": "failed"},
        ])
    );
    assert_eq!(received.headers["content-type"], "application/json");
    assert_eq!(ann.messages(2).await, ["taken", "half"]);

    let ended = until(&hub, &made, "its end", |it| it["status"] == "sent").await;
    assert_eq!(ended["id"], received.id);
    assert_eq!(ended["notificationId"], published["notificationId"]);
    assert_eq!(
        (&ended["attempts"], &ended["answerStatus"]),
        (&json!(1), &json!(200))
    );
    assert_eq!(ended["answer"], "noted");
    let id = published["notificationId"].as_str().unwrap();
    let of_it = get(&hub, &format!("/notifications/{id}/webhooks")).await;
    assert_eq!(of_it["webhooks"], json!([ended]));

    // Who comes back has it after all; the webhook is not taken back, and there is no second one.
    let mut bob = hub.stream("bob", &[]).await;
    bob.expect_next_message("half").await;
    hub.until("no failure but the role's", |s| s["queue"]["failed"] == 1)
        .await;
    hub.publish(to_user("cid", 1)).await;
    assert_eq!(sink.next().await.message(), "n1");
    sink.expect_nothing();
    drop((ann, bob));
    hub.stop().await;
}

#[tokio::test]
async fn what_is_retried_still_is_not_told_of() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.delivery.retry = vec![Duration::from_secs(3600)];
    })
    .await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "undelivered").await;
    let published = hub.publish(to_user("ann", 1)).await;
    hub.until("a debt", |s| s["queue"]["pending"] == 1).await;
    let history = get(&hub, &made.path("/deliveries")).await;
    assert_eq!(history["deliveries"], json!([]), "{published}");
    let mut ann = hub.stream("ann", &[]).await;
    ann.expect_next_message("n1").await;
    hub.until("no debt", |s| s["queue"]["pending"] == 0).await;
    let history = get(&hub, &made.path("/deliveries")).await;
    assert_eq!(history["deliveries"], json!([]));
    sink.expect_nothing();
    drop(ann);
    hub.stop().await;
}

#[tokio::test]
async fn always_tells_of_what_everybody_took_and_of_broadcasts_once() {
    let hub = hub().await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let mut ann = hub.stream("ann", &["CREW"]).await;
    hub.publish(to_user("ann", 1)).await;
    ann.expect_next_message("n1").await;
    let taken = sink.signed(&made.secret).await;
    assert_eq!(taken.body["type"], "notification.created");
    assert_eq!(
        taken.body["data"]["recipients"],
        json!([{"kind": "user", "id": "ann", "outcome": "sent"}])
    );
    hub.broadcast(json!({"message": "all"})).await;
    let all = sink.signed(&made.secret).await;
    assert_eq!(all.message(), "all");
    assert_eq!(
        all.body["data"]["recipients"],
        json!([{"kind": "everyone", "outcome": "sent"}])
    );
    hub.publish(to_role("NIGHT", 2)).await;
    let failed = sink.signed(&made.secret).await;
    assert_eq!(failed.body["type"], "notification.created");
    assert_eq!(failed.body["data"]["recipients"][0]["outcome"], "failed");
    let history = get(&hub, &made.path("/deliveries")).await;
    assert_eq!(history["deliveries"].as_array().map(Vec::len), Some(3));
    drop(ann);
    hub.stop().await;
}

#[tokio::test]
async fn filters_and_the_drafts_own_word_decide_who_hears_of_it() {
    let hub = hub().await;
    let (mut orders, mut all) = (Sink::start([]).await, Sink::start([]).await);
    let picky = json!({
        "url": orders.url(), "on": "always", "roles": ["CREW"], "modules": ["orders"], "severities": ["high", "critical"]
    });
    endpoint(&hub, picky).await;
    endpoint_at(&hub, &all, "undelivered").await;
    let crew = hub.stream("ann", &["CREW"]).await;
    let draft = |message: &str, more: Value| {
        let mut draft = json!({
            "targetRoles": ["CREW"], "message": message, "module": "orders", "severity": "high"
        });
        for (field, value) in more.as_object().unwrap() {
            draft[field] = value.clone();
        }
        draft
    };
    for (message, more) in [
        ("fits", json!({})),
        ("another module", json!({"module": "stock"})),
        ("too quiet", json!({"severity": "low"})),
        ("another role", json!({"targetRoles": ["NIGHT"]})),
        ("not at all", json!({"webhook": "never"})),
        ("for all", json!({"webhook": "always", "module": "stock"})),
        ("only if", json!({"webhook": "undelivered"})),
        ("last", json!({"severity": "critical", "webhook": "always"})),
    ] {
        hub.publish(draft(message, more)).await;
    }
    let (first, last) = (orders.next().await, orders.next().await);
    assert_eq!([first.message(), last.message()], ["fits", "last"]);
    let (first, last) = (all.next().await, all.next().await);
    assert_eq!([first.message(), last.message()], ["for all", "last"]);
    assert_eq!(first.body["type"], "notification.created");
    let undelivered = all.next().await;
    assert_eq!(undelivered.message(), "another role");
    assert_eq!(undelivered.body["type"], "notification.undelivered");
    orders.expect_nothing();
    all.expect_nothing();

    let ephemeral =
        json!({"everyone": true, "message": "m", "ephemeral": true, "webhook": "always"});
    let (status, problem) = hub.post("/notifications", &ephemeral).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("webhook"))
    );
    let wrong = json!({"everyone": true, "message": "m", "webhook": "sometimes"});
    assert_eq!(hub.post("/notifications", &wrong).await.0, 422);
    drop(crew);
    hub.stop().await;
}

#[tokio::test]
async fn four_that_are_due_at_once_arrive_as_four_at_a_distance() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.pace = Duration::from_millis(200);
    })
    .await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let drafts: Value = (0..4).map(|number| to_user("ann", number)).collect();
    let mut ann = hub.stream("ann", &[]).await;
    hub.post("/notifications/batch", &drafts).await;
    assert_eq!(ann.messages(4).await.len(), 4);
    let mut received = Vec::new();
    for _ in 0..4 {
        received.push(sink.signed(&made.secret).await);
    }
    for pair in received.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart >= Duration::from_millis(200), "{apart:?}");
        assert_ne!(pair[0].id, pair[1].id);
        assert_ne!(pair[0].body["timestamp"], pair[1].body["timestamp"]);
    }
    let messages: Vec<&str> = received.iter().map(|one| one.message()).collect();
    assert_eq!(messages, ["n0", "n1", "n2", "n3"]);
    drop(ann);
    hub.stop().await;
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_kept_and_what_came_before_one_is_not_told_of() {
    let hub = hub().await;
    hub.publish(to_user("ann", 1)).await;
    hub.until("a failure", |s| s["queue"]["failed"] == 1).await;
    let file = rusqlite::Connection::open(hub.database()).unwrap();
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        file.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("webhook"), count("webhook_verdict")), (0, 0));
    let mut sink = Sink::start([]).await;
    endpoint_at(&hub, &sink, "undelivered").await;
    hub.publish(to_user("ann", 2)).await;
    assert_eq!(sink.next().await.message(), "n2");
    sink.expect_nothing();
    assert_eq!((count("webhook"), count("webhook_verdict")), (1, 0));
    hub.stop().await;
}

#[tokio::test]
async fn a_restart_makes_nothing_fail_before_clients_had_the_time_to_come_back() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.delivery.start_grace = Duration::from_secs(3600);
    })
    .await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "undelivered").await;
    hub.publish(to_user("ann", 1)).await;
    hub.until("a debt", |s| s["queue"]["pending"] == 1).await;
    let stopped = hub.stop().await;
    // As a crash would leave it that came in the middle of the last attempt.
    let file = rusqlite::Connection::open(stopped.database()).unwrap();
    let changed = file.execute(
        "UPDATE delivery SET owner = 'earlier', leased_ms = 1, attempts = 3",
        [],
    );
    assert_eq!(changed, Ok(1));
    drop(file);
    let hub = stopped.restart().await;
    let mut ann = hub.stream("ann", &[]).await;
    ann.expect_next_message("n1").await;
    hub.until("no debt", |s| s["queue"]["pending"] == 0).await;
    let history = get(&hub, &made.path("/deliveries")).await;
    assert_eq!(history["deliveries"], json!([]));
    sink.expect_nothing();
    drop(ann);
    hub.stop().await;
}
