//! Real answers, and events on the real wire, are as the OpenAPI document says: each status, header and field.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile::clock::Timestamp;
use serde_json::{Value, json};

use super::document::{Answer, Document, Operation};
use super::names;
use crate::support::{Event, Sink, TestHub};

const JSON: &str = "application/json";

/// The answer of an operation that must be documented and of this status.
async fn answered(
    document: &Document,
    hub: &TestHub,
    (operation, path): (&str, &str),
    body: Option<Value>,
    status: u16,
) -> Value {
    let operation = document.operation(operation);
    let body = body.map(|body| (JSON, body.to_string()));
    let token = Some(operation.token(hub));
    let answer = document.call(&operation, hub.url(path), token, body).await;
    let value = document.check_answer(&operation, &answer);
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    value
}

#[tokio::test]
async fn answers_are_as_documented() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let stream = hub.stream("42", &["ADMIN"]).await;
    let ask = |operation, body, status| answered(&document, &hub, operation, body, status);

    let published = hub
        .publish(json!({"targetUserId": "42", "message": "m"}))
        .await;
    let own = ask(("getStatus", "/notifications/status"), None, 200).await;
    assert_eq!(
        (&own["streams"]["own"], &own["unread"]),
        (&json!(1), &json!(1))
    );
    let id = published["notificationId"].as_str().unwrap();
    let read = format!("/notifications/{id}/read");
    ask(("markRead", &read), None, 204).await;
    ask(("markRead", "/notifications/nothing/read"), None, 404).await;
    let all = "/notifications/read-all";
    ask(("markAllRead", all), None, 204).await;
    let up_to = json!({"upTo": published["eventId"]});
    ask(("markAllRead", all), Some(up_to), 204).await;
    ask(
        ("markAllRead", all),
        Some(json!({"upTo": "zzzzzzzz-1"})),
        422,
    )
    .await;

    ask(("issueTicket", "/notifications/stream/ticket"), None, 201).await;
    ask(("revokeUser", "/users/7/revoke"), None, 200).await;
    ask(("revokeUser", "/users/%00/revoke"), None, 404).await;
    let open = ask(("listConnections", "/notifications/connections"), None, 200).await;
    assert_eq!(open["connections"][0]["userId"], "42");
    let new_key = || Some(json!({"name": "billing/eu", "scopes": ["admin"]}));
    ask(("createKey", "/keys"), new_key(), 201).await;
    ask(("createKey", "/keys"), new_key(), 409).await;
    ask(("revokeKey", "/keys/billing%2Feu"), None, 204).await;
    ask(("revokeKey", "/keys/billing%2Feu"), None, 404).await;
    let keys = ask(("listKeys", "/keys"), None, 200).await;
    assert!(keys["keys"][0]["revokedAt"].is_string(), "{keys}");

    let admin = document.operation("getStatus");
    let token = Some(hub.token("root", &[], &["admin"]));
    let answer = document
        .call(&admin, hub.url(admin.path), token, None)
        .await;
    let status = document.check_answer(&admin, &answer);
    assert_eq!(status["hubs"][0]["streams"]["byRole"]["ADMIN"], 1);

    let mixed = json!([{"everyone": true, "message": "m"}, {"everyone": true}, {"everyone": 1}]);
    let batch = ("publishBatch", "/notifications/batch");
    let results = ask(batch, Some(mixed), 200).await;
    let statuses: Vec<&Value> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["status"])
        .collect();
    assert_eq!(statuses, [201, 422, 422]);

    let keyed = || {
        Some(json!({
            "targetUserIds": ["42", "away"], "message": "m", "reference": "CNC-1126-0007",
            "idempotencyKey": "k", "throttle": {"key": "t", "window": "1h"}
        }))
    };
    let create = ("createAndNotify", "/notifications/create-and-notify");
    ask(create, keyed(), 201).await;
    let again = ask(create, keyed(), 200).await;
    assert_eq!(again["duplicate"], true);
    let mut later = keyed().expect("a draft");
    later["idempotencyKey"] = json!("l");
    let held_off = ask(create, Some(later), 200).await;
    assert_eq!(held_off["throttled"], true);
    let taken = json!({"everyone": true, "message": "m", "reference": "CNC-1126-0007"});
    ask(create, Some(taken), 409).await;
    let of_one = "/notifications/CNC-1126-0007/deliveries";
    let story = ask(("getDeliveries", of_one), None, 200).await;
    assert_eq!(story["deliveries"].as_array().map(Vec::len), Some(2));
    ask(
        ("getDeliveries", "/notifications/none/deliveries"),
        None,
        404,
    )
    .await;
    ask(
        ("searchDeliveries", "/deliveries?user=42&limit=1"),
        None,
        200,
    )
    .await;
    ask(("searchDeliveries", "/deliveries?outcome=sent"), None, 422).await;
    let found = "/notifications?reference=CNC-1126-0007";
    ask(("listInbox", found), None, 200).await;
    let page = ask(("listInbox", "/notifications?limit=1"), None, 200).await;
    assert!(page["nextCursor"].is_string(), "{page}");
    let own = "/notifications?unread=true&severity=low&severity=high&module=orders";
    let page = ask(("listInbox", own), None, 200).await;
    assert!(page["nextCursor"].is_null(), "{page}");
    ask(("listInbox", "/notifications?user=7"), None, 403).await;
    ask(("listInbox", "/notifications?limit=0"), None, 422).await;
    let item = "/notifications/CNC-1126-0007";
    ask(("getInboxItem", item), None, 200).await;
    ask(("getInboxItem", "/notifications/none"), None, 404).await;
    let anothers = "/notifications/CNC-1126-0007?user=7";
    ask(("getInboxItem", anothers), None, 403).await;
    let odd = "/notifications/CNC-1126-0007?limit=1";
    ask(("getInboxItem", odd), None, 422).await;
    let held_back = json!({
        "targetUserId": "42", "message": "m", "reference": "CNC-1126-0008",
        "deliverAt": Timestamp::now().saturating_add(Duration::from_secs(3600)).to_string()
    });
    let held_back = ask(create, Some(held_back), 201).await;
    assert_eq!(held_back["status"], "scheduled");
    let cancel = ("cancelNotification", "/notifications/CNC-1126-0008");
    let of_it = ("getDeliveries", "/notifications/CNC-1126-0008/deliveries");
    assert_eq!(ask(of_it, None, 200).await["status"], "scheduled");
    ask(cancel, None, 204).await;
    assert_eq!(ask(of_it, None, 200).await["status"], "cancelled");
    ask(
        ("cancelNotification", "/notifications/CNC-1126-0007"),
        None,
        409,
    )
    .await;
    ask(("cancelNotification", "/notifications/none"), None, 404).await;
    let keep = ("keepReminder", "/reminders/t%2F1");
    let reminder = || {
        Some(json!({
            "dueAt": "2026-11-01T09:00:00Z", "repeatEvery": "24h", "targetUserId": "42",
            "title": "Late by {overdue}", "message": "m"
        }))
    };
    ask(keep, reminder(), 201).await;
    ask(keep, reminder(), 200).await;
    ask(keep, Some(json!({"message": "m"})), 422).await;
    ask(("getReminder", "/reminders/t%2F1"), None, 200).await;
    ask(("getReminder", "/reminders/none"), None, 404).await;
    let listed = ask(("listReminders", "/reminders?overdue=true"), None, 200).await;
    assert_eq!(listed["reminders"].as_array().map(Vec::len), Some(1));
    ask(("listReminders", "/reminders?overdue=perhaps"), None, 422).await;
    let sweep = document.operation("checkOverdue");
    let secret = std::fs::read_to_string(hub.data().join("cron-secret")).expect("the secret");
    let answer = document
        .call(
            &sweep,
            hub.url(sweep.path),
            Some(secret.trim().to_owned()),
            None,
        )
        .await;
    let swept = document.check_answer(&sweep, &answer);
    assert_eq!(swept["totalOverdue"], 1, "{swept}");
    let history = ("getReminderHistory", "/reminders/t%2F1/history");
    let said = ask(history, None, 200).await;
    assert_eq!(said["history"].as_array().map(Vec::len), Some(1));
    ask(
        ("getReminderHistory", "/reminders/t%2F1/history?limit=0"),
        None,
        422,
    )
    .await;
    ask(("getReminderHistory", "/reminders/none/history"), None, 404).await;
    let others = "/reminders/t%2F1?publisher=key%3Abilling";
    ask(("getReminder", others), None, 403).await;
    ask(("getReminder", "/reminders/t%2F1?owner=me"), None, 422).await;
    ask(("removeReminder", others), None, 403).await;
    ask(("removeReminder", "/reminders/t%2F1?owner=me"), None, 422).await;
    ask(("removeReminder", "/reminders/t%2F1"), None, 204).await;
    ask(("removeReminder", "/reminders/t%2F1"), None, 404).await;
    let used = ask(("listDuplicates", "/audit/duplicates?key=k"), None, 200).await;
    assert_eq!(used["duplicates"].as_array().map(Vec::len), Some(1));
    ask(("listDuplicates", "/audit/duplicates?limit=0"), None, 422).await;

    ask(("prune", "/prune"), None, 200).await;
    let count = || Some(json!({"notifications": "7d", "dryRun": true}));
    let left = ask(("prune", "/prune"), count(), 200).await;
    assert_eq!(left["left"]["notifications"], 0);
    ask(
        ("prune", "/prune"),
        Some(json!({"notifications": "soon"})),
        422,
    )
    .await;
    ask(("getQueue", "/queue?limit=1"), None, 200).await;
    ask(("getQueue", "/queue?after=x"), None, 422).await;
    let deep = "/queue/diagnosis?deep=true";
    let diagnosis = ask(("diagnoseQueue", deep), None, 200).await;
    assert_eq!(diagnosis["deep"]["finished"], true, "{diagnosis}");
    ask(("unlockQueue", "/queue/unlock"), None, 200).await;

    ask(("healthz", "/healthz"), None, 200).await;
    ask(("readyz", "/readyz"), None, 200).await;
    ask(("getOpenApi", "/openapi.json"), None, 200).await;
    let issued = ask(("createSignInCode", "/console/code"), None, 201).await;
    let link = format!("/sign-in?code={}", issued["code"].as_str().unwrap());
    ask(("signIn", &link), None, 303).await;
    ask(("signIn", &link), None, 403).await;
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn answers_about_webhooks_are_as_documented() {
    let hub = TestHub::with(|config| {
        config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a block")];
        config.webhooks.retry = Vec::new();
    })
    .await;
    let document = Document::of(&hub).await;
    let mut sink = Sink::start([]).await;
    let ask = |operation, body, status| answered(&document, &hub, operation, body, status);
    let wanted = json!({"url": sink.url(), "on": "always"});
    let made = ask(("createEndpoint", "/webhooks"), Some(wanted.clone()), 201).await;
    let of_it = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let at = |more: &str| format!("{of_it}{more}");
    let (rotate, test, redeliver) = (at("/rotate"), at("/test"), at("/redeliver"));
    ask(("listEndpoints", "/webhooks"), None, 200).await;
    ask(("getEndpoint", &of_it), None, 200).await;
    ask(("getEndpoint", "/webhooks/none"), None, 404).await;
    ask(("rotateSecret", &rotate), None, 200).await;
    let tested = ask(("testEndpoint", &test), None, 200).await;
    document.check_closed("WebhookBody", &sink.next().await.body);
    let again = format!(
        "/webhooks/deliveries/{}/redeliver",
        tested["id"].as_str().unwrap()
    );
    ask(("redeliverWebhook", &again), None, 202).await;
    sink.next().await;
    let draft = json!({"targetUserId": "away", "targetRoles": ["CREW"], "message": "m"});
    let published = hub.publish(draft).await;
    document.check_closed("WebhookBody", &sink.next().await.body);
    let of_one = format!(
        "/notifications/{}/webhooks",
        published["notificationId"].as_str().unwrap()
    );
    // Somebody else's, and one's own.
    ask(("getWebhooksOfNotification", &of_one), None, 404).await;
    let own = json!({"everyone": true, "message": "m"});
    let create = ("createAndNotify", "/notifications/create-and-notify");
    let published = ask(create, Some(own), 201).await;
    document.check_closed("WebhookBody", &sink.next().await.body);
    let of_one = format!(
        "/notifications/{}/webhooks",
        published["notificationId"].as_str().unwrap()
    );
    let told = ask(("getWebhooksOfNotification", &of_one), None, 200).await;
    assert_eq!(told["webhooks"].as_array().map(Vec::len), Some(1));
    let since = || Some(json!({"since": "1h"}));
    ask(("redeliverFailed", &redeliver), since(), 202).await;
    let history = at("/deliveries?limit=1");
    let page = ask(("getEndpointHistory", &history), None, 200).await;
    assert!(page["nextCursor"].is_i64(), "{page}");
    let odd = at("/deliveries?status=odd");
    ask(("getEndpointHistory", &odd), None, 422).await;
    let disable = json!({"enabled": false});
    let disabled = ask(("changeEndpoint", &of_it), Some(disable), 200).await;
    assert_eq!(disabled["disabledBy"], "admin");
    ask(("testEndpoint", &test), None, 409).await;
    ask(("redeliverFailed", &redeliver), since(), 409).await;
    for _ in 1..campanile::webhooks::MAX_ENDPOINTS {
        ask(("createEndpoint", "/webhooks"), Some(wanted.clone()), 201).await;
    }
    ask(("createEndpoint", "/webhooks"), Some(wanted), 409).await;
    ask(("deleteEndpoint", &of_it), None, 204).await;
    ask(("deleteEndpoint", &of_it), None, 404).await;
    hub.stop().await;
}

#[tokio::test]
async fn refusals_are_as_documented() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let draft_bytes = document.at("/components/schemas/Draft/x-max-bytes");
    let key = answered(
        &document,
        &hub,
        ("createKey", "/keys"),
        Some(json!({"name": "k", "scopes": ["publish"]})),
        201,
    )
    .await;
    let expect = |operation: &Operation<'_>, answer: &Answer, status: u16| {
        document.check_answer(operation, answer);
        assert_eq!(
            answer.status, status,
            "{} {}: {}",
            operation.method, operation.path, answer.text
        );
    };
    for operation in document.operations() {
        let url = || hub.url(operation.path);
        let security = &operation.object["security"];
        if security != &json!([]) {
            let answer = document.call(&operation, url(), None, None).await;
            expect(&operation, &answer, 401);
        }
        let refused = match security[0]["bearer"][0].as_str() {
            Some("reader") => Some(key["key"].as_str().unwrap().to_owned()),
            Some(_) => Some(hub.token("42", &["ADMIN"], &[])),
            None => None,
        };
        if let Some(token) = refused {
            let answer = document.call(&operation, url(), Some(token), None).await;
            expect(&operation, &answer, 403);
        }
        let body = &operation.object["requestBody"];
        if body.is_null() {
            continue;
        }
        let limit = body.get("x-max-bytes").unwrap_or(draft_bytes);
        let too_large = " ".repeat(usize::try_from(limit.as_u64().unwrap()).unwrap() + 1);
        for (media_type, text, status) in [
            ("text/plain", "{}".to_owned(), 415),
            (JSON, "]".to_owned(), 400),
            (JSON, r#"{"strange": 1}"#.to_owned(), 422),
            (JSON, too_large, 413),
        ] {
            let answer = document
                .call(
                    &operation,
                    url(),
                    Some(operation.token(&hub)),
                    Some((media_type, text)),
                )
                .await;
            expect(&operation, &answer, status);
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_will_pass_is_refused_as_documented() {
    let hub = TestHub::with(|config| {
        config.test_rate.per_minute = 1;
        config.stream.per_user = 1;
    })
    .await;
    let document = Document::of(&hub).await;
    let ask = |operation, body, status| answered(&document, &hub, operation, body, status);
    let _stream = hub.stream("42", &[]).await;
    let stream = ("openStream", "/notifications/stream");
    ask(stream, None, 429).await;
    ask(
        ("openStream", "/notifications/stream?events=all"),
        None,
        422,
    )
    .await;
    ask(("sendTest", "/notifications/test"), None, 201).await;
    ask(("sendTest", "/notifications/test"), None, 429).await;
    let test = Some(json!({"action": "test"}));
    ask(("publish", "/notifications"), test, 429).await;

    hub.hub().close().await;
    let draft = || Some(json!({"everyone": true, "message": "m"}));
    ask(("readyz", "/readyz"), None, 503).await;
    ask(stream, None, 503).await;
    ask(("publish", "/notifications"), draft(), 503).await;
    ask(
        ("createAndNotify", "/notifications/create-and-notify"),
        draft(),
        503,
    )
    .await;
    ask(("broadcast", "/notifications/broadcast"), draft(), 503).await;
    hub.stop().await;
}

#[tokio::test]
async fn events_on_the_wire_are_as_documented() {
    let mut hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let document = Document::of(&hub).await;
    let mut stream = hub.resume("42", &["ADMIN"], "garbage").await;
    let mut everything = document.at("/components/examples/ToAUser/value").clone();
    everything["reference"] = json!({"prefix": "CNC"});
    hub.publish(everything).await;
    let mut seen = BTreeSet::new();
    let mut check = |event: &Event| {
        document.check_closed("Event", &event.data);
        assert_eq!(event.name.as_deref(), Some(event.kind()));
        if event.kind() == "notification" {
            let schema = document.at("/components/schemas/Notification/properties");
            assert_eq!(names(&event.data["data"]), names(schema));
        }
        if let Some(id) = &event.id {
            document.check_closed("EventId", &json!(id));
        }
        seen.insert(event.kind().to_owned());
        seen.len()
    };
    check(&stream.connected);
    while check(&stream.next().await) < 5 {}
    hub.begin_to_stop();
    while let Some(event) = stream.try_next().await {
        check(&event);
    }
    drop(stream);
    let mapping = document.at("/components/schemas/Event/discriminator/mapping");
    let seen: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen, names(mapping));
    hub.stop().await;
}

#[tokio::test]
async fn a_refusal_in_the_words_of_the_stream_is_an_event_as_documented() {
    let hub = TestHub::with(|config| config.stream.per_user = 1).await;
    let document = Document::of(&hub).await;
    let stream = hub.stream("42", &[]).await;
    let request = hub.client().get(hub.url("/notifications/stream"));
    let request = request.bearer_auth(hub.token("42", &[], &[]));
    let response = request.header("accept", "text/event-stream").send().await;
    let answer = response.unwrap().text().await.unwrap();
    let data = answer.lines().find_map(|line| line.strip_prefix("data: "));
    let event: Value = serde_json::from_str(data.expect(&answer)).unwrap();
    document.check_closed("ByeEvent", &event);
    drop(stream);
    hub.stop().await;
}
