//! A quiet stream shows that it is alive, and its cursor advances with what was for others.

use std::time::Duration;

use serde_json::json;

use crate::support::{Open, TestHub, to_user};

#[tokio::test]
async fn a_heartbeat_carries_the_place_up_to_which_nothing_was_missed() {
    let hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let mut ann = hub.stream("ann", &[]).await;
    for number in 0..10 {
        hub.publish(to_user("bob", number)).await;
    }
    let started = ann.connected.position().unwrap();
    let heartbeat = loop {
        let event = ann.next_but_status().await;
        assert_eq!(event.kind(), "heartbeat");
        if event.position() > Some(started) {
            break event;
        }
    };
    assert_eq!(heartbeat.name.as_deref(), Some("heartbeat"));
    assert_eq!(heartbeat.position(), Some(started + 10));
    // Resuming from it reads on from there.
    hub.publish(to_user("ann", 1)).await;
    let mut resumed = hub.resume("ann", &[], &heartbeat.id.unwrap()).await;
    resumed.expect_next_message("n1").await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeats_id_never_overtakes_an_event() {
    let hub = TestHub::with(|config| {
        config.stream.heartbeat = Duration::from_secs(1);
        config.stream.send_buffer = 16 * 1024;
    })
    .await;
    let token = hub.token("ann", &[], &[]);
    let small = Open {
        receive_buffer: Some(4 * 1024),
        ..Open::default()
    };
    let mut ann = hub.open_stream(&token, small).await;
    let text = "x".repeat(2_000);
    let mut highest = 0;
    let mut next = 0;
    let mut heartbeats = 0;
    // Heartbeats come while it is live, while it is behind, and while it catches up.
    for round in 0..6 {
        let drafts: Vec<_> = (0..50)
            .map(|number| json!({"targetUserIds": ["ann", "bob"], "message": format!("{} {text}", round * 50 + number)}))
            .collect();
        let (status, _) = hub.post("/notifications/batch", &json!(drafts)).await;
        assert_eq!(status, 200);
        // Every other round is read to its end and then until a heartbeat has come.
        let mut beaten = round % 2 == 0;
        while next < (round + 1) * 50 || !beaten {
            let event = ann.next_but_status().await;
            match (event.kind(), event.position()) {
                ("notification", Some(position)) => {
                    assert!(position > highest, "position {position} after {highest}");
                    assert!(event.message().starts_with(&format!("{next} ")));
                    highest = position;
                    next += 1;
                }
                ("heartbeat", position) => {
                    heartbeats += 1;
                    beaten |= next == (round + 1) * 50;
                    if let Some(position) = position {
                        assert!(position >= highest);
                        highest = position;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(heartbeats >= 3, "{heartbeats} heartbeats came");
    hub.stop().await;
}

#[tokio::test]
async fn heartbeats_of_many_streams_are_spread_out() {
    let hub = TestHub::with(|config| config.stream.heartbeat = Duration::from_secs(1)).await;
    let mut streams = Vec::new();
    for user in 0..10 {
        streams.push(hub.stream(&format!("user-{user}"), &[]).await);
    }
    let mut moments = Vec::new();
    for stream in &mut streams {
        let beat = stream.next_but_status().await;
        assert_eq!(beat.kind(), "heartbeat");
        // The wheel has ten spokes at this pace: the beat's own time tells which.
        moments.push(beat.data["timestamp"].as_u64().unwrap() / 100 % 10);
    }
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() >= 5, "all at {moments:?}");
    hub.stop().await;
}
