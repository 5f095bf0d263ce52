//! The wire is plain enough for a client that others wrote: the crate `eventsource-client`, with its own parser, its
//! own HTTP and its own way of coming back. (Those of other languages are in `tests/clients`.)

use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, Event, SSE};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use launchdarkly_sdk_transport::HyperTransport;
use serde_json::{Value, json};

use crate::support::{TestHub, soon, to_user};

/// A stream as this client gives it, past the answer's head.
struct Follower {
    events: BoxStream<'static, Event>,
}

impl Follower {
    /// Opens a stream, at `cursor` if there is one, and waits for its `connected`.
    async fn open(hub: &TestHub, user: &str, cursor: Option<&str>) -> Self {
        let transport = HyperTransport::builder()
            .connect_timeout(Duration::from_secs(10))
            .disable_proxy()
            .build_http()
            .unwrap();
        let authorization = format!("Bearer {}", hub.token(user, &[], &[]));
        let mut builder = ClientBuilder::for_url(&hub.url("/notifications/stream"))
            .unwrap()
            .header("Authorization", &authorization)
            .unwrap();
        if let Some(cursor) = cursor {
            builder = builder.last_event_id(cursor.to_owned());
        }
        let events = builder
            .build_with_transport(transport)
            .stream()
            // An error would be followed by another try, which must not hide it.
            .map_err(|error| panic!("the client takes the stream amiss: {error}"))
            .filter_map(|item: Result<SSE, ()>| async {
                match item {
                    Ok(SSE::Event(event)) => Some(event),
                    _ => None,
                }
            });
        let mut follower = Self {
            events: events.boxed(),
        };
        let connected = follower.next("connected").await;
        assert!(
            connected.id.is_some(),
            "connected tells a place to resume from"
        );
        follower
    }

    /// The next event of a type; the heartbeats and counts in between are skipped.
    async fn next(&mut self, event_type: &str) -> Event {
        let look = async {
            loop {
                let event = self.events.next().await.expect("the stream goes on");
                if event.event_type == event_type {
                    return event;
                }
            }
        };
        soon(event_type, look).await
    }

    /// The next `count` notifications: the text of each, and the last one's id.
    async fn messages(&mut self, count: usize) -> (Vec<String>, String) {
        let mut messages = Vec::with_capacity(count);
        let mut last = None;
        for _ in 0..count {
            let event = self.next("notification").await;
            let body: Value = serde_json::from_str(&event.data).unwrap();
            messages.push(body["data"]["message"].as_str().unwrap().to_owned());
            last = event.id;
        }
        (messages, last.expect("a notification has an id"))
    }
}

/// The texts that `to_user` gives drafts of these numbers.
fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("n{number}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventsource_client_receives_a_thousand_in_order() {
    let hub = TestHub::start().await;
    let mut follower = Follower::open(&hub, "ann", None).await;

    let batch: Vec<_> = (0..800).map(|number| to_user("ann", number)).collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(batch)).await;
    assert_eq!(status, 200, "{answer}");
    for number in 800..1_000 {
        hub.publish(to_user("ann", number)).await;
    }

    let (messages, _) = follower.messages(1_000).await;
    assert_eq!(messages, texts(0..1_000));
    drop(follower);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventsource_client_resumes_where_it_left_off() {
    let hub = TestHub::start().await;
    let mut first = Follower::open(&hub, "ann", None).await;
    for number in 0..20 {
        hub.publish(to_user("ann", number)).await;
    }
    let (messages, last_id) = first.messages(10).await;
    assert_eq!(messages, texts(0..10));
    drop(first);

    let mut second = Follower::open(&hub, "ann", Some(&last_id)).await;
    hub.publish(to_user("ann", 20)).await;
    let (messages, _) = second.messages(11).await;
    assert_eq!(messages, texts(10..21));
    drop(second);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_ends_and_field_names_in_a_text_reach_eventsource_client_unharmed() {
    let hub = TestHub::start().await;
    let mut follower = Follower::open(&hub, "ann", None).await;
    let text = "data: a\r\n\r\nid: 7\revent: b\u{85}c\u{2028}d\u{2029}e \u{feff}\u{1f514} \"\\";

    hub.publish(json!({"targetUserId": "ann", "message": text}))
        .await;

    let (messages, _) = follower.messages(1).await;
    assert_eq!(messages, [text]);
    drop(follower);
    hub.stop().await;
}
