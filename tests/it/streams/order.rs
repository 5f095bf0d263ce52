//! Each stream sees what is for it in commit order, nothing lost, nothing doubled.

use std::sync::Arc;

use serde_json::json;

use crate::support::{TestHub, to_user};

const PUBLISHERS: usize = 8;
const EACH: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_publishers_at_once_are_seen_in_one_order_by_all() {
    let hub = Arc::new(TestHub::start().await);
    let mut streams = Vec::new();
    for reader in 0..4 {
        streams.push(hub.stream(&format!("reader-{reader}"), &["CREW"]).await);
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..EACH {
                    let answer = hub
                        .publish(json!({"targetRoles": ["CREW"], "message": format!("{publisher}:{number}")}))
                        .await;
                    acknowledged.push(answer["eventId"].as_str().unwrap().to_owned());
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    let position = |id: &String| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    acknowledged.sort_by_key(position);

    let mut first_seen = None;
    for stream in &mut streams {
        let mut ids = Vec::new();
        let mut next_of = [0; PUBLISHERS];
        for _ in 0..PUBLISHERS * EACH {
            let event = stream.notification().await;
            let (publisher, number) = event.message().split_once(':').unwrap();
            let publisher: usize = publisher.parse().unwrap();
            assert_eq!(
                number,
                next_of[publisher].to_string(),
                "of publisher {publisher}"
            );
            next_of[publisher] += 1;
            ids.push(event.id.unwrap());
        }
        assert_eq!(ids, acknowledged);
        assert_eq!(*first_seen.get_or_insert_with(|| ids.clone()), ids);
    }
    drop(streams);
    Arc::try_unwrap(hub).ok().unwrap().stop().await;
}

#[tokio::test]
async fn a_batch_is_delivered_in_its_own_order() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let drafts: Vec<_> = (0..300).map(|number| to_user("ann", number)).collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["results"].as_array().unwrap().len(), 300);
    let expected: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    assert_eq!(stream.messages(300).await, expected);
    hub.stop().await;
}

#[tokio::test]
async fn a_publisher_that_hangs_up_after_sending_is_published_all_the_same() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let token = hub.token("p", &[], &["publish"]);
    for number in 0..50 {
        let body = to_user("ann", number).to_string();
        let request = format!(
            "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = hub.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes())
            .await
            .unwrap();
        // Some are cut before they are read; what was stored must have been delivered, whole and once.
        drop(socket);
    }
    hub.publish(json!({"targetUserId": "ann", "message": "last"}))
        .await;
    let mut seen = Vec::new();
    loop {
        let message = stream.notification().await.message().to_owned();
        if message == "last" {
            break;
        }
        seen.push(message);
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "something came twice: {seen:?}");
    let stored = hub
        .until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    assert!(stored["stored"]["notifications"].as_u64().unwrap() > seen.len() as u64);
    hub.stop().await;
}
