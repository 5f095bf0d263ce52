//! What is unread is counted, and what is read is marked: for one user, told to all of their streams.

use campanile::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::{Event, EventStream, Open, TestHub, to_role, to_user};

/// POSTs as a reader; a body only if there is one.
async fn post(hub: &TestHub, token: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = hub.client().post(hub.url(path)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn read(hub: &TestHub, user: &str, notification: &Value) -> u16 {
    let id = notification["notificationId"].as_str().expect("an id");
    let path = format!("/notifications/{id}/read");
    post(hub, &hub.token(user, &[], &[]), &path, None).await.0
}

async fn read_all(hub: &TestHub, user: &str, body: Option<Value>) -> (u16, Value) {
    let token = hub.token(user, &[], &[]);
    post(hub, &token, "/notifications/read-all", body).await
}

/// The count as the reader's status has it.
async fn unread(hub: &TestHub, user: &str, roles: &[&str]) -> Value {
    let response = hub
        .client()
        .get(hub.url("/notifications/status"))
        .bearer_auth(hub.token(user, roles, &[]))
        .send()
        .await
        .expect("an answer");
    let status: Value = response.json().await.expect("JSON");
    status["unread"].clone()
}

/// The next event but for heartbeats, which come when it is their turn.
async fn next(stream: &mut EventStream) -> Event {
    loop {
        let event = stream.next().await;
        if event.kind() != "heartbeat" {
            return event;
        }
    }
}

/// The count in the next event, which must be a `status`.
async fn told(stream: &mut EventStream) -> Value {
    let event = next(stream).await;
    assert_eq!(event.kind(), "status", "{event:?}");
    event.data["data"]["unread"].clone()
}

/// The counts that come, until they have come to this one: each thing that is new or read may be counted by itself, or
/// together with what follows.
async fn told_in_the_end(stream: &mut EventStream, count: u64) {
    while told(stream).await != count {}
}

#[tokio::test]
async fn a_stream_is_told_what_is_unread_right_after_connected_and_after_a_gap() {
    let hub = TestHub::start().await;
    for number in 0..3 {
        hub.publish(to_user("ann", number)).await;
    }
    let mut stream = hub.stream("ann", &[]).await;
    let status = next(&mut stream).await;
    assert_eq!(
        (status.id, status.name.as_deref(), status.retry),
        (None, Some("status"), None)
    );
    let timestamp = status.data["timestamp"].as_u64().expect("milliseconds");
    assert_eq!(
        status.data,
        json!({"type": "status", "timestamp": timestamp, "data": {"unread": 3}})
    );
    let mut after_a_gap = hub.resume("ann", &[], "garbage").await;
    assert_eq!(next(&mut after_a_gap).await.kind(), "gap");
    assert_eq!(told(&mut after_a_gap).await, 3);
    drop((stream, after_a_gap));
    hub.stop().await;
}

#[tokio::test]
async fn an_inbox_holds_what_is_for_its_user_and_since_the_first_visit_for_their_roles_and_everyone()
 {
    let hub = TestHub::start().await;
    let to_everyone = || json!({"everyone": true, "message": "all"});
    hub.publish(to_user("ann", 1)).await;
    hub.publish(to_role("CREW", 2)).await;
    hub.publish(to_everyone()).await;
    hub.publish(to_user("bob", 3)).await;
    // Asking is no visit.
    assert_eq!(unread(&hub, "ann", &["CREW"]).await, 1);
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;

    let mut stream = hub.stream("ann", &["CREW"]).await;
    assert_eq!(told(&mut stream).await, 1);
    hub.publish(to_role("CREW", 4)).await;
    hub.publish(to_everyone()).await;
    hub.broadcast(to_user("ann", 5)).await;
    hub.broadcast(to_role("CREW", 6)).await;
    assert_eq!(unread(&hub, "ann", &["CREW"]).await, 3);
    // A token without the role does not see the role's.
    assert_eq!(unread(&hub, "ann", &[]).await, 2);
    assert_eq!(unread(&hub, "bob", &["CREW"]).await, 1);

    drop(stream);
    let hub = hub.stop().await.restart().await;
    assert_eq!(unread(&hub, "ann", &["CREW"]).await, 3);
    hub.stop().await;
}

#[tokio::test]
async fn a_read_mark_is_told_to_every_stream_of_its_user_and_to_nobody_else() {
    let hub = TestHub::start().await;
    let mut streams = [hub.stream("ann", &[]).await, hub.stream("ann", &[]).await];
    let mut bob = hub.stream("bob", &[]).await;
    for stream in streams.iter_mut().chain([&mut bob]) {
        assert_eq!(told(stream).await, 0);
    }
    let to_both = json!({"targetUserIds": ["ann", "bob"], "message": "both"});
    let both = hub.publish(to_both).await;
    hub.publish(to_user("ann", 1)).await;
    for stream in &mut streams {
        assert_eq!(stream.messages(2).await, ["both", "n1"]);
    }
    assert_eq!(read(&hub, "ann", &both).await, 204);
    for stream in &mut streams {
        told_in_the_end(stream, 1).await;
    }
    assert_eq!(read(&hub, "ann", &both).await, 204);
    assert_eq!(read_all(&hub, "ann", None).await.0, 204);
    for stream in &mut streams {
        told_in_the_end(stream, 0).await;
    }
    hub.publish(to_user("bob", 2)).await;
    assert_eq!(bob.messages(2).await, ["both", "n2"]);
    told_in_the_end(&mut bob, 2).await;
    assert_eq!(unread(&hub, "bob", &[]).await, 2);
    drop((streams, bob));
    hub.stop().await;
}

#[tokio::test]
async fn each_stream_counts_what_its_own_roles_may_see() {
    let hub = TestHub::start().await;
    let mut plain = hub.stream("ann", &[]).await;
    let mut crew = hub.stream("ann", &["CREW"]).await;
    assert_eq!(
        (told(&mut plain).await, told(&mut crew).await),
        (json!(0), json!(0))
    );
    let own = hub.publish(to_user("ann", 1)).await;
    hub.publish(to_role("CREW", 2)).await;
    assert_eq!(crew.messages(2).await, ["n1", "n2"]);
    assert_eq!(plain.messages(1).await, ["n1"]);
    assert_eq!(read(&hub, "ann", &own).await, 204);
    told_in_the_end(&mut plain, 0).await;
    told_in_the_end(&mut crew, 1).await;
    drop((plain, crew));
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_in_the_callers_inbox_is_not_found() {
    let hub = TestHub::start().await;
    let before = hub.publish(to_role("CREW", 0)).await;
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let visit = hub.stream("ann", &["CREW"]).await;
    let strangers = hub.publish(to_user("bob", 1)).await;
    let roles = hub.publish(to_role("CREW", 2)).await;
    let broadcast = hub.broadcast(to_user("ann", 3)).await;
    let id = |answer: &Value| answer["notificationId"].as_str().expect("an id").to_owned();
    let ann = hub.token("ann", &[], &[]);
    let crew = hub.token("ann", &["CREW"], &[]);
    for (token, id, expected) in [
        (&ann, id(&strangers), 404),
        (&ann, id(&roles), 404),
        (&ann, id(&broadcast), 404),
        (&ann, uuid::Uuid::now_v7().to_string(), 404),
        (&ann, "no-id".to_owned(), 404),
        (&ann, "%FF".to_owned(), 404),
        (&crew, id(&before), 404),
        (&crew, id(&roles), 204),
    ] {
        let path = format!("/notifications/{id}/read");
        let (status, problem) = post(&hub, token, &path, None).await;
        assert_eq!(status, expected, "{path}: {problem}");
        if expected == 404 {
            assert_eq!(problem["status"], 404, "{path}");
            assert_eq!(
                problem["detail"],
                "there is no such notification in this inbox"
            );
        }
    }
    let (key, _) = hub
        .hub()
        .create_key(
            "backend",
            [campanile::auth::Scope::Admin].into_iter().collect(),
        )
        .await
        .expect("a key");
    for path in [
        "/notifications/read-all".to_owned(),
        format!("/notifications/{}/read", id(&roles)),
    ] {
        assert_eq!(post(&hub, &key, &path, None).await.0, 403, "{path}");
    }
    drop(visit);
    hub.stop().await;
}

#[tokio::test]
async fn all_is_read_up_to_an_event_and_never_less_than_before() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    assert_eq!(told(&mut stream).await, 0);
    let mut published = Vec::new();
    for number in 0..5 {
        published.push(hub.publish(to_user("ann", number)).await);
    }
    stream.messages(5).await;
    let upto = |answer: &Value| Some(json!({"upTo": answer["eventId"]}));
    assert_eq!(read(&hub, "ann", &published[1]).await, 204);
    assert_eq!(read(&hub, "ann", &published[4]).await, 204);
    told_in_the_end(&mut stream, 3).await;
    assert_eq!(read_all(&hub, "ann", upto(&published[2])).await.0, 204);
    told_in_the_end(&mut stream, 1).await;
    for earlier in [&published[0], &published[2]] {
        assert_eq!(read_all(&hub, "ann", upto(earlier)).await.0, 204);
        assert_eq!(unread(&hub, "ann", &[]).await, 1);
    }
    // Below the watermark it is read already.
    assert_eq!(read(&hub, "ann", &published[0]).await, 204);
    assert_eq!(read_all(&hub, "ann", Some(json!({}))).await.0, 204);
    told_in_the_end(&mut stream, 0).await;
    hub.publish(to_user("ann", 6)).await;
    assert_eq!(unread(&hub, "ann", &[]).await, 1);
    drop(stream);
    let hub = hub.stop().await.restart().await;
    assert_eq!(unread(&hub, "ann", &[]).await, 1);
    hub.stop().await;
}

#[tokio::test]
async fn an_event_id_that_this_log_has_not_given_is_refused_by_name() {
    let hub = TestHub::start().await;
    let last = hub.publish(to_user("ann", 1)).await;
    let last = last["eventId"].as_str().expect("an id");
    let (epoch, position) = last.split_once('-').expect("an epoch");
    let next: u64 = position.parse::<u64>().expect("a position") + 1;
    for id in [
        "garbage",
        "",
        "zzzzzzzz-1",
        &format!("{epoch}-{next}"),
        &format!("{epoch}-9999999999999999999"),
    ] {
        let (status, problem) = read_all(&hub, "ann", Some(json!({"upTo": id}))).await;
        assert_eq!(status, 422, "{id:?}: {problem}");
        assert_eq!(problem["errors"][0]["field"], "upTo", "{problem}");
    }
    let (status, problem) = read_all(&hub, "ann", Some(json!({"up_to": last}))).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("up_to"))
    );
    assert_eq!(unread(&hub, "ann", &[]).await, 1);
    hub.stop().await;
}

#[tokio::test]
async fn a_notifications_id_swallows_no_other_route() {
    let hub = TestHub::start().await;
    hub.broadcast(to_user("ann", 1)).await;
    let token = hub.token("ann", &[], &[]);
    let (status, test) = post(&hub, &token, "/notifications/test", None).await;
    assert_eq!(status, 201, "{test}");
    for path in ["/notifications/read-all/read", "/notifications/test/read"] {
        let (status, problem) = post(&hub, &token, path, None).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_count_is_exact_to_a_thousand() {
    let hub = TestHub::start().await;
    let drafts: Vec<Value> = (0..1_000).map(|number| to_user("ann", number)).collect();
    let (status, _) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200);
    let one_more = hub.publish(to_user("ann", 1_000)).await;
    assert_eq!(unread(&hub, "ann", &[]).await, "1000+");
    assert_eq!(read(&hub, "ann", &one_more).await, 204);
    assert_eq!(unread(&hub, "ann", &[]).await, 1_000);
    hub.stop().await;
}

#[tokio::test]
async fn what_has_expired_is_not_counted() {
    let hub = TestHub::start().await;
    let end = Timestamp::now().saturating_add(std::time::Duration::from_millis(300));
    hub.publish(to_user("ann", 1)).await;
    hub.publish(json!({"targetUserId": "ann", "message": "brief", "expiresAt": end.to_string()}))
        .await;
    let counted = async {
        while unread(&hub, "ann", &[]).await != 1 {
            tokio::task::yield_now().await;
        }
    };
    crate::support::soon("its end", counted).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_reader_who_is_behind_is_told_one_count_the_last_when_live_again() {
    let hub = TestHub::with(|config| config.stream.send_buffer = 16 * 1024).await;
    let open = Open {
        receive_buffer: Some(4 * 1024),
        ..Open::default()
    };
    let mut slow = hub.open_stream(&hub.token("ann", &[], &[]), open).await;
    assert_eq!(told(&mut slow).await, 0);
    let text = "x".repeat(8_000);
    let drafts: Vec<Value> = (0..100)
        .map(|_| json!({"targetUserId": "ann", "message": "long", "details": text}))
        .collect();
    let (_, answers) = hub.post("/notifications/batch", &json!(drafts)).await;
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let answers = answers["results"].as_array().expect("an answer for each");
    for answer in &answers[..5] {
        assert_eq!(read(&hub, "ann", &answer["notification"]).await, 204);
    }
    for _ in 0..100 {
        assert_eq!(next(&mut slow).await.kind(), "notification");
    }
    assert_eq!(told(&mut slow).await, 95);
    hub.publish(to_user("ann", 100)).await;
    slow.expect_next_message("n100").await;
    drop(slow);
    hub.stop().await;
}

#[tokio::test]
async fn what_was_read_in_the_inbox_is_no_longer_owed() {
    let hub = TestHub::with(|config| {
        config.delivery.retry = vec![std::time::Duration::from_secs(60)];
    })
    .await;
    let one = hub.publish(to_user("ann", 1)).await;
    hub.publish(to_user("ann", 2)).await;
    hub.until("the debts", |s| s["queue"]["pending"] == 2).await;
    assert_eq!(read(&hub, "ann", &one).await, 204);
    assert_eq!(hub.status().await["queue"]["pending"], 1);
    assert_eq!(read_all(&hub, "ann", None).await.0, 204);
    assert_eq!(hub.status().await["queue"]["pending"], 0);
    // And is not delivered either.
    let mut stream = hub.stream("ann", &[]).await;
    hub.publish(to_user("ann", 3)).await;
    stream.expect_next_message("n3").await;
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn a_new_notification_is_followed_by_the_count_and_a_burst_by_few() {
    let hub = TestHub::start().await;
    let mut streams = [
        hub.stream("ann", &["CREW"]).await,
        hub.stream("ann", &[]).await,
    ];
    for stream in &mut streams {
        assert_eq!(told(stream).await, 0);
    }
    hub.publish(to_user("ann", 1)).await;
    for stream in &mut streams {
        assert_eq!(next(stream).await.message(), "n1");
        assert_eq!(told(stream).await, 1);
    }
    // Not in an inbox: no count follows it.
    hub.broadcast(to_user("ann", 2)).await;
    hub.publish(json!({"targetUserId": "ann", "message": "passing", "ephemeral": true}))
        .await;
    hub.publish(to_role("CREW", 3)).await;
    let [crew, plain] = &mut streams;
    for stream in [&mut *crew, plain] {
        assert_eq!(next(stream).await.message(), "n2");
        assert_eq!(next(stream).await.message(), "passing");
    }
    assert_eq!(next(crew).await.message(), "n3");
    assert_eq!(told(crew).await, 2);

    let burst: Vec<Value> = (0..500).map(|number| to_user("ann", number)).collect();
    let (status, _) = hub.post("/notifications/batch", &json!(burst)).await;
    assert_eq!(status, 200);
    for (stream, last) in [(&mut *crew, 502), (plain, 501)] {
        let (mut notifications, mut counts) = (0, Vec::new());
        while counts.last() != Some(&json!(last)) || notifications < 500 {
            match next(stream).await {
                event if event.kind() == "status" => {
                    counts.push(event.data["data"]["unread"].clone())
                }
                _ => notifications += 1,
            }
        }
        assert_eq!(notifications, 500);
        assert!(counts.len() <= 20, "{counts:?}");
    }
    drop(streams);
    hub.stop().await;
}

#[tokio::test]
async fn what_a_resuming_stream_reads_from_the_log_is_in_its_first_count_and_told_once() {
    let hub = TestHub::start().await;
    let stream = hub.stream("ann", &[]).await;
    let cursor = stream.connected.id.clone().expect("an id");
    drop(stream);
    for number in 0..3 {
        hub.publish(to_user("ann", number)).await;
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    let mut resumed = hub.resume("ann", &[], &cursor).await;
    assert_eq!(told(&mut resumed).await, 3);
    assert_eq!(resumed.messages(3).await, ["n0", "n1", "n2"]);
    hub.publish(to_user("ann", 3)).await;
    assert_eq!(
        next(&mut resumed).await.message(),
        "n3",
        "no count in between"
    );
    assert_eq!(told(&mut resumed).await, 4);
    drop(resumed);
    hub.stop().await;
}
