//! Under one key one notification is made, however often it is asked for; references are given once; a throttle lets one
//! through.

use std::collections::HashSet;
use std::time::Duration;

use campanile::auth::Scopes;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestHub, binary, to_user};

/// POSTs a draft under a key in the header.
async fn under(hub: &TestHub, key: &str, path: &str, draft: &Value) -> (u16, Value) {
    let response = hub
        .client()
        .post(hub.url(path))
        .bearer_auth(hub.token("publisher", &[], &["publish"]))
        .header("Idempotency-Key", key)
        .json(draft)
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn keyed(mut draft: Value, key: &str) -> Value {
    draft["idempotencyKey"] = json!(key);
    draft
}

async fn get(hub: &TestHub, path: &str) -> (u16, Value) {
    let response = hub
        .client()
        .get(hub.url(path))
        .bearer_auth(hub.token("admin", &[], &["admin"]))
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// How often keys were used again.
async fn duplicates(hub: &TestHub, query: &str) -> Vec<Value> {
    let (status, answer) = get(hub, &format!("/audit/duplicates?limit=1000{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["duplicates"].as_array().expect("a list").clone()
}

/// The first answer, as a repetition has it.
fn again(first: &Value) -> Value {
    let mut again = first.clone();
    again["duplicate"] = json!(true);
    again
}

#[tokio::test]
async fn the_same_draft_under_the_same_key_gets_the_first_answer_again() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let draft = to_user("ann", 1);
    let (status, first) = hub
        .post("/notifications", &keyed(draft.clone(), "order-1"))
        .await;
    assert_eq!((status, &first["duplicate"]), (201, &json!(false)));

    let in_the_header = under(&hub, "order-1", "/notifications", &draft).await;
    let quoted = under(
        &hub,
        "\"order-1\"",
        "/notifications/create-and-notify",
        &draft,
    )
    .await;
    let in_both = under(
        &hub,
        "order-1",
        "/notifications",
        &keyed(draft.clone(), "order-1"),
    )
    .await;
    let in_words = json!({"message": "n1", "targetUserIds": ["ann", "ann"], "severity": "medium",
                          "idempotencyKey": "order-1"});
    let same_in_other_words = hub.post("/notifications", &in_words).await;
    for answer in [in_the_header, quoted, in_both, same_in_other_words] {
        assert_eq!(answer, (200, again(&first)));
    }
    hub.publish(to_user("ann", 2)).await;
    assert_eq!(stream.messages(2).await, ["n1", "n2"]);
    let uses = duplicates(&hub, "&key=order-1").await;
    assert_eq!(uses.len(), 4);
    for use_ in &uses {
        assert_eq!(
            (&use_["outcome"], &use_["notificationId"]),
            (&json!("answered"), &first["notificationId"])
        );
    }
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn another_draft_under_a_used_key_is_refused_and_so_is_another_route() {
    let hub = TestHub::start().await;
    let first = hub.publish(keyed(to_user("ann", 1), "k")).await;
    let others = [
        ("/notifications", to_user("ann", 2)),
        ("/notifications", to_user("bob", 1)),
        (
            "/notifications",
            json!({"targetUserId": "ann", "message": "n1", "severity": "high"}),
        ),
        (
            "/notifications",
            json!({"targetUserId": "ann", "message": "n1", "reference": "A-1"}),
        ),
        ("/notifications/broadcast", to_user("ann", 1)),
    ];
    for (path, draft) in others {
        let (status, problem) = hub.post(path, &keyed(draft.clone(), "k")).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!("idempotencyKey")),
            "{path} {draft}"
        );
    }
    let refused = duplicates(&hub, "").await;
    assert_eq!(refused.len(), 5);
    for use_ in &refused {
        assert_eq!(
            (&use_["outcome"], &use_["key"], &use_["notificationId"]),
            (&json!("refused"), &json!("k"), &first["notificationId"])
        );
    }
    assert_eq!(hub.status().await["stored"]["notifications"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_publisher_alone() {
    let hub = TestHub::start().await;
    let mut ids = HashSet::new();
    let (first_key, _) = hub
        .hub()
        .create_key(
            "billing",
            Scopes {
                publish: true,
                admin: false,
            },
        )
        .await
        .expect("a key");
    let (second_key, _) = hub
        .hub()
        .create_key(
            "shipping",
            Scopes {
                publish: true,
                admin: false,
            },
        )
        .await
        .expect("a key");
    for credential in [
        first_key,
        second_key,
        hub.token("a", &[], &["publish"]),
        hub.token("b", &[], &["publish"]),
    ] {
        let response = hub
            .client()
            .post(hub.url("/notifications"))
            .bearer_auth(credential)
            .json(&keyed(to_user("ann", 1), "same"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 201);
        let answer: Value = response.json().await.expect("JSON");
        ids.insert(answer["notificationId"].to_string());
    }
    assert_eq!(ids.len(), 4);
    assert!(duplicates(&hub, "").await.is_empty());
    hub.stop().await;
}

#[tokio::test]
async fn a_hundred_at_once_make_one_fifty_times() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    for round in 0..50 {
        let draft = keyed(to_user("ann", round), &format!("round-{round}"));
        let answers = join_all((0..100).map(|_| hub.post("/notifications", &draft))).await;
        let made = answers.iter().filter(|(status, _)| *status == 201).count();
        let repeated = answers
            .iter()
            .filter(|(status, answer)| *status == 200 && answer["duplicate"] == true)
            .count();
        assert_eq!((made, repeated), (1, 99));
        let ids: HashSet<String> = answers
            .iter()
            .map(|(_, answer)| answer["notificationId"].to_string())
            .collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(
            duplicates(&hub, &format!("&key=round-{round}")).await.len(),
            99
        );
        stream.expect_next_message(&format!("n{round}")).await;
    }
    hub.publish(to_user("ann", 50)).await;
    stream.expect_next_message("n50").await;
    assert_eq!(hub.status().await["stored"]["notifications"], 51);
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn a_batch_and_single_posts_share_their_keys() {
    let hub = TestHub::start().await;
    let single = hub.publish(keyed(to_user("ann", 1), "one")).await;
    let batch = json!([
        keyed(to_user("ann", 1), "one"),
        keyed(to_user("ann", 2), "two"),
        keyed(to_user("ann", 2), "two"),
        keyed(to_user("ann", 3), "two"),
        to_user("ann", 4),
    ]);
    let (status, answer) = hub.post("/notifications/batch", &batch).await;
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().expect("results");
    let statuses: Vec<&Value> = results.iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [200, 201, 200, 422, 201]);
    assert_eq!(results[0]["notification"], again(&single));
    assert_eq!(
        results[2]["notification"],
        again(&results[1]["notification"])
    );
    let (status, repeated) = hub
        .post("/notifications", &keyed(to_user("ann", 2), "two"))
        .await;
    assert_eq!(
        (status, repeated),
        (200, again(&results[1]["notification"]))
    );
    assert_eq!(hub.status().await["stored"]["notifications"], 3);

    let (status, problem) = under(
        &hub,
        "k",
        "/notifications/batch",
        &json!([to_user("ann", 1)]),
    )
    .await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("idempotency-key"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_refused_draft_does_not_use_its_key_up_and_an_answer_outlives_a_restart() {
    let hub = TestHub::start().await;
    let (status, _) = hub
        .post(
            "/notifications",
            &keyed(json!({"message": "to whom?"}), "k"),
        )
        .await;
    assert_eq!(status, 422);
    hub.publish(json!({"targetUserId": "ann", "message": "m", "reference": "A-1"}))
        .await;
    let taken =
        json!({"targetUserId": "ann", "message": "m", "reference": "A-1", "idempotencyKey": "k"});
    assert_eq!(hub.post("/notifications", &taken).await.0, 409);
    let first = hub.publish(keyed(to_user("ann", 1), "k")).await;
    let hub = hub.stop().await.restart().await;
    let answer = hub
        .post("/notifications", &keyed(to_user("ann", 1), "k"))
        .await;
    assert_eq!(answer, (200, again(&first)));
    assert_eq!(duplicates(&hub, "&key=k").await.len(), 1);
    hub.stop().await;
}

#[tokio::test]
async fn what_a_store_of_schema_7_answered_under_a_key_is_answered_again() {
    let hub = TestHub::start().await;
    let first = hub.publish(keyed(to_user("ann", 1), "k")).await;
    let file = hub.data().join("campanile.db");
    let stopped = hub.stop().await;
    // Takes back what step 8 does.
    rusqlite::Connection::open(&file)
        .and_then(|store| {
            store.execute_batch(
                "CREATE TABLE earlier (
                     n INTEGER PRIMARY KEY, publisher TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL,
                     kept_ms INTEGER NOT NULL, id BLOB NOT NULL, position INTEGER NOT NULL, created_ms INTEGER NOT NULL,
                     reference TEXT, throttled INTEGER NOT NULL, UNIQUE (publisher, key)) STRICT;
                 INSERT INTO earlier SELECT * FROM idempotency;
                 DROP TABLE idempotency;
                 ALTER TABLE earlier RENAME TO idempotency;
                 PRAGMA user_version = 7;",
            )
        })
        .expect("a store of schema 7");
    let hub = stopped.restart().await;
    let ask = async |key, draft| hub.post("/notifications", &keyed(draft, key)).await;
    assert_eq!(ask("k", to_user("ann", 1)).await, (200, again(&first)));
    assert_eq!(ask("k", to_user("ann", 2)).await.0, 422);
    assert_eq!(ask("l", to_user("ann", 1)).await.0, 201);
    hub.stop().await;
}

#[tokio::test]
async fn a_draft_that_has_expired_since_it_was_accepted_still_gets_its_answer() {
    let hub = TestHub::start().await;
    let end = campanile::clock::Timestamp::now().saturating_add(Duration::from_millis(1_500));
    let draft = keyed(
        json!({"targetUserId": "ann", "message": "brief", "expiresAt": end.to_string()}),
        "k",
    );
    let first = hub.publish(draft.clone()).await;
    while campanile::clock::Timestamp::now() <= end {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        hub.post("/notifications", &draft).await,
        (200, again(&first))
    );
    let mut unknown = draft;
    unknown["idempotencyKey"] = json!("another");
    let (status, problem) = hub.post("/notifications", &unknown).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("expiresAt"))
    );
    assert_eq!(hub.status().await["stored"]["notifications"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn the_action_form_takes_its_id_as_the_key() {
    let hub = TestHub::start().await;
    let form = |field: &str, action: &str| {
        let mut form = json!({"action": action, "targetUserId": "ann", "message": "m", "timestamp": 1, "type": "x"});
        form[field] = json!("order-7");
        form
    };
    let first = hub.publish(form("id", "create-and-notify")).await;
    for field in ["notificationId", "idempotencyKey"] {
        let answer = hub
            .post("/notifications", &form(field, "create-and-notify"))
            .await;
        assert_eq!(answer, (200, again(&first)), "{field}");
    }
    let answer = under(&hub, "order-7", "/notifications", &to_user("ann", 1)).await;
    assert_eq!(answer.0, 422, "another message");
    let mut both = form("id", "create-and-notify");
    both["notificationId"] = json!("order-8");
    let (status, problem) = hub.post("/notifications", &both).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("notificationId"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused_by_name() {
    let hub = TestHub::start().await;
    for key in [json!(""), json!("a\nb"), json!("x".repeat(129)), json!(7)] {
        let mut draft = to_user("ann", 1);
        draft["idempotencyKey"] = key.clone();
        let (status, problem) = hub.post("/notifications", &draft).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!("idempotencyKey")),
            "{key}"
        );
    }
    let (status, problem) = under(
        &hub,
        "one",
        "/notifications",
        &keyed(to_user("ann", 1), "other"),
    )
    .await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("idempotency-key"))
    );
    let ephemeral = json!({"targetUserId": "ann", "message": "m", "ephemeral": true, "idempotencyKey": "k",
                           "reference": {"prefix": "A"}, "throttle": {"key": "t", "window": "1h"}});
    let (status, problem) = hub.post("/notifications", &ephemeral).await;
    let fields: Vec<&Value> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|e| &e["field"])
        .collect();
    assert_eq!(
        (status, fields),
        (
            422,
            vec![
                &json!("idempotencyKey"),
                &json!("throttle"),
                &json!("reference")
            ]
        )
    );
    assert_eq!(hub.status().await["stored"]["notifications"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn duplicates_are_found_by_key_publisher_and_time() {
    let hub = TestHub::start().await;
    for user in ["a", "b"] {
        for key in ["x", "y"] {
            for _ in 0..3 {
                let response = hub
                    .client()
                    .post(hub.url("/notifications"))
                    .bearer_auth(hub.token(user, &[], &["publish"]))
                    .json(&keyed(to_user("ann", 1), key))
                    .send()
                    .await
                    .expect("an answer");
                assert!(response.status().is_success());
            }
        }
    }
    assert_eq!(duplicates(&hub, "").await.len(), 8);
    assert_eq!(duplicates(&hub, "&key=x").await.len(), 4);
    let publisher = duplicates(&hub, "&key=x").await[0]["publisher"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert_eq!(
        duplicates(&hub, &format!("&publisher={publisher}"))
            .await
            .len(),
        4
    );
    assert_eq!(
        duplicates(&hub, &format!("&key=y&publisher={publisher}"))
            .await
            .len(),
        2
    );
    assert_eq!(duplicates(&hub, "&since=1h").await.len(), 8);
    assert_eq!(duplicates(&hub, "&until=1h").await.len(), 0);

    let (_, page) = get(&hub, "/audit/duplicates?limit=5").await;
    let cursor = page["nextCursor"].as_str().expect("more");
    let (_, rest) = get(&hub, &format!("/audit/duplicates?limit=5&before={cursor}")).await;
    assert_eq!(rest["duplicates"].as_array().map(Vec::len), Some(3));
    assert_eq!(rest["nextCursor"], Value::Null);
    for wrong in [
        "limit=0",
        "limit=many",
        "since=yesterday",
        "kye=x",
        "key=x&key=y",
    ] {
        let (status, problem) = get(&hub, &format!("/audit/duplicates?{wrong}")).await;
        let field = wrong.split('=').next().expect("a field");
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{wrong}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_drawn_reference_is_the_next_of_its_prefix_and_month_and_is_told_to_everybody() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let month = month();
    for number in 1..=3 {
        let answer = hub
            .publish(json!({"targetUserId": "ann", "message": "m", "reference": {"prefix": "CNC"}}))
            .await;
        let expected = format!("CNC-{month}-{number:04}");
        assert_eq!(answer["reference"], json!(expected));
        let event = stream.notification().await;
        assert_eq!(event.data["data"]["reference"], json!(expected));
        assert_eq!(event.data["data"]["message"], "m");
    }
    let other = hub
        .publish(json!({"targetUserId": "ann", "message": "m", "reference": {"prefix": "b2"}}))
        .await;
    assert_eq!(other["reference"], json!(format!("b2-{month}-0001")));
    drop(stream);
    hub.stop().await;
}

/// The present month as references have it: MMYY.
fn month() -> String {
    let now = campanile::clock::Timestamp::now().to_string();
    format!("{}{}", &now[5..7], &now[2..4])
}

#[tokio::test]
async fn a_reference_is_given_once_and_a_number_that_is_taken_is_passed_over() {
    let hub = TestHub::start().await;
    let bring =
        |reference: &str| json!({"targetUserId": "ann", "message": "m", "reference": reference});
    let draw = || json!({"targetUserId": "ann", "message": "m", "reference": {"prefix": "CNC"}});
    let month = month();
    let brought = format!("CNC-{month}-0001");
    let answer = hub.publish(bring(&brought)).await;
    assert_eq!(answer["reference"], json!(brought));
    assert_eq!(hub.post("/notifications", &bring(&brought)).await.0, 409);
    assert_eq!(
        hub.publish(draw()).await["reference"],
        json!(format!("CNC-{month}-0002"))
    );

    // Three in a row are taken: nothing is made, and the next one comes through.
    for number in 3..=5 {
        hub.publish(bring(&format!("CNC-{month}-{number:04}")))
            .await;
    }
    let before = hub.status().await["stored"]["notifications"].clone();
    let (status, problem) = hub.post("/notifications", &draw()).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(hub.status().await["stored"]["notifications"], before);
    assert_eq!(
        hub.publish(draw()).await["reference"],
        json!(format!("CNC-{month}-0006"))
    );

    let wrong = [
        (json!({"prefix": ""}), "reference.prefix"),
        (json!({"prefix": "A B"}), "reference.prefix"),
        (json!({"prefix": "x".repeat(17)}), "reference.prefix"),
        (json!({"prefx": "A"}), "reference.prefx"),
        (json!("white space"), "reference"),
        (json!(""), "reference"),
        (json!("x".repeat(65)), "reference"),
        (json!(7), "reference"),
    ];
    for (reference, field) in wrong {
        let (status, problem) = hub
            .post(
                "/notifications",
                &json!({"targetUserId": "ann", "message": "m", "reference": reference}),
            )
            .await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{reference}"
        );
    }
    // What would do is said.
    let neither = json!({"targetUserId": "ann", "message": "m", "reference": 7});
    let (_, problem) = hub.post("/notifications", &neither).await;
    let message = problem["errors"][0]["message"].as_str().expect("a message");
    assert!(
        message.contains("a reference, or an object with a prefix"),
        "{message}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_batch_draws_its_references_in_order_and_tries_again_where_one_was_taken() {
    let hub = TestHub::start().await;
    let month = month();
    hub.publish(
        json!({"targetUserId": "ann", "message": "m", "reference": format!("T-{month}-0002")}),
    )
    .await;
    let batch: Vec<Value> = (0..4)
        .map(|_| json!({"targetUserId": "ann", "message": "m", "reference": {"prefix": "T"}}))
        .collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(batch)).await;
    assert_eq!(status, 200);
    let given: Vec<String> = answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| {
            result["notification"]["reference"]
                .as_str()
                .expect("a reference")
                .to_owned()
        })
        .collect();
    let number = |number: u32| format!("T-{month}-{number:04}");
    assert_eq!(given, [number(1), number(5), number(3), number(4)]);
    hub.stop().await;
}

#[tokio::test]
async fn a_throttle_lets_one_through_in_its_window_and_answers_the_others_with_it() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let draft = |number: u32, key: &str, window: &str| json!({"targetUserId": "ann", "message": format!("n{number}"), "throttle": {"key": key, "window": window}});
    let first = hub.publish(draft(1, "ticket-768", "24h")).await;
    assert_eq!(first["throttled"], Value::Null);
    let (status, held) = hub
        .post("/notifications", &draft(2, "ticket-768", "24h"))
        .await;
    assert_eq!(
        (status, &held["throttled"], &held["duplicate"]),
        (200, &json!(true), &json!(false))
    );
    assert_eq!(
        (&held["notificationId"], &held["eventId"]),
        (&first["notificationId"], &first["eventId"])
    );
    // Another key, another window, from the shortest to the longest, and another publisher are other throttles.
    hub.publish(draft(3, "ticket-769", "24h")).await;
    hub.publish(draft(4, "ticket-768", "1s")).await;
    hub.publish(draft(5, "ticket-768", "30d")).await;
    assert_eq!(stream.messages(4).await, ["n1", "n3", "n4", "n5"]);

    // Under a key the answer stays what it was.
    let keyed_draft = keyed(draft(6, "ticket-768", "24h"), "k");
    let (status, held) = hub.post("/notifications", &keyed_draft).await;
    assert_eq!((status, &held["throttled"]), (200, &json!(true)));
    assert_eq!(
        hub.post("/notifications", &keyed_draft).await,
        (200, again(&held))
    );

    for (throttle, field) in [
        (json!({"key": "", "window": "1h"}), "throttle.key"),
        (json!({"key": "k", "window": "999ms"}), "throttle.window"),
        (json!({"key": "k", "window": "30d 1ms"}), "throttle.window"),
        (json!({"key": "k", "window": "soon"}), "throttle.window"),
        (json!({"key": "k"}), "throttle.window"),
    ] {
        let (status, problem) = hub
            .post(
                "/notifications",
                &json!({"targetUserId": "ann", "message": "m", "throttle": throttle}),
            )
            .await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{throttle}"
        );
    }
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn a_throttle_opens_again_when_its_window_is_over_and_holds_over_a_restart() {
    let hub = TestHub::start().await;
    let draft =
        json!({"targetUserId": "ann", "message": "m", "throttle": {"key": "t", "window": "1s"}});
    hub.publish(draft.clone()).await;
    let long =
        json!({"targetUserId": "ann", "message": "m", "throttle": {"key": "t", "window": "1h"}});
    let first = hub.publish(long.clone()).await;
    let hub = hub.stop().await.restart().await;
    let (status, held) = hub.post("/notifications", &long).await;
    assert_eq!(
        (status, &held["notificationId"]),
        (200, &first["notificationId"])
    );
    let opened = async {
        loop {
            if hub.post("/notifications", &draft).await.0 == 201 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), opened)
        .await
        .expect("it opens again");
    hub.stop().await;
}

#[tokio::test]
async fn the_command_sends_under_a_key_with_a_reference_and_a_throttle() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &[]).await;
    let data = hub.data();
    let send = async |more: &[&str]| {
        let output = binary()
            .args([
                "send",
                "--json",
                "--user",
                "ann",
                "--message",
                "m",
                "--data",
            ])
            .arg(&data)
            .args(more)
            .output()
            .await
            .expect("it runs");
        let words = String::from_utf8(output.stderr).expect("UTF-8");
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), answer, words)
    };
    let once = ["--idempotency-key", "k", "--reference", "CNC:"];
    let (code, first, words) = send(&once).await;
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(first["reference"], json!(format!("CNC-{}-0001", month())));
    assert_eq!(send(&once).await.1, again(&first));
    let (code, _, words) = send(&["--reference", "CNC-1-1", "--idempotency-key", "k"]).await;
    assert_eq!(code, Some(1), "another draft");
    assert!(words.contains("was used for another draft"), "{words}");
    send(&["--throttle", "t=1h"]).await;
    assert_eq!(send(&["--throttle", "t=1h"]).await.1["throttled"], true);
    let (code, passed, _) = send(&["--ephemeral"]).await;
    assert_eq!((code, &passed["eventId"]), (Some(0), &Value::Null));
    assert_eq!(send(&["--throttle", "t"]).await.0, Some(2));
    assert_eq!(stream.messages(3).await, ["m", "m", "m"]);
    drop(stream);
    hub.stop().await;
}
