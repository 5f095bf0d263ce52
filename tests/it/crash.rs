//! kill -9 in the middle of load: what was acknowledged arrives, in order, each id with one content.

mod retries;

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{BinaryHub, EventStream, Open, token};

const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_notification_arrives_after_kill_minus_nine() {
    let data = tempfile::tempdir().unwrap();
    let publisher = token(&data, "backend", &["--scope", "publish"]).await;
    let reader = token(&data, "ann", &[]).await;
    let client = reqwest::Client::new();

    // Event id → message, of everything that was answered with 201.
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    let mut received: BTreeMap<u64, String> = BTreeMap::new();
    let mut cursor: Option<String> = None;
    for round in 0..=ROUNDS {
        let hub = BinaryHub::serve(data.path(), &["--start-grace", "0s"]).await;
        let open = Open {
            last_event_id: cursor.clone(),
            ..Open::default()
        };
        let mut stream = EventStream::open(hub.addr(), &reader, open).await;
        cursor = cursor.or_else(|| stream.last_id.clone());
        if round == ROUNDS {
            // The last round only reads: up to the marker everything that was ever acknowledged must have come.
            let url = hub.url("/notifications");
            post(&client, &url, &publisher, "marker").await.unwrap();
            loop {
                let event = stream.notification().await;
                let (position, message) = (event.position(), event.message().to_owned());
                if message == "marker" {
                    break;
                }
                keep(&mut received, position, message);
            }
            assert_eq!(hub.terminate().await, Some(0));
            break;
        }
        let publishers: Vec<_> = (0..4)
            .map(|publisher_number| {
                let (client, url, publisher) =
                    (client.clone(), hub.url("/notifications"), publisher.clone());
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    for number in 0.. {
                        let message = format!("{round}:{publisher_number}:{number}");
                        match post(&client, &url, &publisher, &message).await {
                            Some(id) => told.push((id, message)),
                            // It is dead.
                            None => return told,
                        }
                    }
                    told
                })
            })
            .collect();
        // Killed at a moment that load decides, while publishers are in mid-request.
        for _ in 0..60 + round * 35 {
            let event = stream.notification().await;
            cursor = stream.last_id.clone();
            keep(&mut received, event.position(), event.message().to_owned());
        }
        hub.kill().await;
        for publisher in publishers {
            for (id, message) in publisher.await.unwrap() {
                assert_eq!(
                    acknowledged.insert(id, message),
                    None,
                    "position {id} was given twice"
                );
            }
        }
    }
    for (position, message) in &acknowledged {
        assert_eq!(
            received.get(position),
            Some(message),
            "position {position} was acknowledged"
        );
    }
    assert!(acknowledged.len() > ROUNDS * 60);
}

/// Positions rise and never come twice: the cursor keeps what was received from being sent again.
fn keep(received: &mut BTreeMap<u64, String>, position: Option<u64>, message: String) {
    let position = position.expect("an id");
    let last = received.last_key_value().map(|(last, _)| *last);
    assert!(last < Some(position), "{position} after {last:?}");
    received.insert(position, message);
}

async fn post(client: &reqwest::Client, url: &str, token: &str, message: &str) -> Option<u64> {
    let response = client
        .post(url)
        .bearer_auth(token)
        .json(&json!({"targetUserId": "ann", "message": message}))
        .send()
        .await
        .ok()?;
    if response.status() != 201 {
        return None;
    }
    let answer: serde_json::Value = response.json().await.ok()?;
    answer["eventId"].as_str()?.split_once('-')?.1.parse().ok()
}

#[tokio::test]
async fn sigterm_is_a_clean_stop_and_a_second_hub_is_refused_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let reader = token(&data, "ann", &[]).await;
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let mut stream = EventStream::open(hub.addr(), &reader, Open::default()).await;
    let second = crate::support::binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .output()
        .await
        .unwrap();
    assert_eq!(second.status.code(), Some(3), "{second:?}");
    assert_eq!(
        String::from_utf8_lossy(&second.stderr)
            .trim()
            .lines()
            .count(),
        1,
        "{second:?}"
    );
    let (code, bye) = tokio::join!(hub.terminate(), stream.last_word());
    assert_eq!(code, Some(0));
    assert_eq!(bye.data["data"]["reason"], "draining");
}
