//! Whoever comes back with a cursor gets everything after it, in order, and nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile::clock::Timestamp;
use serde_json::json;

use crate::support::{self, RECENT_BYTES, TestHub, to_role, to_user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_disconnects_lose_nothing_and_double_nothing() {
    const TOTAL: usize = 2_200;
    // However far ahead the publisher runs, this is not about gaps.
    let hub = Arc::new(TestHub::with(|config| config.stream.replay_limit = TOTAL).await);
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let publisher = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            for number in 0..TOTAL {
                let draft = match number % 3 {
                    0 => to_user("ann", number),
                    1 => to_role("CREW", number),
                    _ => json!({"everyone": true, "message": format!("n{number}")}),
                };
                hub.publish(draft).await;
            }
        })
    };
    // Lengths between 1 and 15 that look random and are the same each time.
    let mut random = 7u64;
    let mut length = move || {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) as usize % 15 + 1
    };
    let mut seen = Vec::new();
    let mut disconnects = 0;
    while seen.len() < TOTAL {
        let take = if disconnects < 200 {
            length().min(TOTAL - seen.len())
        } else {
            TOTAL - seen.len()
        };
        seen.extend(stream.messages(take).await);
        let cursor = stream.last_id.clone().unwrap();
        drop(stream);
        disconnects += 1;
        stream = hub.resume("ann", &["CREW"], &cursor).await;
    }
    assert!(disconnects >= 200, "only {disconnects} disconnects");
    let expected: Vec<String> = (0..TOTAL).map(|number| format!("n{number}")).collect();
    assert_eq!(seen, expected);
    publisher.await.unwrap();
    drop(stream);
    Arc::try_unwrap(hub).ok().unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_and_live_meet_without_a_seam() {
    for recent_bytes in RECENT_BYTES {
        meet_without_a_seam(recent_bytes).await;
    }
}

async fn meet_without_a_seam(recent_bytes: usize) {
    let hub = TestHub::with(|config| config.stream.recent_bytes = recent_bytes).await;
    let hub = Arc::new(hub);
    let first = hub.stream("ann", &[]).await;
    let start = first.connected.id.clone().unwrap();
    drop(first);
    let done = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (hub, done) = (Arc::clone(&hub), Arc::clone(&done));
        tokio::spawn(async move {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) && number < 900 {
                hub.publish(to_user("ann", number)).await;
                number += 1;
            }
            number
        })
    };
    // Streams that begin at the same place at different moments of a running publisher all see the same prefix.
    for round in 0..40 {
        let mut stream = hub.resume("ann", &[], &start).await;
        let expected: Vec<String> = (0..round * 5 + 5)
            .map(|number| format!("n{number}"))
            .collect();
        assert_eq!(stream.messages(expected.len()).await, expected);
    }
    done.store(true, Ordering::Relaxed);
    publisher.await.unwrap();
    Arc::try_unwrap(hub).ok().unwrap().stop().await;
}

#[tokio::test]
async fn a_user_without_a_cursor_goes_on_from_their_mark() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    hub.publish(to_role("CREW", 1)).await;
    stream.expect_next_message("n1").await;
    drop(stream);
    hub.until("no streams", |s| s["streams"]["total"] == 0)
        .await;
    hub.publish(to_role("CREW", 2)).await;
    hub.publish(to_user("ann", 3)).await;
    hub.publish(json!({"everyone": true, "message": "n4"}))
        .await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    assert_eq!(stream.messages(3).await, ["n2", "n3", "n4"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_first_visit_begins_at_the_head_with_what_is_owed_by_name() {
    let hub = TestHub::start().await;
    hub.publish(to_role("CREW", 1)).await;
    hub.publish(to_user("ann", 2)).await;
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let owed = stream.notification().await;
    assert_eq!((owed.message(), &owed.id), ("n2", &None));
    hub.publish(to_role("CREW", 3)).await;
    let live = stream.notification().await;
    assert_eq!(live.message(), "n3");
    assert!(live.id.is_some());
    hub.stop().await;
}

#[tokio::test]
async fn the_place_of_connected_alone_is_enough_to_resume_from() {
    let hub = TestHub::start().await;
    let stream = hub.stream("ann", &["CREW"]).await;
    let place = stream.connected.id.clone().unwrap();
    drop(stream);
    for number in 0..20 {
        hub.publish(to_role("CREW", number)).await;
    }
    let mut stream = hub.resume("ann", &["CREW"], &place).await;
    assert_eq!(stream.connected.data["data"]["recovered"], true);
    let expected: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    assert_eq!(stream.messages(20).await, expected);
    hub.stop().await;
}

#[tokio::test]
async fn a_resume_from_every_id_ever_sent_loses_nothing() {
    for recent_bytes in RECENT_BYTES {
        resume_from_every_id(recent_bytes).await;
    }
}

async fn resume_from_every_id(recent_bytes: usize) {
    let hub = TestHub::with(|config| config.stream.recent_bytes = recent_bytes).await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let mut ids = vec![(stream.connected.id.clone().unwrap(), 0)];
    for number in 0..60 {
        // Entries for others in between move positions that this user never sees.
        hub.publish(to_user("somebody-else", number)).await;
        hub.publish(to_role("CREW", number)).await;
        let event = stream.notification().await;
        assert_eq!(event.message(), format!("n{number}"));
        ids.push((event.id.unwrap(), number + 1));
    }
    for (id, next) in ids {
        let mut resumed = hub.resume("ann", &["CREW"], &id).await;
        let expected: Vec<String> = (next..60).map(|number| format!("n{number}")).collect();
        assert_eq!(
            resumed.messages(expected.len()).await,
            expected,
            "from {id}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_restart_is_a_resume_like_any_other() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    hub.publish(to_role("CREW", 1)).await;
    stream.expect_next_message("n1").await;
    let cursor = stream.last_id.clone().unwrap();
    let stopped = hub.stop().await;
    let hub = stopped.restart().await;
    hub.publish(to_role("CREW", 2)).await;
    let mut stream = hub.resume("ann", &["CREW"], &cursor).await;
    stream.expect_next_message("n2").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_was_pruned_or_has_expired_is_not_sent_from_memory_either() {
    for recent_bytes in RECENT_BYTES {
        let hub = TestHub::with(|config| config.stream.recent_bytes = recent_bytes).await;
        let stream = hub.stream("ann", &["CREW"]).await;
        let place = stream.connected.id.clone().unwrap();
        drop(stream);
        let soon = Timestamp::now().saturating_add(Duration::from_secs(1));
        hub.broadcast(json!({"message": "pruned"})).await;
        hub.publish(json!({"everyone": true, "message": "expired", "expiresAt": soon.to_string()}))
            .await;
        hub.publish(to_role("CREW", 3)).await;
        let kept = json!({"broadcasts": "1s"});
        hub.until("all of it taken through", |s| s["queue"]["depth"] == 0)
            .await;
        let gone =
            async { while hub.administer("/prune", &kept).await.1["pruned"]["broadcasts"] != 1 {} };
        support::soon("the broadcast is a second old", gone).await;
        assert!(Timestamp::now() > soon, "and the other one has expired");
        let mut stream = hub.resume("ann", &["CREW"], &place).await;
        stream.expect_next_message("n3").await;
        hub.stop().await;
    }
}
