//! A network that does its worst between clients and hub: who resumes loses nothing and has nothing twice, in order, and a
//! publisher who asks again under a key makes nothing twice. The hub stops and starts meanwhile, too.

use std::time::Duration;

use reqwest::ClientBuilder;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Chaos, Fate, Open, Road, TestHub, soon};

/// What each of the two publishers publishes.
const EACH: usize = 60;
/// How long a client waits for a word before it comes back: a stalled connection says nothing of itself. Whoever is only
/// slow is left too early, which must do no harm either.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long all of it may take.
const ALL_PATIENCE: Duration = Duration::from_secs(120);

/// A client that reads until it has seen a message, comes back after every end with the last id that it was told, and keeps
/// every message that it was sent whole.
async fn reads_until(
    road: Road,
    token: String,
    mut cursor: String,
    last: &'static str,
) -> Vec<String> {
    let mut messages = Vec::new();
    loop {
        let open = Open {
            last_event_id: Some(cursor.clone()),
            ..Open::default()
        };
        let opening = timeout(PATIENCE, road.request(&token, open));
        let Ok(Ok(mut stream)) = opening.await else {
            continue;
        };
        while let Ok(Some(event)) = timeout(PATIENCE, stream.try_next()).await {
            assert_ne!(event.kind(), "gap", "{event:?}");
            if let Some(id) = &event.id {
                cursor.clone_from(id);
            }
            if event.kind() == "notification" {
                assert!(event.id.is_some(), "it cannot be resumed behind {event:?}");
                messages.push(event.message().to_owned());
                if event.message() == last {
                    return messages;
                }
            }
        }
    }
}

/// A publisher that asks again until it is answered: its messages are made in their order.
async fn publishes(client: ClientBuilder, url: String, token: String, name: &'static str) {
    // Each try on a connection of its own.
    let client = client
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .expect("a client");
    for number in 0..EACH {
        let draft = json!({
            "targetUserId": "ann", "targetRoles": ["CREW"], "message": format!("{name} {number}"),
            "idempotencyKey": format!("{name}-{number}"),
        });
        loop {
            let request = client.post(&url).bearer_auth(&token).json(&draft);
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(200 | 201) => break,
                Ok(status) => assert_eq!(status, 503, "the hub stops and starts"),
                Err(_) => {}
            }
        }
    }
}

async fn survives(seed: u64) {
    let mut hub = TestHub::with(|config| {
        // What the network forgets to end is open for the hub.
        config.stream.per_user = 1_000;
        config.serve.drain = Duration::from_secs(1);
        config.delivery.start_grace = Duration::from_secs(60);
    })
    .await;
    let chaos = Chaos::start(hub.addr(), seed).await;
    let mut readers = Vec::new();
    for (user, roles) in [
        ("ann", &[][..]),
        ("bob", &["CREW"][..]),
        ("ann", &["CREW"][..]),
    ] {
        // Whoever was never told a place has none to come back to: the first time is a quiet one.
        let first = hub.stream(user, roles).await;
        let cursor = first.connected.id.clone().expect("a place");
        let token = hub.token(user, roles, &[]);
        readers.push(tokio::spawn(reads_until(
            hub.road().through(chaos.addr),
            token,
            cursor,
            "the last",
        )));
    }
    let publishers = ["one", "two"].map(|name| {
        let token = hub.token(name, &[], &["publish"]);
        let url = hub.url_through(chaos.addr, "/notifications");
        tokio::spawn(publishes(hub.client_builder(), url, token, name))
    });
    let half = async {
        let published = |status: &Value| status["counts"]["published"].as_u64();
        while published(&hub.status().await) < Some(EACH as u64) {
            tokio::task::yield_now().await;
        }
    };
    timeout(ALL_PATIENCE, half).await.expect("half of it");
    hub = hub.stop().await.restart().await;
    chaos.lead_to(hub.addr());
    for publisher in publishers {
        timeout(ALL_PATIENCE, publisher)
            .await
            .expect("a publisher's end")
            .expect("no panic");
    }
    hub.publish(json!({"targetUserId": "ann", "targetRoles": ["CREW"], "message": "the last"}))
        .await;

    let mut seen = Vec::new();
    for reader in readers {
        let read = timeout(ALL_PATIENCE, reader).await.expect("a reader's end");
        seen.push(read.expect("no panic"));
    }
    for messages in &seen {
        assert_eq!(messages, &seen[0], "seed {seed}: one order for all");
        assert_eq!(messages.len(), 2 * EACH + 1, "seed {seed}: {messages:?}");
        for name in ["one", "two"] {
            let of_one: Vec<&String> = messages.iter().filter(|m| m.starts_with(name)).collect();
            let expected: Vec<String> =
                (0..EACH).map(|number| format!("{name} {number}")).collect();
            assert!(
                of_one.into_iter().eq(expected.iter()),
                "seed {seed}: {messages:?}"
            );
        }
    }
    let stored = &hub.status().await["stored"]["notifications"];
    assert_eq!(stored, 2 * EACH + 1, "seed {seed}: made once each");
    let suffered = chaos.suffered();
    let unharmed = |fate: &Fate| matches!(fate, Fate::Passed | Fate::Delayed(_));
    let harmed = suffered.iter().filter(|fate| !unharmed(fate)).count();
    assert!(
        harmed > 30,
        "seed {seed}: the network did too little: {suffered:?}"
    );
    soon("the end", hub.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_does_its_worst_loses_nothing_and_doubles_nothing() {
    survives(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_another() {
    survives(20_261_126).await;
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_let_go_of_and_what_it_did_not_take_is_owed() {
    let hub = TestHub::with(|config| {
        config.stream.idle_limit = Duration::from_secs(1);
        config.stream.sweep = Duration::from_secs(1);
        config.stream.send_buffer = 4_096;
    })
    .await;
    // A connection that the network forgets after its first words: the hub's end is open, and nobody reads it.
    let chaos = Chaos::certain(hub.addr(), Fate::HalfOpen(4_000)).await;
    let road = hub.road().through(chaos.addr);
    let token = hub.token("42", &[], &[]);
    let forgotten = road.request(&token, Open::default());
    let forgotten = soon("a stream", forgotten).await.expect("a stream");
    let text = "x".repeat(4_000);
    for number in 0..300 {
        hub.publish(json!({"targetUserId": "42", "message": format!("{number} {text}")}))
            .await;
    }
    hub.until("no streams", |status| status["streams"]["total"] == 0)
        .await;
    // Nothing of it is lost for whoever comes then.
    let mut back = hub.stream("42", &[]).await;
    let mut last = back.notification().await;
    while !last.message().starts_with("299 ") {
        last = back.notification().await;
    }
    drop((forgotten, chaos));
    hub.stop().await;
}
