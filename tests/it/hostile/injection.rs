//! What somebody writes is never more than a text: no line of a stream, no event, no header comes of it.

use serde_json::{Value, json};

use super::{Besieged, said, statuses};
use crate::support::{EventStream, Open, TestHub, get_stream};

/// What would end a line, an event or a text for one reader or another, with something after it that would be heard.
const ENDS: [&str; 12] = [
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "\r\r",
    "\r\n\r\n",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{b}\u{c}",
    "\u{feff}",
];
const EVENT: &str = "id: zzzzzzzz-99\nevent: bye\ndata: {\"type\":\"evil\"}\n\n";

fn texts() -> impl Iterator<Item = String> {
    ENDS.into_iter().map(|end| format!("a{end}{EVENT}{end}"))
}

/// Publishes it, and checks that what comes of it is one event with the same texts, or nothing. The stream's own reader
/// fails on any line or field that should not be there.
async fn one_event_or_none(hub: &TestHub, stream: &mut EventStream, draft: Value) {
    let (status, answer) = hub.post("/notifications", &draft).await;
    if status == 201 {
        let event = stream.notification().await;
        assert_eq!(event.id.as_deref(), answer["eventId"].as_str(), "{draft}");
        assert_eq!(event.name.as_deref(), Some("notification"), "{draft}");
        for field in [
            "message",
            "title",
            "details",
            "module",
            "actionType",
            "link",
            "data",
        ] {
            if !draft[field].is_null() {
                assert_eq!(event.data["data"][field], draft[field], "{draft}");
            }
        }
    } else {
        assert_eq!(status, 422, "{draft}: {answer}");
    }
    hub.publish(json!({"targetUserId": "42", "message": "next"}))
        .await;
    stream.expect_next_message("next").await;
}

#[tokio::test]
async fn no_text_of_a_draft_becomes_a_line_of_a_stream() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("42", &[]).await;
    for text in texts() {
        for field in [
            "message",
            "title",
            "details",
            "module",
            "actionType",
            "link",
        ] {
            let mut draft = json!({"targetUserId": "42", "message": "m"});
            draft[field] = json!(text);
            one_event_or_none(&hub, &mut stream, draft).await;
        }
        let data = json!({text.clone(): [text, {"k": text}]});
        let draft = json!({"targetUserId": "42", "message": "m", "data": data});
        one_event_or_none(&hub, &mut stream, draft).await;
        // These are not told at all.
        for secret in [
            json!({"idempotencyKey": text}),
            json!({"throttle": {"key": text, "window": "1s"}}),
            json!({"reference": text}),
            json!({"reference": {"prefix": text}}),
            json!({"targetUserIds": ["42", text]}),
            json!({"targetRoles": [text]}),
            json!({"severity": text}),
        ] {
            let mut draft = json!({"targetUserId": "42", "message": "m"});
            draft
                .as_object_mut()
                .unwrap()
                .extend(secret.as_object().unwrap().clone());
            one_event_or_none(&hub, &mut stream, draft).await;
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn no_name_in_a_token_and_no_cursor_becomes_a_line_of_a_stream() {
    let hub = TestHub::start().await;
    for text in texts() {
        // A role that cannot be one is passed over; a user that cannot be one is nobody.
        let stream = hub.stream("42", &["CREW", &text]).await;
        let roles = stream.connected.data["data"]["roles"].clone();
        let plain = roles == json!(["CREW"]) || roles == json!(["CREW", text]);
        assert!(plain, "{roles}");
        drop(stream);
        let token = hub.token(&text, &[], &[]);
        let stream = EventStream::request(hub.addr(), &token, Open::default()).await;
        assert!(
            stream.head.starts_with("HTTP/1.1 401 ") || stream.head.starts_with("HTTP/1.1 200 "),
            "{}",
            stream.head
        );
    }
    let token = hub.token("42", &[], &[]);
    for end in ["%0A", "%0D", "%0D%0A", "%0A%0A", "%00", "%E2%80%A8", "%FF"] {
        let path = format!("?lastEventId=a{end}event:%20bye{end}{end}data:%20evil{end}{end}");
        let request = get_stream(&token, "1.0", "");
        let request = request.replace("/stream ", &format!("/stream{path} "));
        let mut wire = crate::support::Wire::to(hub.addr()).await;
        wire.send(&request).await;
        let told = wire.until("event: status").await;
        assert!(told.contains("\nevent: gap\n"), "{path}: {told}");
        assert!(
            !told.contains("evil") && !told.contains("event: bye"),
            "{path}: {told}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn nothing_in_a_request_becomes_a_header_of_its_answer() {
    let mut besieged = Besieged::with(|config| {
        config.serve.cors_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let token = besieged.hub.token("root", &[], &["admin"]);
    let evil = "%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0a";
    for path in [
        format!("/{evil}"),
        format!("/notifications/{evil}/deliveries"),
        format!("/keys/{evil}"),
        format!("/reminders/{evil}"),
        format!("/sign-in?code={evil}"),
        format!("/deliveries?user={evil}"),
        format!("/notifications/stream?events={evil}"),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = said(&besieged.hub, &request).await;
        assert_eq!(statuses(&answer).len(), 1, "{path}: {answer}");
        let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("evil"), "{path}: {head}");
    }
    besieged.serves().await;
    besieged.stop().await;
}
