//! Endpoints over HTTP: made, listed, changed, rotated, tried out, deleted; and what was sent sent again.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::Reply;

#[tokio::test]
async fn the_secret_is_told_once_and_everything_else_as_often_as_asked() {
    let hub = hub().await;
    let wanted = json!({
        "url": "https://example.com/hook", "on": "undelivered", "roles": ["CREW"], "modules": ["orders"],
        "severities": ["high"]
    });
    let made = endpoint(&hub, wanted.clone()).await;
    assert!(made.secret.starts_with("whsec_"));
    let one = get(&hub, &made.path("")).await;
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&one[field], value, "{one}");
    }
    assert_eq!(one["enabled"], true);
    let list = get(&hub, "/webhooks").await;
    assert_eq!(list, json!({"endpoints": [one]}));
    assert!(!list.to_string().contains("whsec_"));

    let change = json!({"on": "always", "roles": [], "url": "https://example.org/"});
    let (status, changed) = call(&hub, Method::PATCH, &made.path(""), Some(change)).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["on"], &changed["roles"]),
        (&json!("always"), &json!([]))
    );
    assert_eq!(
        changed["modules"],
        json!(["orders"]),
        "what is not named stays"
    );
    assert_eq!(
        call(&hub, Method::DELETE, &made.path(""), None).await.0,
        204
    );
    assert_eq!(get(&hub, "/webhooks").await, json!({"endpoints": []}));
    for (method, path, body) in [
        (Method::GET, made.path(""), None),
        (Method::DELETE, made.path(""), None),
        (Method::PATCH, made.path(""), Some(json!({}))),
        (Method::POST, made.path("/rotate"), None),
        (Method::POST, made.path("/test"), None),
        (Method::GET, made.path("/deliveries"), None),
        (
            Method::POST,
            made.path("/redeliver"),
            Some(json!({"since": "1h"})),
        ),
        (Method::GET, "/webhooks/none".to_owned(), None),
        (
            Method::POST,
            format!("/webhooks/deliveries/{}/redeliver", made.id),
            None,
        ),
    ] {
        let (status, problem) = call(&hub, method.clone(), &path, body).await;
        assert_eq!(status, 404, "{method} {path}: {problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_an_endpoint_may_not_be_is_named_by_its_field() {
    let hub = hub().await;
    let many: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
    for (wanted, field) in [
        (json!({"url": "nonsense", "on": "always"}), "url"),
        (json!({"url": "ftp://example.com/", "on": "always"}), "url"),
        (
            json!({"url": "https://ann:secret@example.com/", "on": "always"}),
            "url",
        ),
        (
            json!({"url": "https://example.com/#there", "on": "always"}),
            "url",
        ),
        (json!({"url": "https://10.0.0.1/", "on": "always"}), "url"),
        (
            json!({"url": format!("https://example.com/{}", "x".repeat(2_048)), "on": "always"}),
            "url",
        ),
        // Each is short enough, and no longer when it is written out: with a slash, and with letters encoded.
        (
            json!({"url": format!("https://example.com?{}", "x".repeat(2_028)), "on": "always"}),
            "url",
        ),
        (
            json!({"url": format!("https://example.com/{}", "é".repeat(1_000)), "on": "always"}),
            "url",
        ),
        (
            json!({"url": "https://example.com/", "on": "sometimes"}),
            "on",
        ),
        (json!({"url": "https://example.com/"}), "on"),
        (
            json!({"url": "https://example.com/", "on": "always", "roles": many}),
            "roles",
        ),
        (
            json!({"url": "https://example.com/", "on": "always", "modules": ["a", ""]}),
            "modules[1]",
        ),
        (
            json!({"url": "https://example.com/", "on": "always", "severities": ["huge"]}),
            "severities[0]",
        ),
        (
            json!({"url": "https://example.com/", "on": "always", "secret": "mine"}),
            "secret",
        ),
    ] {
        let (status, problem) = call(&hub, Method::POST, "/webhooks", Some(wanted.clone())).await;
        assert_eq!(status, 422, "{wanted}: {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{wanted}: {problem}");
    }
    let without = TestHub::start().await;
    let plain = json!({"url": "http://example.com/", "on": "always"});
    let (status, problem) = call(&without, Method::POST, "/webhooks", Some(plain)).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(problem["errors"][0]["message"], "must begin with https://");
    without.stop().await;
    hub.stop().await;
}

#[tokio::test]
async fn a_secret_that_was_rotated_out_signs_beside_the_new_one() {
    let hub = hub().await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let (status, rotated) = call(&hub, Method::POST, &made.path("/rotate"), None).await;
    assert_eq!(status, 200, "{rotated}");
    let new = rotated["secret"].as_str().expect("a secret");
    assert_ne!(new, made.secret);
    assert!(rotated["oldSecretUntil"].is_string());
    hub.broadcast(json!({"message": "all"})).await;
    let received = sink.next().await;
    assert_eq!(received.signatures.len(), 2);
    assert!(received.is_signed_by(new) && received.is_signed_by(&made.secret));

    // A day later.
    let file = rusqlite::Connection::open(hub.database()).unwrap();
    file.busy_timeout(Duration::from_secs(5)).unwrap();
    file.execute("UPDATE webhook_endpoint SET old_until_ms = 1", [])
        .unwrap();
    hub.broadcast(json!({"message": "later"})).await;
    let received = sink.next().await;
    assert_eq!(received.signatures.len(), 1);
    assert!(received.is_signed_by(new) && !received.is_signed_by(&made.secret));
    hub.stop().await;
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_once_and_its_answer_says_what_came_of_it() {
    let hub = hub().await;
    let mut sink = Sink::start([Reply::status(200), Reply::status(500)]).await;
    let made = endpoint_at(&hub, &sink, "undelivered").await;
    let (status, sent) = call(&hub, Method::POST, &made.path("/test"), None).await;
    assert_eq!((status, &sent["status"]), (200, &json!("sent")), "{sent}");
    let received = sink.signed(&made.secret).await;
    assert_eq!(received.body["type"], "webhook.test");
    assert_eq!(received.body["data"]["endpointId"], made.id);
    assert_eq!(sent["id"], received.id);
    let (status, failed) = call(&hub, Method::POST, &made.path("/test"), None).await;
    assert_eq!((status, &failed["status"]), (200, &json!("failed")));
    assert_eq!(failed["error"], "answered 500 Internal Server Error");
    sink.next().await;
    let history = get(&hub, &made.path("/deliveries")).await;
    assert_eq!(history["deliveries"], json!([failed, sent]));
    let one = get(&hub, &made.path("")).await;
    assert!(
        one.get("failingSince").is_none(),
        "whoever tries it out is told themselves: {one}"
    );
    sink.expect_nothing();
    hub.stop().await;
}

#[tokio::test]
async fn what_has_failed_or_was_sent_goes_out_again_under_its_id_when_somebody_says_so() {
    let hub = TestHub::with(|config| {
        locally(config);
        config.webhooks.retry = Vec::new();
    })
    .await;
    let mut sink = Sink::start(vec![Reply::status(500); 3]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let mut ids = Vec::new();
    for number in 0..3 {
        hub.broadcast(json!({"message": format!("n{number}")}))
            .await;
        ids.push(sink.next().await.id);
    }
    until(&hub, &made, "the last failure", |it| {
        it["status"] == "failed" && it["id"] == ids[2].as_str()
    })
    .await;
    let one = format!("/webhooks/deliveries/{}/redeliver", ids[1]);
    let (status, answer) = call(&hub, Method::POST, &one, None).await;
    assert_eq!(
        (status, answer),
        (202, json!({"redelivered": 1, "more": false}))
    );
    assert_eq!(sink.signed(&made.secret).await.id, ids[1]);
    let all = Some(json!({"since": "1h"}));
    let sent = async {
        while get(&hub, &made.path("/deliveries?status=sent")).await["deliveries"] == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    soon("success", sent).await;
    let (status, answer) = call(&hub, Method::POST, &made.path("/redeliver"), all).await;
    assert_eq!(
        (status, answer),
        (202, json!({"redelivered": 2, "more": false}))
    );
    assert_eq!(sink.next().await.id, ids[0]);
    assert_eq!(sink.next().await.id, ids[2]);
    let wrong = Some(json!({"since": "yesterday"}));
    let (status, problem) = call(&hub, Method::POST, &made.path("/redeliver"), wrong).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("since"))
    );

    let page = get(&hub, &made.path("/deliveries?limit=2")).await;
    let listed: Vec<&str> = page["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, [&ids[2], &ids[1]]);
    let next = format!("/deliveries?limit=2&before={}", page["nextCursor"]);
    let rest = get(&hub, &made.path(&next)).await;
    assert_eq!(rest["deliveries"][0]["id"], ids[0].as_str());
    assert!(rest.get("nextCursor").is_none());
    hub.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_was_disabled_or_deleted_gets_nothing_more() {
    let hub = hub().await;
    let mut sink = Sink::start([]).await;
    let made = endpoint_at(&hub, &sink, "always").await;
    let disable = Some(json!({"enabled": false}));
    let (status, disabled) = call(&hub, Method::PATCH, &made.path(""), disable).await;
    assert_eq!((status, &disabled["disabledBy"]), (200, &json!("admin")));
    hub.broadcast(json!({"message": "unheard"})).await;
    let (mut other, enable) = (Sink::start([]).await, Some(json!({"enabled": true})));
    let second = endpoint_at(&hub, &other, "always").await;
    hub.broadcast(json!({"message": "heard"})).await;
    while other.next().await.message() != "heard" {}
    call(&hub, Method::PATCH, &made.path(""), enable).await;
    call(&hub, Method::DELETE, &second.path(""), None).await;
    hub.broadcast(json!({"message": "again"})).await;
    assert_eq!(sink.signed(&made.secret).await.message(), "again");
    other.expect_nothing();
    sink.expect_nothing();
    hub.stop().await;
}

#[tokio::test]
async fn webhooks_are_counted() {
    let hub = hub().await;
    let mut sink = Sink::start([Reply::status(500)]).await;
    endpoint_at(&hub, &sink, "always").await;
    hub.broadcast(json!({"message": "all"})).await;
    assert_eq!(sink.next().await.id, sink.next().await.id);
    let counted = async {
        loop {
            let told = hub.hub().metrics().await;
            let lines = [
                "campanile_webhook_attempts_total{outcome=\"sent\"} 1",
                "campanile_webhook_attempts_total{outcome=\"failed\"} 1",
                "campanile_webhooks_failed_total 0",
                "campanile_webhooks_waiting 0",
                "campanile_webhook_endpoints{state=\"enabled\"} 1",
                "campanile_webhook_endpoints{state=\"disabled\"} 0",
            ];
            if lines.iter().all(|line| told.lines().any(|it| it == *line)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the numbers", counted).await;
    hub.stop().await;
}
