//! The stream's bytes, one by one.

use std::time::Duration;

use serde_json::json;

use crate::support::{Open, TestHub, Way};

#[tokio::test]
async fn the_response_head_keeps_caches_and_proxies_out_of_the_way() {
    let hub = TestHub::start().await;
    let stream = hub.stream("ann", &[]).await;
    let head = stream.head.to_ascii_lowercase();
    let mut lines = vec![
        "content-type: text/event-stream; charset=utf-8",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "referrer-policy: no-referrer",
    ];
    // HTTP/2 frames a body itself.
    if hub.road().way != Way::Http2 {
        lines.push("transfer-encoding: chunked");
    }
    for line in lines {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} is not in {head}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn connected_tells_who_where_and_how_often_a_heartbeat_comes() {
    let hub = TestHub::start().await;
    let stream = hub.stream("ann", &["ADMIN", "CREW"]).await;
    let connected = &stream.connected;
    assert_eq!(connected.name.as_deref(), Some("connected"));
    assert!(
        (2_000..=5_000).contains(&connected.retry.unwrap()),
        "{connected:?}"
    );
    assert!(connected.position().is_some());
    assert_eq!(connected.data["userId"], "ann");
    assert_eq!(
        connected.data["data"],
        json!({"roles": ["ADMIN", "CREW"], "recovered": false, "heartbeatSeconds": 15})
    );
    let listed = hub
        .client()
        .get(hub.url("/notifications/connections"))
        .bearer_auth(hub.token("root", &[], &["admin"]))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        listed.contains(connected.data["connectionId"].as_str().unwrap()),
        "{listed}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_notification_is_these_bytes() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let answer = hub
        .publish(json!({"targetUserId": "ann", "message": "line\nbreak \u{2028}\u{85} é \"q\""}))
        .await;
    let event = stream.notification().await;
    assert_eq!(event.name.as_deref(), Some("notification"));
    assert_eq!(event.id.as_deref(), answer["eventId"].as_str());
    assert_eq!(event.data["notificationId"], answer["notificationId"]);
    assert_eq!(event.data["data"]["createdAt"], answer["createdAt"]);
    assert_eq!(event.data["data"]["severity"], "medium");
    assert_eq!(event.message(), "line\nbreak \u{2028}\u{85} é \"q\"");

    // The same as raw bytes, over HTTP/1.0, where nothing is wrapped around them.
    let place = stream.connected.id.clone().unwrap();
    let token = hub.token("ann", &[], &[]);
    let request = format!(
        "GET /notifications/stream HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Last-Event-ID: {place}\r\n\r\n"
    );
    let mut socket = hub.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.windows(2).any(|w| w == b"}}")
            || !bytes.ends_with(b"\n\n")
            || count(&bytes, b"\nevent: ") < 3
        {
            tokio::io::AsyncReadExt::read_buf(&mut socket, &mut bytes)
                .await
                .unwrap();
        }
    };
    crate::support::soon("the event", read).await;
    let text = String::from_utf8(bytes).unwrap();
    let id = answer["notificationId"].as_str().unwrap();
    let created = answer["createdAt"].as_str().unwrap();
    let timestamp = event.data["timestamp"].as_u64().unwrap();
    let expected = format!(
        "\n\nid: {}\nevent: notification\ndata: {{\"type\":\"notification\",\"notificationId\":\"{id}\",\
         \"timestamp\":{timestamp},\"data\":{{\"notificationId\":\"{id}\",\
         \"message\":\"line\\nbreak \\u2028\\u0085 é \\\"q\\\"\",\"severity\":\"medium\",\"createdAt\":\"{created}\"}}}}\n\n",
        answer["eventId"].as_str().unwrap()
    );
    assert!(
        text.ends_with(&expected),
        "{text}\nshould end with\n{expected}"
    );
    assert!(
        !text.to_ascii_lowercase().contains("transfer-encoding"),
        "{text}"
    );
    hub.stop().await;
}

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .filter(|window| *window == what)
        .count()
}

#[tokio::test]
async fn unnamed_streams_carry_the_same_events_without_their_names() {
    let hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let token = hub.token("ann", &[], &[]);
    let open = Open {
        query: "?events=unnamed",
        ..Open::default()
    };
    let mut unnamed = hub.open_stream(&token, open).await;
    let mut named = hub.stream("ann", &[]).await;
    hub.publish(json!({"targetUserId": "ann", "message": "one"}))
        .await;
    let (plain, with_name) = (unnamed.notification().await, named.notification().await);
    assert_eq!(
        (plain.name, with_name.name.as_deref()),
        (None, Some("notification"))
    );
    assert_eq!((plain.id, plain.data), (with_name.id, with_name.data));
    let beat = unnamed.next_but_status().await;
    assert_eq!((beat.kind(), &beat.name), ("heartbeat", &None));
    hub.stop().await;
}

#[tokio::test]
async fn data_is_passed_on_digit_for_digit_on_one_line() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let body = "{\"targetUserId\": \"ann\", \"message\": \"m\", \"data\": {\n  \"big\": 12345678901234567890123,\r\n\t\"s\": \"a b\\n\" } }";
    let response = hub
        .client()
        .post(hub.url("/notifications"))
        .bearer_auth(hub.token("p", &[], &["publish"]))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let event = stream.notification().await;
    assert_eq!(event.data["data"]["data"]["s"], "a b\n");
    assert!(event.data["data"]["data"]["big"].is_number());
    hub.stop().await;
}

/// Text of any characters but those that make it blank, JSON of any shape.
fn text() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let awkward = prop::sample::select(vec![
        '\0',
        '\n',
        '\r',
        '\t',
        '\u{85}',
        '\u{2028}',
        '\u{2029}',
        '\u{feff}',
        '"',
        '\\',
        ':',
        '\u{1f514}',
    ]);
    prop::collection::vec(prop_oneof![any::<char>(), awkward], 0..40)
        .prop_map(|chars| format!("x{}", chars.into_iter().collect::<String>()))
}

fn any_json() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[tokio::test]
async fn whatever_is_published_arrives_as_it_was_in_one_line_of_data() {
    use proptest::strategy::{Strategy, ValueTree};
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..150 {
        let (message, title, details, data) = (text(), text(), text(), any_json())
            .new_tree(&mut runner)
            .unwrap()
            .current();
        hub.publish(
            json!({"targetUserId": "ann", "message": message, "title": title,
            "details": details, "data": data}),
        )
        .await;
        // The client here refuses two data lines, a CR, an unknown field, and what is not JSON.
        let event = stream.notification().await;
        let public = &event.data["data"];
        assert_eq!(public["message"], message);
        assert_eq!(public["title"], title);
        assert_eq!(public["details"], details);
        assert_eq!(public["data"], data);
    }
    hub.stop().await;
}
