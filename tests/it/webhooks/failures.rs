//! What is no success is tried again, and an endpoint that takes nothing is given up.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::{Reply, to_user};

/// A hub that has an endpoint for everything behind this script.
async fn scripted(script: impl IntoIterator<Item = Reply>) -> (TestHub, Sink, Made) {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.timeout = Duration::from_millis(500);
    })
    .await;
    let sink = Sink::start(script).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    (hub, sink, made)
}

#[tokio::test]
async fn every_answer_but_2xx_is_tried_again_under_the_same_id_and_the_history_says_why() {
    for (reply, status, error) in [
        (
            Reply::status(500),
            json!(500),
            "answered 500 Internal Server Error",
        ),
        (Reply::status(404), json!(404), "answered 404 Not Found"),
        (
            Reply::with(301, "location: http://127.0.0.1:1/elsewhere"),
            json!(301),
            "answered 301 Moved Permanently, and redirects are not followed",
        ),
        (Reply::Garbage, Value::Null, "the connection broke: "),
        (Reply::HangUp, Value::Null, "the connection broke: "),
        (Reply::Silence, Value::Null, "no answer within 500ms"),
    ] {
        let (hub, mut sink, made) = scripted(vec![reply.clone(); 4]).await;
        hub.broadcast(json!({"message": "all"})).await;
        let first = sink.signed(&made.secret).await;
        for _ in 0..3 {
            let again = sink.signed(&made.secret).await;
            assert_eq!(again.id, first.id);
            assert!(again.body["timestamp"].as_str() > first.body["timestamp"].as_str());
        }
        let ended = until(&hub, &made, "the last try", |it| it["status"] == "failed").await;
        assert_eq!(ended["attempts"], 4, "{reply:?}: {ended}");
        assert_eq!(ended["answerStatus"], status, "{reply:?}: {ended}");
        let said = ended["error"].as_str().unwrap();
        assert!(said.starts_with(error), "{reply:?}: {ended}");
        assert!(!said.contains("hook?for"), "{ended}");
        sink.expect_nothing();
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_2xx_is_success_even_if_its_body_breaks_off_or_never_ends() {
    let long = "é".repeat(40_000);
    let (hub, mut sink, made) = scripted([
        Reply::CutOff,
        Reply::Answer(204, "", String::new()),
        Reply::Answer(202, "", long),
    ])
    .await;
    for (message, status, answer) in [
        ("one", 200, json!("half")),
        ("two", 204, json!("")),
        ("three", 202, json!("é".repeat(512))),
    ] {
        hub.broadcast(json!({"message": message})).await;
        assert_eq!(sink.next().await.message(), message);
        let sent = until(&hub, &made, "success", |it| {
            it["status"] == "sent" && it["answerStatus"] == status
        })
        .await;
        assert_eq!((&sent["answer"], &sent["attempts"]), (&answer, &json!(1)));
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_retry_waits_as_long_as_it_was_asked_to() {
    let (hub, mut sink, made) = scripted([Reply::with(429, "retry-after: 1")]).await;
    hub.broadcast(json!({"message": "all"})).await;
    let first = sink.next().await;
    let waiting = until(&hub, &made, "a wait", |it| it["status"] == "waiting").await;
    assert_eq!(waiting["answerStatus"], 429);
    assert!(waiting["nextAt"].is_string(), "{waiting}");
    let second = sink.next().await;
    assert_eq!(first.id, second.id);
    assert!(second.at - first.at >= Duration::from_secs(1));
    hub.stop().await;
}

#[tokio::test]
async fn one_endpoint_that_hangs_holds_up_no_other() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.timeout = Duration::from_secs(2);
    })
    .await;
    let mut stuck = Sink::start(vec![Reply::Silence; 8]).await;
    let mut fine = Sink::start([]).await;
    endpoint_at(&hub, &stuck, "always").await;
    endpoint_at(&hub, &fine, "always").await;
    for number in 0..3 {
        hub.broadcast(json!({"message": format!("n{number}")}))
            .await;
    }
    for number in 0..3 {
        assert_eq!(fine.next().await.message(), format!("n{number}"));
    }
    assert_eq!(stuck.next().await.message(), "n0");
    stuck.expect_nothing();
    hub.stop().await;
}

#[tokio::test]
async fn gone_disables_the_endpoint_and_those_who_administer_are_told_but_not_through_it() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.admin_roles = vec!["OPS".to_owned()];
    })
    .await;
    let mut sink = Sink::start([Reply::status(410)]).await;
    let mut other = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let mut ops = hub.stream("olga", &["OPS"]).await;
    hub.broadcast(json!({"message": "first"})).await;
    assert_eq!(ops.notification().await.message(), "first");
    sink.next().await;
    let told = ops.notification().await;
    assert_eq!(
        told.message(),
        "Webhooks no longer go to 127.0.0.1: it answered 410 (Gone)."
    );
    let ended = until(&hub, &made, "the end", |it| it["status"] == "failed").await;
    assert_eq!(ended["attempts"], 1);
    let disabled = get(&hub, &made.path("")).await;
    assert_eq!(
        (&disabled["enabled"], &disabled["disabledBy"]),
        (&json!(false), &json!("gone"))
    );
    let second = endpoint_at(&hub, &other, "always").await;
    hub.publish(to_user("olga", 2)).await;
    assert_eq!(other.signed(&second.secret).await.message(), "n2");
    let (status, _) = call(&hub, Method::POST, &made.path("/test"), None).await;
    assert_eq!(status, 409);
    sink.expect_nothing();
    drop(ops);
    hub.stop().await;
}

#[tokio::test]
async fn an_endpoint_through_which_nothing_has_come_for_too_long_is_disabled_and_can_be_enabled_again()
 {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.admin_roles = vec!["OPS".to_owned()];
        config.webhooks.disable_after = Duration::from_secs(1);
        config.webhooks.retry = vec![Duration::from_millis(300); 10];
    })
    .await;
    let mut sink = Sink::start(vec![Reply::status(500); 20]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let mut ops = hub.stream("olga", &["OPS"]).await;
    let (first, second) = (to_user("olga", 1), to_user("olga", 2));
    hub.publish(first).await;
    hub.publish(second).await;
    assert_eq!(ops.messages(2).await, ["n1", "n2"]);
    let told = ops.notification().await;
    assert!(
        told.message()
            .ends_with("nothing has come through for too long."),
        "{told:?}"
    );
    let disabled = get(&hub, &made.path("")).await;
    assert_eq!(disabled["disabledBy"], "failing");
    assert!(disabled["failingSince"].is_string());
    let failed = get(&hub, &made.path("/deliveries?status=failed")).await;
    assert_eq!(
        failed["deliveries"].as_array().map(Vec::len),
        Some(2),
        "{failed}"
    );

    // What tells of it did not go through it, and was not kept for it either.
    let (status, again) = call(
        &hub,
        Method::PATCH,
        &made.path(""),
        Some(json!({"enabled": true})),
    )
    .await;
    assert_eq!((status, &again["enabled"]), (200, &json!(true)));
    assert!(again.get("failingSince").is_none(), "{again}");
    let (status, answer) = call(
        &hub,
        Method::POST,
        &made.path("/redeliver"),
        Some(json!({"since": "1h"})),
    )
    .await;
    assert_eq!(
        (status, answer),
        (202, json!({"redelivered": 2, "more": false}))
    );
    while sink.next().await.message() != "n2" {}
    drop(ops);
    hub.stop().await;
}
