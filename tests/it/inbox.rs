//! An inbox can be listed: by its user, by nobody else but an administrator, and page by page without a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile::auth::{Scope, User};
use campanile::clock::Timestamp;
use campanile::hub::InboxError;
use campanile::inbox::{InboxQuery, MAX_PAGE, Unread};
use serde_json::{Value, json};

use crate::support::{TestHub, binary, soon, to_role, to_user};

async fn get(hub: &TestHub, token: &str, path: &str) -> (u16, Value) {
    let request = hub.client().get(hub.url(path)).bearer_auth(token);
    let response = soon("an answer", request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// A page that must be given.
async fn page(hub: &TestHub, token: &str, query: &str) -> Value {
    let (status, page) = get(hub, token, &format!("/notifications{query}")).await;
    assert_eq!(status, 200, "{query}: {page}");
    page
}

/// What is on it: the messages, and a star behind those that are read.
fn told(page: &Value) -> Vec<String> {
    let items = page["notifications"].as_array().expect("a list");
    items
        .iter()
        .map(|item| {
            let star = if item["read"] == true { "*" } else { "" };
            format!("{}{star}", item["message"].as_str().expect("a message"))
        })
        .collect()
}

/// Every page from the first to the last, and how many there were.
async fn pages(hub: &TestHub, token: &str, query: &str) -> (Vec<String>, usize) {
    let (mut all, mut before) = (Vec::new(), String::new());
    for count in 1..1_000 {
        let page = page(hub, token, &format!("?{query}{before}")).await;
        all.extend(told(&page));
        match page["nextCursor"].as_str() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => return (all, count),
        }
    }
    panic!("there is no last page: {all:?}")
}

async fn read(hub: &TestHub, token: &str, path: &str, body: Value) -> u16 {
    let request = hub.client().post(hub.url(path)).bearer_auth(token);
    let sent = request.json(&body).send();
    soon("an answer", sent)
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

fn id(notification: &Value) -> &str {
    notification["notificationId"].as_str().expect("an id")
}

async fn batch(hub: &TestHub, drafts: Vec<Value>) {
    for drafts in drafts.chunks(1_000) {
        let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

async fn idle(hub: &TestHub) {
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;
}

#[tokio::test]
async fn a_user_finds_what_names_them_and_since_the_first_visit_what_is_for_their_roles_and_everyone()
 {
    let hub = TestHub::start().await;
    let to_everyone = |number: usize| json!({"everyone": true, "message": format!("n{number}")});
    hub.publish(to_user("ann", 1)).await;
    hub.publish(to_role("CREW", 2)).await;
    hub.publish(to_everyone(3)).await;
    hub.publish(to_user("bob", 4)).await;
    idle(&hub).await;
    let crew = hub.token("ann", &["CREW"], &[]);
    // Looking is no visit, however often.
    for _ in 0..2 {
        let page = page(&hub, &crew, "").await;
        assert_eq!(
            (told(&page), &page["unread"]),
            (vec!["n1".into()], &json!(1))
        );
    }
    drop(hub.stream("ann", &["CREW"]).await);
    hub.publish(to_role("CREW", 5)).await;
    hub.publish(to_everyone(6)).await;
    hub.broadcast(to_user("ann", 7)).await;
    hub.broadcast(to_everyone(8)).await;
    hub.publish(json!({"targetUserId": "ann", "message": "passing", "ephemeral": true}))
        .await;
    // Matched three times, and listed once.
    let thrice = json!({"targetUserIds": ["ann"], "targetRoles": ["CREW", "OPS"], "message": "n9"});
    hub.publish(thrice).await;
    let all = page(&hub, &hub.token("ann", &["CREW", "OPS"], &[]), "").await;
    assert_eq!(told(&all), ["n9", "n6", "n5", "n1"]);
    assert_eq!(
        (&all["unread"], &all["nextCursor"]),
        (&json!(4), &Value::Null)
    );
    // A token without the role does not see the role's.
    let plain = page(&hub, &hub.token("ann", &[], &[]), "").await;
    assert_eq!(
        (told(&plain), &plain["unread"]),
        (vec!["n9".into(), "n6".into(), "n1".into()], &json!(3))
    );
    let bob = page(&hub, &hub.token("bob", &["CREW"], &[]), "").await;
    assert_eq!(told(&bob), ["n4"]);
    let nobody = page(&hub, &hub.token("eve", &["CREW"], &[]), "").await;
    assert_eq!(
        nobody,
        json!({"notifications": [], "unread": 0, "nextCursor": null})
    );

    let hub = hub.stop().await.restart().await;
    assert_eq!(
        page(&hub, &hub.token("ann", &["CREW", "OPS"], &[]), "").await,
        all
    );
    hub.stop().await;
}

#[tokio::test]
async fn an_item_is_what_the_stream_carried_with_its_event_id_and_whether_it_is_read() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("ann", &["CREW"]).await;
    let draft = json!({
        "targetUserIds": ["ann", "bob"], "targetRoles": ["CREW"], "message": "m", "title": "t",
        "details": "d", "severity": "high", "module": "orders", "actionType": "new_order",
        "link": "/orders/123", "data": {"big": 12_345_678_901_234_567_890_u64},
        "expiresAt": Timestamp::now().saturating_add(Duration::from_secs(3600)).to_string(),
        "idempotencyKey": "secret-key", "reference": {"prefix": "CNC"},
        "throttle": {"key": "secret-throttle", "window": "1h"}, "webhook": "never"
    });
    let published = hub.publish(draft).await;
    let event = stream.notification().await;
    let token = hub.token("ann", &[], &[]);
    let reference = published["reference"].as_str().expect("a reference");
    for read in [false, true] {
        let mut due = event.data["data"].clone();
        due["eventId"] = json!(event.id);
        due["read"] = json!(read);
        let page = page(&hub, &token, "").await;
        assert_eq!(page["notifications"], json!([due]));
        for name in [id(&published), reference] {
            let item = get(&hub, &token, &format!("/notifications/{name}")).await;
            assert_eq!(item, (200, due.clone()));
        }
        let path = format!("/notifications/{}/read", id(&published));
        assert_eq!(self::read(&hub, &token, &path, json!({})).await, 204);
    }
    drop(stream);
    hub.stop().await;
}

#[tokio::test]
async fn what_has_expired_or_was_withdrawn_is_in_no_inbox() {
    let hub = TestHub::start().await;
    let token = hub.token("ann", &[], &[]);
    let withdrawn = hub.publish(to_user("ann", 1)).await;
    hub.until("nobody took it", |s| s["queue"]["failed"] == 1)
        .await;
    assert_eq!(told(&page(&hub, &token, "").await), ["n1"]);
    let request = hub
        .client()
        .delete(hub.url(&format!("/notifications/{}", id(&withdrawn))))
        .bearer_auth(hub.token("root", &[], &["admin"]));
    assert_eq!(request.send().await.expect("an answer").status(), 204);
    assert_eq!(told(&page(&hub, &token, "").await), [""; 0]);
    hub.publish(to_user("ann", 2)).await;
    let end = Timestamp::now().saturating_add(Duration::from_millis(500));
    let brief = json!({"targetUserId": "ann", "message": "brief", "expiresAt": end.to_string()});
    let brief = hub.publish(brief).await;
    let expired = async {
        while told(&page(&hub, &token, "").await) != ["n2"] {
            tokio::task::yield_now().await;
        }
    };
    soon("its end", expired).await;
    for gone in [&brief, &withdrawn] {
        let (status, problem) = get(&hub, &token, &format!("/notifications/{}", id(gone))).await;
        assert_eq!(status, 404, "{problem}");
    }
    let path = format!("/notifications/{}/read", id(&withdrawn));
    assert_eq!(read(&hub, &token, &path, json!({})).await, 404);
    assert_eq!(page(&hub, &token, "").await["unread"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_anything_while_others_publish() {
    let hub = Arc::new(TestHub::start().await);
    drop(hub.stream("ann", &["CREW"]).await);
    let draft = |number: usize| match number % 3 {
        0 => to_role("CREW", number),
        1 => json!({"everyone": true, "message": format!("n{number}")}),
        _ => to_user("ann", number),
    };
    batch(&hub, (0..500).map(draft).collect()).await;
    let token = hub.token("ann", &["CREW"], &[]);
    let due: Vec<String> = (0..500).rev().map(|number| format!("n{number}")).collect();
    for limit in [1, 7, 50, 200] {
        // The first page sees what is newest; what the pages after it see was there before.
        let first = page(&hub, &token, "?limit=1").await;
        let newest = first["notifications"][0]["eventId"]
            .as_str()
            .expect("an id");
        let (_, position) = newest.split_once('-').expect("a position");
        let before: u64 = position.parse().expect("a position");
        let stop = Arc::new(AtomicBool::new(false));
        let publishing = tokio::spawn({
            let (hub, stop) = (Arc::clone(&hub), Arc::clone(&stop));
            async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    hub.publish(json!({"everyone": true, "message": "meanwhile"}))
                        .await;
                }
                count
            }
        });
        let mut cursor = String::new();
        let (mut listed, mut positions) = (Vec::new(), Vec::new());
        loop {
            let page = page(&hub, &token, &format!("?limit={limit}{cursor}")).await;
            listed.extend(told(&page));
            for item in page["notifications"].as_array().expect("a list") {
                let id = item["eventId"].as_str().expect("an id");
                let (_, position) = id.split_once('-').expect("a position");
                positions.push(position.parse::<u64>().expect("a position"));
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&before={next}"),
                None => break,
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(publishing.await.expect("no panic") > 0);
        assert!(positions.is_sorted_by(|a, b| a > b), "limit {limit}");
        let meanwhile = listed.len() - 500;
        assert!(
            listed[..meanwhile].iter().all(|m| m == "meanwhile"),
            "limit {limit}"
        );
        assert_eq!(listed[meanwhile..], due, "limit {limit}");
        let from_before = positions.iter().filter(|position| **position <= before);
        let there_before = usize::try_from(before).expect("a position");
        assert_eq!(from_before.count(), there_before, "limit {limit}");
    }
    Arc::into_inner(hub).expect("the only one").stop().await;
}

#[tokio::test]
async fn what_is_read_says_so_and_every_stream_of_the_user_is_told_the_count() {
    let hub = TestHub::start().await;
    let mut streams = [hub.stream("ann", &[]).await, hub.stream("ann", &[]).await];
    let mut published = Vec::new();
    for number in 0..5 {
        published.push(hub.publish(to_user("ann", number)).await);
    }
    for stream in &mut streams {
        stream.messages(5).await;
        stream.counted(5).await;
    }
    let token = hub.token("ann", &[], &[]);
    let path = format!("/notifications/{}/read", id(&published[3]));
    assert_eq!(read(&hub, &token, &path, json!({})).await, 204);
    for stream in &mut streams {
        stream.counted(4).await;
    }
    let all = page(&hub, &token, "").await;
    assert_eq!(
        (told(&all), &all["unread"]),
        (
            ["n4", "n3*", "n2", "n1", "n0"].map(String::from).to_vec(),
            &json!(4)
        )
    );
    let upto = json!({"upTo": all["notifications"][3]["eventId"]});
    assert_eq!(
        read(&hub, &token, "/notifications/read-all", upto).await,
        204
    );
    for stream in &mut streams {
        stream.counted(2).await;
    }
    let all = page(&hub, &token, "").await;
    assert_eq!(
        (told(&all), &all["unread"]),
        (
            ["n4", "n3*", "n2", "n1*", "n0*"].map(String::from).to_vec(),
            &json!(2)
        )
    );
    assert_eq!(
        pages(&hub, &token, "unread=true&limit=1").await.0,
        ["n4", "n2"]
    );
    // Nobody else's marks count.
    let other = page(&hub, &hub.token("root", &[], &["admin"]), "?user=bob").await;
    assert_eq!(told(&other), [""; 0]);
    assert_eq!(
        read(&hub, &token, "/notifications/read-all", json!({})).await,
        204
    );
    for stream in &mut streams {
        stream.counted(0).await;
    }
    let none = page(&hub, &token, "?unread=true").await;
    assert_eq!(
        none,
        json!({"notifications": [], "unread": 0, "nextCursor": null})
    );
    drop(streams);
    hub.stop().await;
}

#[tokio::test]
async fn a_filter_lets_through_what_passes_each_part_of_it() {
    let hub = TestHub::start().await;
    let mut published = Vec::new();
    for (message, severity, module) in [
        ("a", "low", Some("orders")),
        ("b", "medium", Some("orders")),
        ("c", "high", Some("stock")),
        ("d", "critical", Some("e\u{301}quipe")),
        ("e", "high", None),
    ] {
        let draft = json!({
            "targetUserId": "ann", "message": message, "severity": severity, "module": module
        });
        published.push(hub.publish(draft).await);
    }
    let token = hub.token("ann", &[], &[]);
    let path = format!("/notifications/{}/read", id(&published[2]));
    assert_eq!(read(&hub, &token, &path, json!({})).await, 204);
    for (query, due) in [
        ("", "e d c* b a"),
        ("severity=high", "e c*"),
        ("severity=high&severity=low&severity=high", "e c* a"),
        ("module=orders", "b a"),
        ("module=orders&module=stock", "c* b a"),
        // Names are compared in one form, however they were typed.
        ("module=%C3%A9quipe", "d"),
        ("module=Orders", ""),
        ("severity=high&module=stock", "c*"),
        ("severity=low&module=stock", ""),
        ("unread=true", "e d b a"),
        ("unread=false", "e d c* b a"),
        ("unread=true&severity=high", "e"),
    ] {
        for limit in [1, 50] {
            let (all, _) = pages(&hub, &token, &format!("{query}&limit={limit}")).await;
            assert_eq!(all.join(" "), due, "{query} {limit}");
        }
        // The count is of the whole inbox.
        assert_eq!(page(&hub, &token, &format!("?{query}")).await["unread"], 4);
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_page_that_has_to_pass_over_much_ends_early_and_says_where_to_go_on() {
    let hub = TestHub::start().await;
    let urgent = json!({"targetUserId": "ann", "message": "urgent", "severity": "critical"});
    hub.publish(urgent).await;
    batch(
        &hub,
        (0..2_100).map(|number| to_user("ann", number)).collect(),
    )
    .await;
    let token = hub.token("ann", &[], &[]);
    let first = page(&hub, &token, "?severity=critical").await;
    assert_eq!((told(&first).len(), &first["unread"]), (0, &json!("1000+")));
    assert!(first["nextCursor"].is_string(), "{first}");
    let (all, count) = pages(&hub, &token, "severity=critical").await;
    assert_eq!((all, count), (vec!["urgent".to_owned()], 2));
    // Large ones end a page too: each is some 40 KB.
    let large = || json!({"targetUserId": "bob", "message": "m", "details": "d".repeat(16_000), "data": "x".repeat(16_000)});
    batch(&hub, (0..150).map(|_| large()).collect()).await;
    let token = hub.token("bob", &[], &[]);
    let first = page(&hub, &token, "?limit=200").await;
    let on_it = told(&first).len();
    assert!((100..150).contains(&on_it), "{on_it}");
    let (all, count) = pages(&hub, &token, "limit=200").await;
    assert_eq!((all.len(), count), (150, 2));
    hub.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_by_name() {
    let hub = TestHub::start().await;
    let last = hub.publish(to_user("ann", 1)).await;
    let last = last["eventId"].as_str().expect("an id");
    let (epoch, position) = last.split_once('-').expect("an epoch");
    let next: u64 = position.parse::<u64>().expect("a position") + 1;
    let ann = hub.token("ann", &[], &[]);
    let root = hub.token("root", &[], &["admin"]);
    let many = |field: &str| vec![format!("{field}=a"); 33].join("&");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("unread=yes", "unread"),
        ("severity=urgent", "severity"),
        ("severity=high&severity=", "severity"),
        ("module=", "module"),
        ("module=a%00b", "module"),
        (&many("module"), "module"),
        ("before=garbage", "before"),
        ("before=", "before"),
        ("before=zzzzzzzz-1", "before"),
        (&format!("before={epoch}-{next}"), "before"),
        (&format!("before={epoch}-9999999999999999999"), "before"),
        (&format!("before={last}&before={last}"), "before"),
        ("unraed=true", "unraed"),
        ("offset=50", "offset"),
        ("role=CREW", "role"),
        ("user=", "user"),
        ("user=ann&user=bob", "user"),
        ("user=ann&role=", "role"),
        (&format!("user=ann&{}", many("role")), "role"),
        ("reference=CNC-1&limit=5", "limit"),
        ("reference=CNC-1&user=ann", "user"),
    ] {
        for token in [&ann, &root] {
            let (status, problem) = get(&hub, token, &format!("/notifications?{query}")).await;
            assert_eq!(status, 422, "{query}: {problem}");
            assert_eq!(problem["errors"][0]["field"], field, "{query}: {problem}");
        }
    }
    let (status, problem) = get(&hub, &ann, &format!("/notifications/{last}?unread=true")).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("unread"))
    );
    // Below what is kept there is simply nothing.
    for place in ["0", "1"] {
        let nothing = page(&hub, &ann, &format!("?before={epoch}-{place}")).await;
        assert_eq!(
            (told(&nothing).len(), &nothing["nextCursor"]),
            (0, &Value::Null)
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_in_the_callers_inbox_is_not_found_by_any_route() {
    let hub = TestHub::start().await;
    let before = hub.publish(to_role("CREW", 0)).await;
    idle(&hub).await;
    drop(hub.stream("ann", &["CREW"]).await);
    let named = json!({"targetUserId": "bob", "message": "n1", "reference": "SECRET-1"});
    let strangers = hub.publish(named).await;
    let roles = hub.publish(to_role("CREW", 2)).await;
    let broadcast = hub.broadcast(to_user("ann", 3)).await;
    let (ann, crew) = (hub.token("ann", &[], &[]), hub.token("ann", &["CREW"], &[]));
    let unknown = uuid::Uuid::now_v7().to_string();
    for (token, id, expected) in [
        (&ann, id(&strangers), 404),
        (&ann, "SECRET-1", 404),
        (&ann, id(&roles), 404),
        (&ann, id(&broadcast), 404),
        (&ann, &unknown, 404),
        (&ann, "no-id", 404),
        (&ann, "%FF", 404),
        (&crew, id(&before), 404),
        (&crew, id(&roles), 200),
    ] {
        let path = format!("/notifications/{id}");
        let (status, problem) = get(&hub, token, &path).await;
        assert_eq!(status, expected, "{path}: {problem}");
        if expected == 404 {
            let due = "there is no such notification in this inbox";
            assert_eq!(problem["detail"], due, "{path}");
            let read = read(&hub, token, &format!("{path}/read"), json!({})).await;
            assert_eq!(read, 404, "{path}");
        }
    }
    let by_reference = page(&hub, &ann, "?reference=SECRET-1").await;
    assert_eq!(by_reference, json!({"notifications": []}));
    assert_eq!(told(&page(&hub, &ann, "").await), [""; 0]);
    hub.stop().await;
}

#[tokio::test]
async fn an_administrator_sees_an_inbox_as_its_user_would_with_these_roles_and_nobody_else_does() {
    let hub = TestHub::start().await;
    drop(hub.stream("ann", &["CREW", "OPS"]).await);
    let own = hub.publish(to_user("ann", 1)).await;
    hub.publish(to_role("CREW", 2)).await;
    hub.publish(to_role("OPS", 3)).await;
    let ann = hub.token("ann", &["CREW"], &[]);
    let path = format!("/notifications/{}", id(&own));
    assert_eq!(
        read(&hub, &ann, &format!("{path}/read"), json!({})).await,
        204
    );
    let scopes = |scope| [scope].into_iter().collect();
    let make = async |name, scope| {
        let key = hub.hub().create_key(name, scopes(scope)).await;
        key.expect("a key").0
    };
    let (key, publisher) = (
        make("admin", Scope::Admin).await,
        make("billing", Scope::Publish).await,
    );
    let root = hub.token("root", &["CREW"], &["admin"]);
    for admin in [&root, &key] {
        for (query, due) in [
            ("?user=ann", vec!["n1*"]),
            ("?user=ann&role=CREW", vec!["n2", "n1*"]),
            ("?user=ann&role=OPS&role=CREW", vec!["n3", "n2", "n1*"]),
            ("?user=ann&role=OPS&unread=true", vec!["n3"]),
            // Of whoever has never been there only what names them, whatever the roles.
            ("?user=bob&role=CREW", vec![]),
        ] {
            assert_eq!(told(&page(&hub, admin, query).await), due, "{query}");
        }
        let item = get(&hub, admin, &format!("{path}?user=ann")).await;
        assert_eq!((item.0, &item.1["read"]), (200, &json!(true)));
        assert_eq!(get(&hub, admin, &format!("{path}?user=bob")).await.0, 404);
    }
    let as_ann = page(&hub, &root, "?user=ann&role=CREW").await;
    assert_eq!(as_ann, page(&hub, &ann, "").await);
    // Without a name it is one's own; one's own name is no other's.
    assert_eq!(told(&page(&hub, &root, "").await), [""; 0]);
    assert_eq!(page(&hub, &ann, "?user=ann").await, as_ann);

    let backend = hub.token("backend", &[], &["publish"]);
    let strangers = "another user's inbox, or one's own with other roles, takes the scope admin";
    let keys = "an API key has no inbox; with the scope admin it may look into a user's: ?user=";
    for (token, query, why) in [
        (&ann, "?user=bob", strangers),
        (&ann, "?user=ann&role=OPS", strangers),
        (&backend, "?user=ann", strangers),
        (&publisher, "?user=ann", strangers),
        (&publisher, "", keys),
        (&key, "", keys),
    ] {
        let (status, problem) = get(&hub, token, &format!("/notifications{query}")).await;
        assert_eq!((status, &problem["detail"]), (403, &json!(why)), "{query}");
        let (status, problem) = get(&hub, token, &format!("{path}{query}")).await;
        assert_eq!(status, 403, "{query}: {problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_look_by_an_administrator_is_no_visit() {
    let hub = TestHub::start().await;
    let root = hub.token("root", &[], &["admin"]);
    page(&hub, &root, "?user=ann&role=CREW").await;
    hub.publish(to_role("CREW", 1)).await;
    idle(&hub).await;
    drop(hub.stream("ann", &["CREW"]).await);
    let page = page(&hub, &root, "?user=ann&role=CREW").await;
    assert_eq!((told(&page).len(), &page["unread"]), (0, &json!(0)));
    hub.stop().await;
}

#[tokio::test]
async fn an_application_that_embeds_the_hub_lists_inboxes_too() {
    let hub = TestHub::start().await;
    batch(
        &hub,
        (0..MAX_PAGE + 1)
            .map(|number| to_user("ann", number))
            .collect(),
    )
    .await;
    let ann = User {
        id: "ann".into(),
        roles: Arc::new([]),
        expires_at: Timestamp::MAX,
    };
    let listed = async |limit, before| {
        let query = InboxQuery {
            limit,
            before,
            ..InboxQuery::default()
        };
        hub.hub().inbox(&ann, query).await
    };
    let none = listed(0, None).await.expect("a page");
    assert_eq!(
        (none.notifications.len(), none.unread),
        (1, Unread::counted(MAX_PAGE + 1))
    );
    let most = listed(usize::MAX, None).await.expect("a page");
    assert_eq!(most.notifications.len(), MAX_PAGE);
    let last = listed(5, most.next_cursor).await.expect("a page");
    assert_eq!((last.notifications.len(), last.next_cursor), (1, None));
    let foreign = listed(5, Some("elsewhere-1".to_owned())).await;
    assert!(
        matches!(foreign, Err(InboxError::NotOfThisLog)),
        "{foreign:?}"
    );

    let one = last.notifications[0].notification_id;
    let which = || campanile::delivery::Which::Id(one);
    let item = hub
        .hub()
        .inbox_item(&ann, which())
        .await
        .expect("an answer");
    assert_eq!(
        item.map(|item| (item.notification_id, item.read)),
        Some((one, false))
    );
    let bob = User {
        id: "bob".into(),
        ..ann.clone()
    };
    let item = hub
        .hub()
        .inbox_item(&bob, which())
        .await
        .expect("an answer");
    assert!(item.is_none(), "{item:?}");
    hub.stop().await;
}

#[tokio::test]
async fn the_command_shows_an_inbox_beside_a_running_hub_and_without_one() {
    let hub = TestHub::start().await;
    drop(hub.stream("ann", &["CREW"]).await);
    let first = json!({
        "targetUserId": "ann", "title": "New order", "message": "m", "severity": "high", "module": "orders"
    });
    let first = hub.publish(first).await;
    batch(
        &hub,
        (0..2_050).map(|number| to_user("ann", number)).collect(),
    )
    .await;
    let last = json!({"targetRoles": ["CREW"], "message": "line\nbreak", "severity": "high"});
    let last = hub.publish(last).await;
    idle(&hub).await;
    let token = hub.token("ann", &["CREW"], &[]);
    let path = format!("/notifications/{}/read", id(&last));
    assert_eq!(read(&hub, &token, &path, json!({})).await, 204);
    let data = hub.data();
    let inbox = async |more: &[&str]| {
        let mut command = binary();
        let command = command.args(["inbox", "--user", "ann", "--role", "CREW", "--data"]);
        let output = command.arg(&data).args(more).output();
        let output = soon("its end", output).await.expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let words = text(output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}");
        text(output.stdout)
    };
    // What is far apart is found page by page.
    let high = ["--severity", "high"];
    let as_json = ["--severity", "high", "--limit", "1", "--json"];
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let shown = (
        inbox(&high).await,
        inbox(&as_json).await,
        inbox(&["--unread", "--module", "orders"]).await,
        inbox(&["--module", "nothing"]).await,
        inbox(&["--limit", "1000"]).await,
    );
    let table = lines(&shown.0);
    assert_eq!(table[0], "ann: 1000+ unread (*)");
    assert!(table[3].starts_with("  20"), "{table:?}");
    assert!(
        table[3].ends_with(&format!("{}  line break", id(&last))),
        "{table:?}"
    );
    assert!(table[4].starts_with("* 20"), "{table:?}");
    assert!(
        table[4].ends_with(&format!("high      orders  {}  New order", id(&first))),
        "{table:?}"
    );
    assert_eq!(table.len(), 5);
    let told: Value = serde_json::from_str(&shown.1).expect("JSON");
    assert_eq!(told["notifications"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        told["notifications"][0]["notificationId"],
        last["notificationId"]
    );
    assert_eq!(told["nextCursor"], last["eventId"]);
    assert_eq!(lines(&shown.2).len(), 4);
    assert_eq!(lines(&shown.3)[2], "nothing there");
    let many = lines(&shown.4);
    assert_eq!(
        (many.len(), many[1_003].as_str()),
        (1_004, "… and more (--limit)")
    );

    let stopped = hub.stop().await;
    let again = (
        inbox(&high).await,
        inbox(&as_json).await,
        inbox(&["--unread", "--module", "orders"]).await,
        inbox(&["--module", "nothing"]).await,
        inbox(&["--limit", "1000"]).await,
    );
    assert_eq!(again, shown);
    drop(stopped);
}
