//! Why did she not get it? What became of each recipient, by notification, by recipient and by outcome.

use std::time::Duration;

use campanile::auth::Scopes;
use serde_json::{Value, json};

use crate::support::{TestHub, binary, to_role, to_user};

async fn get(hub: &TestHub, token: &str, path: &str) -> (u16, Value) {
    let response = hub
        .client()
        .get(hub.url(path))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn as_admin(hub: &TestHub, path: &str) -> (u16, Value) {
    get(hub, &hub.token("admin", &[], &["admin"]), path).await
}

/// What became of a notification, as an administrator sees it.
async fn story(hub: &TestHub, which: &str) -> Value {
    let (status, story) = as_admin(hub, &format!("/notifications/{which}/deliveries")).await;
    assert_eq!(status, 200, "{story}");
    story
}

fn id(notification: &Value) -> &str {
    notification["notificationId"].as_str().expect("an id")
}

/// Recipient, outcome, attempts and reason of each delivery.
fn told(story: &Value) -> Vec<(String, &str, u64, &str)> {
    let deliveries = story["deliveries"].as_array().expect("a list");
    deliveries
        .iter()
        .map(|delivery| {
            let recipient = &delivery["recipient"];
            let text = |value: &'static str| recipient[value].as_str().unwrap_or("").to_owned();
            (
                format!("{}:{}", text("kind"), text("id")),
                delivery["outcome"].as_str().expect("an outcome"),
                delivery["attempts"].as_u64().expect("a number"),
                delivery["reason"].as_str().expect("a reason"),
            )
        })
        .collect()
}

#[tokio::test]
async fn each_recipient_has_an_outcome_its_attempts_and_a_reason() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let draft = json!({"targetUserIds": ["ann", "bob"], "targetRoles": ["CREW", "NOBODY"],
                       "message": "m", "title": "t", "reference": {"prefix": "T"}});
    let published = hub.publish(draft).await;
    stream.notification().await;
    hub.until("two failures", |s| s["queue"]["failed"] == 2)
        .await;
    let whole = story(&hub, id(&published)).await;
    assert_eq!(whole["status"], "failed");
    assert_eq!(whole["publisher"], "user:campanile/publisher");
    assert_eq!(
        (
            &whole["eventId"],
            &whole["reference"],
            &whole["notification"]["title"]
        ),
        (&published["eventId"], &published["reference"], &json!("t"))
    );
    let at_once = "an open stream took it at the first try";
    let nobody = "no stream was open";
    assert_eq!(
        told(&whole),
        [
            ("user:ann".to_owned(), "sent", 1, at_once),
            ("user:bob".to_owned(), "failed", 4, nobody),
            ("role:CREW".to_owned(), "sent", 1, at_once),
            ("role:NOBODY".to_owned(), "failed", 4, nobody),
        ]
    );
    let by_reference = story(&hub, published["reference"].as_str().expect("a reference")).await;
    assert_eq!(by_reference, whole);

    // Bob comes, and it is told that he has it.
    let mut bob = hub.stream("bob", &[]).await;
    bob.notification().await;
    hub.until("one failure", |s| s["queue"]["failed"] == 1)
        .await;
    let later = story(&hub, id(&published)).await;
    assert_eq!(
        told(&later)[1],
        ("user:bob".to_owned(), "sent", 4, "a stream took it later")
    );
    drop((stream, bob));
    hub.stop().await;
}

#[tokio::test]
async fn what_was_read_in_the_inbox_or_expired_says_so() {
    let hub =
        TestHub::with(|config| config.delivery.retry = vec![Duration::from_millis(700); 3]).await;
    let end = campanile::clock::Timestamp::now().saturating_add(Duration::from_millis(600));
    let brief = json!({"targetUserId": "ann", "message": "brief", "expiresAt": end.to_string()});
    let brief = hub.publish(brief).await;
    let read = hub.publish(to_user("bob", 1)).await;
    let path = format!("/notifications/{}/read", id(&read));
    let marked = hub
        .client()
        .post(hub.url(&path))
        .bearer_auth(hub.token("bob", &[], &[]))
        .send()
        .await;
    assert_eq!(marked.expect("an answer").status(), 204);
    let pending = story(&hub, id(&brief)).await;
    assert_eq!(
        (pending["status"].as_str(), told(&pending)[0].1),
        (Some("pending"), "pending")
    );
    hub.until("nothing owed", |s| s["queue"]["pending"] == 0)
        .await;
    let expired = story(&hub, id(&brief)).await;
    assert_eq!(expired["status"], "expired");
    let (_, outcome, _, reason) = told(&expired)[0].clone();
    assert_eq!(
        (outcome, reason),
        ("expired", "it expired before they came")
    );
    let read = story(&hub, id(&read)).await;
    let (_, outcome, _, reason) = told(&read)[0].clone();
    assert_eq!((outcome, reason), ("sent", "they read it in their inbox"));
    hub.stop().await;
}

#[tokio::test]
async fn a_broadcast_is_one_row_with_how_many_streams_it_went_to() {
    let hub = TestHub::start().await;
    let mut streams = Vec::new();
    for number in 0..5 {
        streams.push(hub.stream(&format!("u{number}"), &["CREW"]).await);
    }
    let to_all = hub.broadcast(json!({"message": "to all"})).await;
    let to_crew = hub.broadcast(to_role("CREW", 1)).await;
    let to_nobody = hub.broadcast(to_user("nobody", 2)).await;
    let everyone = hub.publish(json!({"everyone": true, "message": "m"})).await;
    for stream in &mut streams {
        stream.messages(3).await;
    }
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
    // The counts are durable with the verdicts.
    let hub = {
        drop(streams);
        hub.stop().await.restart().await
    };
    for (published, recipient, live) in [
        (to_all, "everyone:", 5),
        (to_crew, "role:CREW", 5),
        (to_nobody, "user:nobody", 0),
        (everyone, "everyone:", 5),
    ] {
        let story = story(&hub, id(&published)).await;
        let told = told(&story);
        assert_eq!(
            (told.len(), told[0].0.as_str(), told[0].1),
            (1, recipient, "sent")
        );
        assert_eq!(
            story["deliveries"][0]["streams"],
            json!({"live": live, "behind": 0}),
            "{recipient}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn deliveries_are_searched_by_recipient_outcome_and_time_page_by_page() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    for number in 0..5 {
        hub.publish(json!({"targetUserIds": ["ann", "bob"], "message": format!("n{number}")}))
            .await;
    }
    stream.messages(5).await;
    hub.until("five failures", |s| s["queue"]["failed"] == 5)
        .await;
    let count = async |query: &str| {
        let (status, answer) = as_admin(&hub, &format!("/deliveries?{query}")).await;
        assert_eq!(status, 200, "{query}: {answer}");
        answer["deliveries"].as_array().expect("a list").len()
    };
    assert_eq!(count("user=ann").await, 5);
    assert_eq!(count("user=ann&outcome=sent").await, 5);
    assert_eq!(count("user=ann&outcome=failed").await, 0);
    assert_eq!(count("user=bob&outcome=failed&since=1h").await, 5);
    assert_eq!(count("outcome=failed").await, 5);
    assert_eq!(count("outcome=pending").await, 0);
    assert_eq!(count("role=CREW").await, 0);
    let later = campanile::clock::Timestamp::now().saturating_add(Duration::from_secs(60));
    assert_eq!(count(&format!("user=ann&since={later}")).await, 0);
    for scope in ["user=bob", "outcome=failed"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (_, page) = as_admin(&hub, &format!("/deliveries?{scope}&limit=2{cursor}")).await;
            let deliveries = page["deliveries"].as_array().expect("a list").clone();
            seen.extend(
                deliveries
                    .iter()
                    .map(|d| d["eventId"].as_str().expect("an id").to_owned()),
            );
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&before={next}"),
                None => break,
            }
        }
        let mut all = seen.clone();
        all.sort();
        all.dedup();
        assert_eq!((seen.len(), all.len()), (5, 5), "{scope}: {seen:?}");
    }
    for (wrong, field) in [
        ("", "user"),
        ("outcome=sent", "outcome"),
        ("outcome=lost", "outcome"),
        ("user=a&role=b", "role"),
        ("user=", "user"),
        ("usr=a", "user"),
        ("user=a&x=1", "x"),
    ] {
        let (status, problem) = as_admin(&hub, &format!("/deliveries?{wrong}")).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{wrong}"
        );
    }
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn a_publisher_learns_of_their_own_and_a_reader_of_none() {
    let hub = TestHub::start().await;
    let publish = Scopes {
        publish: true,
        admin: false,
    };
    let (own, _) = hub.hub().create_key("own", publish).await.expect("a key");
    let (other, _) = hub.hub().create_key("other", publish).await.expect("a key");
    let draft =
        json!({"targetUserId": "ann", "targetRoles": ["CREW"], "message": "m", "reference": "T-1"});
    let published: Value = hub
        .client()
        .post(hub.url("/notifications"))
        .bearer_auth(&own)
        .json(&draft)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let path = format!("/notifications/{}/deliveries", id(&published));
    assert_eq!(get(&hub, &own, &path).await.0, 200);
    assert_eq!(get(&hub, &other, &path).await.0, 404);
    assert_eq!(get(&hub, &hub.token("ann", &[], &[]), &path).await.0, 403);
    assert_eq!(
        get(&hub, &own, "/notifications/T-2/deliveries").await.0,
        404
    );
    let (status, problem) = get(&hub, &own, "/deliveries?outcome=failed").await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("user"))
    );
    let searched = async |token: &str| {
        let (_, found) = get(&hub, token, "/deliveries?user=ann").await;
        found["deliveries"].as_array().expect("a list").len()
    };
    assert_eq!((searched(&own).await, searched(&other).await), (1, 0));

    // By its reference: the publisher sees how it stands, its reader what is for them, and nobody else anything.
    let found = async |token: String| {
        let (status, found) = get(&hub, &token, "/notifications?reference=T-1").await;
        assert_eq!(status, 200);
        found["notifications"].as_array().expect("a list").clone()
    };
    let own = found(own).await;
    assert_eq!(
        (own.len(), own[0]["publisher"].as_str()),
        (1, Some("key:own"))
    );
    let ann = found(hub.token("ann", &[], &[])).await;
    assert_eq!(
        (ann.len(), &ann[0]["reference"], &ann[0]["publisher"]),
        (1, &json!("T-1"), &Value::Null)
    );
    assert!(found(hub.token("eve", &["SALES"], &[])).await.is_empty());
    assert!(found(other).await.is_empty());
    hub.stop().await;
}

#[tokio::test]
async fn the_command_answers_on_one_screen_beside_a_running_hub_and_without_one() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let draft = json!({"targetUserIds": ["ann", "bob"], "message": "New order", "severity": "high",
                       "module": "orders", "reference": "CNC-1126-0007"});
    hub.publish(draft).await;
    stream.notification().await;
    stream.counted(1).await;
    hub.until("a failure", |s| s["queue"]["failed"] == 1).await;
    drop(stream);
    let data = hub.data();
    let why = async |which: &str, more: &[&str]| {
        let output = binary()
            .args(["why", which, "--data"])
            .arg(&data)
            .args(more)
            .output()
            .await
            .expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, running, words) = why("CNC-1126-0007", &[]).await;
    assert_eq!(code, Some(0), "{words}");
    let (_, json_running, _) = why("CNC-1126-0007", &["--json"]).await;
    let stopped = hub.stop().await;
    assert_eq!(why("CNC-1126-0007", &[]).await.1, running);
    assert_eq!(why("CNC-1126-0007", &["--json"]).await.1, json_running);

    let lines: Vec<&str> = running.lines().collect();
    assert_eq!(lines[0], "CNC-1126-0007: New order");
    assert!(
        lines[3].ends_with("notification, high, orders"),
        "{running}"
    );
    assert!(
        lines[4].ends_with("failed (2 recipients: 1 sent, 1 failed)"),
        "{running}"
    );
    assert!(
        lines[7].starts_with("user bob   failed          4  no stream was open, 20"),
        "{running}"
    );
    assert!(
        lines[8].starts_with("user ann   sent            1  an open stream took it"),
        "{running}"
    );
    let (code, nothing, words) = why("CNC-1126-0008", &[]).await;
    assert_eq!((code, nothing.as_str()), (Some(1), ""));
    assert!(words.contains("there is no such notification"), "{words}");
    drop(stopped);
}
