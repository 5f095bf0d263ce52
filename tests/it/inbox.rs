//! An inbox can be listed: by its user, by nobody else but an administrator, and page by page without a gap.

mod command;
mod others;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use campanile::auth::User;
use campanile::clock::Timestamp;
use campanile::hub::InboxError;
use campanile::inbox::{InboxQuery, MAX_PAGE, Unread};
use serde_json::{Value, json};

use crate::support::{TestHub, soon, to_role, to_user};

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
        issued_at: None,
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
