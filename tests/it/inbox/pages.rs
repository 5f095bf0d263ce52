//! Page by page, filtered, without a gap; and what cannot be asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{batch, get, id, page, pages, read, told};
use crate::support::{TestHub, to_role, to_user};

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
