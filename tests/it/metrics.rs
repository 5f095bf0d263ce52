//! What Prometheus is told of a hub: a text that any scraper reads, numbers that agree with what happened, and alert rules
//! and a dashboard that ask only for what is there.

mod address;
mod deploy;
mod scrape;

use std::time::Duration;

use campanile::Hub;
use campanile::auth::{Authenticator, Secret};
use campanile::config::Config;
use campanile::notification::{Draft, Kind};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::json;

use self::scrape::Scrape;
use crate::support::{Open, TestHub, soon, to_role, to_user};

/// What the hub tells now.
async fn scraped(hub: &Hub) -> Scrape {
    Scrape::parse(&soon("the metrics", hub.metrics()).await)
}

/// Waits until the numbers are as a test needs them.
async fn until(hub: &Hub, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let look = async {
        loop {
            let scrape = scraped(hub).await;
            if holds(&scrape) {
                return scrape;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(what, look).await
}

/// A hub that has done a little of everything.
async fn exercised() -> TestHub {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["CREW"]).await;
    hub.publish(to_user("ann", 1)).await;
    hub.broadcast(json!({"message": "all"})).await;
    hub.publish(to_user("nobody", 2)).await;
    hub.post("/notifications", &json!({"message": "for nobody"}))
        .await;
    ann.expect_next_message("n1").await;
    drop(ann);
    until(hub.hub(), "a failure", |s| {
        s.value("campanile_failed_recipients", &[]) == 1.0
    })
    .await;
    hub
}

#[tokio::test]
async fn what_happened_is_what_is_counted() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["CREW"]).await;
    let mut tab = hub.stream("ann", &[]).await;
    let _bob = hub.stream("bob", &[]).await;
    for number in 0..3 {
        hub.publish(to_user("ann", number)).await;
    }
    hub.publish(to_role("CREW", 3)).await;
    hub.broadcast(json!({"message": "all"})).await;
    hub.post("/notifications", &json!({"message": "for nobody"}))
        .await;
    let drafts = json!([to_user("bob", 4), {"message": "for nobody"}, {"misspelt": 1}]);
    hub.post("/notifications/batch", &drafts).await;
    assert_eq!(ann.messages(5).await, ["n0", "n1", "n2", "n3", "all"]);
    assert_eq!(tab.messages(4).await, ["n0", "n1", "n2", "all"]);
    hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
        .await;

    let told = scraped(hub.hub()).await;
    let published = |kind| told.value("campanile_publishes_total", &[("kind", kind)]);
    assert_eq!(published("notification"), 5.0);
    assert_eq!(published("broadcast"), 1.0);
    assert_eq!(published("ephemeral"), 0.0);
    let refused = |reason| told.value("campanile_publishes_refused_total", &[("reason", reason)]);
    assert_eq!((refused("invalid"), refused("busy")), (3.0, 0.0));
    // Three to both of ann's streams, one to the one of CREW, one to bob's, and one to all three.
    assert_eq!(told.value("campanile_deliveries_total", &[]), 11.0);
    assert_eq!(told.value("campanile_streams_open", &[]), 3.0);
    assert_eq!(told.value("campanile_users_connected", &[]), 2.0);
    assert_eq!(told.value("campanile_streams_opened_total", &[]), 3.0);
    assert_eq!(told.value("campanile_queue_depth", &[]), 0.0);
    assert_eq!(told.value("campanile_queue_oldest_age_seconds", &[]), 0.0);
    assert_eq!(told.value("campanile_ready", &[]), 1.0);
    assert_eq!(told.value("campanile_store_ready", &[]), 1.0);
    let kept = |kind| told.value("campanile_log_entries", &[("kind", kind)]);
    assert_eq!((kept("notification"), kept("broadcast")), (5.0, 1.0));
    let sum = told.value("campanile_commit_notifications_sum", &[]);
    assert_eq!(sum, 6.0, "each entry in one commit");
    assert_eq!(told.value("campanile_commits_failed_total", &[]), 0.0);

    let requests = |route, status| {
        let labels = [("route", route), ("status", status)];
        told.value("campanile_http_requests_total", &labels)
    };
    assert_eq!(requests("/notifications", "2xx"), 4.0);
    assert_eq!(requests("/notifications", "4xx"), 1.0);
    assert_eq!(requests("/notifications/batch", "2xx"), 1.0);
    assert_eq!(requests("/notifications/stream", "2xx"), 3.0);

    drop((ann, tab));
    let told = until(hub.hub(), "the end of two streams", |s| {
        s.value("campanile_streams_open", &[]) == 1.0
    })
    .await;
    let left = told.value("campanile_streams_ended_total", &[("reason", "client")]);
    assert_eq!(left, 2.0);
    hub.stop().await;
}

#[tokio::test]
async fn recipients_that_nobody_stands_for_are_owed_asked_and_given_up() {
    let hub =
        TestHub::with(|config| config.delivery.retry = vec![Duration::from_millis(30); 2]).await;
    hub.publish(json!({"targetUserIds": ["ann", "bob"], "message": "n1"}))
        .await;
    let told = until(hub.hub(), "both failures", |s| {
        s.value("campanile_failed_recipients", &[]) == 2.0
    })
    .await;
    assert_eq!(told.value("campanile_owed_recipients", &[]), 0.0);
    // Two recipients, two times each.
    until(hub.hub(), "their counts", |s| {
        s.value("campanile_retries_total", &[]) == 4.0
            && s.value("campanile_recipients_failed_total", &[]) == 2.0
    })
    .await;
    let mut ann = hub.stream("ann", &[]).await;
    ann.expect_next_message("n1").await;
    let told = until(hub.hub(), "one of them", |s| {
        s.value("campanile_failed_recipients", &[]) == 1.0
    })
    .await;
    // What is failed now goes down again; how many have failed does not.
    assert_eq!(told.value("campanile_recipients_failed_total", &[]), 2.0);
    hub.stop().await;
}

/// What is said to whoever gets no stream.
async fn refusal(hub: &TestHub, user: &str) -> String {
    let request = hub
        .client()
        .get(hub.url("/notifications/stream"))
        .bearer_auth(hub.token(user, &[], &[]))
        .header("accept", "text/event-stream");
    let answer = soon("an answer", request.send()).await.unwrap();
    soon("its end", answer.text()).await.unwrap()
}

#[tokio::test]
async fn streams_are_counted_by_why_they_ended_and_why_they_were_refused() {
    let hub = TestHub::with(|config| config.stream.per_user = 1).await;
    let token = hub.token_for("brief", &[], &[], Duration::from_secs(1));
    let mut brief = hub.open_stream(&token, Open::default()).await;
    let mut ann = hub.stream("ann", &[]).await;
    assert!(refusal(&hub, "ann").await.contains("\"busy\""));
    assert_eq!(
        brief.last_word().await.data["data"]["reason"],
        "token-expired"
    );
    drop(brief);
    soon("the drain", async {
        let hub = hub.hub().clone();
        let drained = tokio::spawn(async move { hub.drain().await });
        assert_eq!(ann.last_word().await.data["data"]["reason"], "draining");
        drop(ann);
        drained.await.unwrap();
    })
    .await;
    assert!(refusal(&hub, "bob").await.contains("\"draining\""));

    let told = scraped(hub.hub()).await;
    let ended = |reason| told.value("campanile_streams_ended_total", &[("reason", reason)]);
    let refused = |reason| told.value("campanile_streams_refused_total", &[("reason", reason)]);
    assert_eq!((ended("token-expired"), ended("draining")), (1.0, 1.0));
    assert_eq!((refused("user"), refused("draining")), (1.0, 1.0));
    let all: f64 = told
        .samples("campanile_streams_ended_total")
        .map(|(_, ended)| ended)
        .sum();
    assert_eq!(all, told.value("campanile_streams_opened_total", &[]));
    assert_eq!(told.value("campanile_ready", &[]), 0.0);
    assert_eq!(told.value("campanile_store_ready", &[]), 1.0);
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_read_is_behind_until_it_does() {
    const TOTAL: usize = 100;
    let hub = TestHub::with(|config| {
        config.stream.send_buffer = 16 * 1024;
        config.stream.heartbeat = Duration::from_secs(1);
    })
    .await;
    let small = Open {
        receive_buffer: Some(4 * 1024),
        ..Open::default()
    };
    let mut slow = hub.open_stream(&hub.token("slow", &[], &[]), small).await;
    let _quick = hub.stream("quick", &[]).await;
    let text = "x".repeat(4_000);
    let drafts: Vec<_> = (0..TOTAL)
        .map(|number| json!({"targetUserId": "slow", "message": format!("{number} {text}")}))
        .collect();
    hub.post("/notifications/batch", &json!(drafts)).await;
    until(hub.hub(), "one behind", |s| {
        s.value("campanile_streams_behind", &[]) == 1.0
    })
    .await;
    assert_eq!(slow.messages(TOTAL).await.len(), TOTAL);
    until(hub.hub(), "none behind", |s| {
        s.value("campanile_streams_behind", &[]) == 0.0
    })
    .await;
    hub.stop().await;
}

#[tokio::test]
async fn what_waits_for_the_fan_out_has_a_depth_and_an_age_that_grows() {
    let hub = TestHub::with(|config| config.delivery.pace = Duration::from_secs(60)).await;
    let drafts: Vec<_> = (0..4).map(|number| to_user("ann", number)).collect();
    hub.post("/notifications/batch", &json!(drafts)).await;
    let age = |scrape: &Scrape| scrape.value("campanile_queue_oldest_age_seconds", &[]);
    let first = until(hub.hub(), "an age", |s| age(s) > 0.0).await;
    let depth = first.value("campanile_queue_depth", &[]);
    assert!((3.0..=4.0).contains(&depth), "{depth}");
    until(hub.hub(), "a greater age", |s| age(s) > age(&first)).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_write_shows_in_its_commits_and_in_what_was_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        max_pages: Some(100),
        ..SqliteOptions::default()
    };
    let opened = SqliteStore::open(&directory.path().join("full.db"), options).unwrap();
    let secret = Secret::load_or_create(&directory.path().join("secret")).unwrap();
    let config = Config::default();
    let hub = Hub::start(opened, &config, Authenticator::new(secret, &config.auth))
        .await
        .unwrap();
    let mut stored = 0.0;
    loop {
        let draft = Draft {
            target_user_id: Some("ann".to_owned()),
            message: "x".repeat(4_000),
            ..Draft::default()
        };
        let now = campanile::clock::Timestamp::now();
        let notification = draft
            .validate(Kind::Notification, "test".into(), now)
            .unwrap();
        match soon("an answer", hub.publish(notification)).await {
            Ok(_) => stored += 1.0,
            Err(_) => break,
        }
    }
    let told = scraped(&hub).await;
    assert!(told.value("campanile_commits_failed_total", &[]) >= 1.0);
    let unavailable = [("reason", "store_unavailable")];
    assert_eq!(
        told.value("campanile_publishes_refused_total", &unavailable),
        1.0
    );
    let notification = [("kind", "notification")];
    assert_eq!(
        told.value("campanile_publishes_total", &notification),
        stored
    );

    hub.close().await;
    let told = scraped(&hub).await;
    assert_eq!(told.value("campanile_store_ready", &[]), 0.0);
    // Not zero: not known.
    assert_eq!(told.find("campanile_failed_recipients", &[]), None);
    assert!(told.0.contains_key("campanile_failed_recipients"));
}

#[tokio::test]
async fn counters_only_rise_and_each_bucket_holds_those_below() {
    let hub = exercised().await;
    let first = scraped(hub.hub()).await;
    hub.publish(to_user("nobody", 3)).await;
    hub.broadcast(json!({"message": "again"})).await;
    let second = scraped(hub.hub()).await;
    for (name, family) in &first.0 {
        if family.kind == "gauge" {
            continue;
        }
        for (line, labels, value) in &family.samples {
            let mut later = second.samples(line).filter(|(other, _)| *other == labels);
            let (_, later) = later.next().expect("a series stays");
            assert!(
                later >= *value,
                "{line}{labels:?} fell from {value} to {later}"
            );
        }
        if family.kind == "histogram" {
            let buckets: Vec<(f64, f64)> = second
                .samples(&format!("{name}_bucket"))
                .map(|(labels, count)| {
                    (labels["le"].replace("+Inf", "inf").parse().unwrap(), count)
                })
                .collect();
            assert!(
                buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{buckets:?}"
            );
            let (last, all) = *buckets.last().expect("buckets");
            assert!(last.is_infinite());
            assert_eq!(all, second.value(&format!("{name}_count"), &[]));
            assert!(second.value(&format!("{name}_sum"), &[]) >= 0.0);
        }
    }
    let count = "campanile_commit_duration_seconds_count";
    assert!(second.value(count, &[]) >= first.value(count, &[]) + 2.0);
    assert!(second.value("campanile_commit_duration_seconds_sum", &[]) > 0.0);
    hub.stop().await;
}

#[tokio::test]
async fn requests_are_counted_by_pattern_and_never_by_what_stands_in_a_path() {
    let hub = TestHub::start().await;
    let token = hub.token("a-certain-user", &[], &[]);
    for path in ["/notifications/a-certain-id/read", "/a-certain-path"] {
        let request = hub.client().post(hub.url(path)).bearer_auth(&token);
        soon("an answer", request.send()).await.unwrap();
    }
    let _stream = hub.stream("a-certain-user", &["A_CERTAIN_ROLE"]).await;
    let text = hub.hub().metrics().await;
    let told = Scrape::parse(&text);
    let answered = |route| {
        let labels = [("route", route), ("status", "4xx")];
        told.value("campanile_http_requests_total", &labels)
    };
    assert_eq!(answered("/notifications/{id}/read"), 1.0);
    assert_eq!(answered("none"), 1.0);
    assert!(!text.to_lowercase().contains("certain"), "{text}");
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_within_another_application_counts_its_routes_by_its_own_patterns() {
    let own = TestHub::start().await;
    own.status().await;
    let hub = campanile::http::router(own.hub().clone(), &Config::default());
    let app = axum::Router::new().nest("/hub", hub);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let admin = own.token("admin", &[], &["admin"]);
    let status = |path: &str| {
        let request = own
            .client()
            .get(format!("{base}{path}"))
            .bearer_auth(&admin);
        async move {
            soon("an answer", request.send())
                .await
                .unwrap()
                .status()
                .as_u16()
        }
    };
    assert_eq!(status("/hub/notifications/status").await, 200);
    // Its numbers are the application's to tell.
    assert_eq!(status("/hub/metrics").await, 404);
    let told = scraped(own.hub()).await;
    let labels = [("route", "/notifications/status"), ("status", "2xx")];
    assert_eq!(told.value("campanile_http_requests_total", &labels), 2.0);
    serving.abort();
    own.stop().await;
}
