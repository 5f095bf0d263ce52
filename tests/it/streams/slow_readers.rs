//! A reader that stops reading costs nobody else anything, and misses nothing.

use serde_json::json;

use crate::support::{EventStream, Open, RECENT_BYTES, TestHub};

/// A hub, and a stream between whose ends the kernel holds little.
async fn with_a_slow_reader(recent_bytes: usize) -> (TestHub, EventStream) {
    let hub = TestHub::with(|config| {
        config.stream.send_buffer = 16 * 1024;
        config.stream.recent_bytes = recent_bytes;
    })
    .await;
    let small = Open {
        receive_buffer: Some(4 * 1024),
        ..Open::default()
    };
    let slow = hub.open_stream(&hub.token("slow", &[], &[]), small).await;
    (hub, slow)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_is_passed_by_and_reads_on_later_missing_nothing() {
    for recent_bytes in RECENT_BYTES {
        is_passed_by_and_reads_on(recent_bytes).await;
    }
}

async fn is_passed_by_and_reads_on(recent_bytes: usize) {
    const TOTAL: usize = 600;
    let (hub, mut slow) = with_a_slow_reader(recent_bytes).await;
    let mut others = Vec::new();
    for reader in 0..100 {
        others.push(hub.stream(&format!("reader-{reader}"), &[]).await);
    }
    // Far more than both sockets' buffers hold.
    let text = "x".repeat(1_000);
    for chunk in 0..TOTAL / 100 {
        let drafts: Vec<_> = (0..100)
            .map(|number| json!({"everyone": true, "message": format!("{} {text}", chunk * 100 + number)}))
            .collect();
        let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let numbers = |messages: Vec<String>| -> Vec<usize> {
        messages
            .iter()
            .map(|message| message.split_once(' ').unwrap().0.parse().unwrap())
            .collect()
    };
    let expected: Vec<usize> = (0..TOTAL).collect();
    let readers: Vec<_> = others
        .into_iter()
        .map(|mut stream| tokio::spawn(async move { stream.messages(TOTAL).await }))
        .collect();
    for reader in readers {
        assert_eq!(numbers(reader.await.unwrap()), expected);
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    assert_eq!(numbers(slow.messages(TOTAL).await), expected);
    // And it is live again.
    hub.broadcast(json!({"message": "live"})).await;
    slow.expect_next_message("live").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_a_stuck_reader_did_not_take_is_owed_until_it_reads_on() {
    for recent_bytes in RECENT_BYTES {
        is_owed_until_it_reads_on(recent_bytes).await;
    }
}

async fn is_owed_until_it_reads_on(recent_bytes: usize) {
    let (hub, mut slow) = with_a_slow_reader(recent_bytes).await;
    let text = "x".repeat(4_000);
    for number in 0..100 {
        hub.publish(json!({"targetUserId": "slow", "message": format!("{number} {text}")}))
            .await;
    }
    hub.until("failures", |s| {
        s["queue"]["failed"].as_u64() > Some(20) && s["queue"]["pending"] == 0
    })
    .await;
    for number in 0..100 {
        let event = slow.notification().await;
        assert!(
            event.message().starts_with(&format!("{number} ")),
            "{number}"
        );
    }
    hub.until("every delivery", |s| s["queue"]["failed"] == 0)
        .await;
    hub.stop().await;
}
