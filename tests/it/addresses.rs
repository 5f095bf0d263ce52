//! One network address cannot have everything, and whoever has too much is told so in a way that they survive.

use std::time::Duration;

use campanile::config::Config;
use serde_json::{Value, json};

use crate::support::{TestHub, Wire, get_stream, soon};

/// What a hub answers to a request on a connection of its own, until it closes.
async fn asked(hub: &TestHub, request: &str) -> String {
    String::from_utf8(hub.raw(request.as_bytes()).await).expect("UTF-8")
}

/// A stream that a proxy passes on for a client.
async fn passed_on(hub: &TestHub, user: &str, forwarded_for: &str) -> Wire {
    let mut wire = Wire::to(hub.addr()).await;
    let lines = format!("X-Forwarded-For: {forwarded_for}\r\n");
    wire.send(&get_stream(&hub.token(user, &[], &[]), "1.1", &lines))
        .await;
    wire
}

async fn told(hub: &TestHub, line: &str) {
    let metrics = soon("the metrics", hub.hub().metrics()).await;
    assert!(
        metrics.lines().any(|told| told == line),
        "{line}: {metrics}"
    );
}

#[tokio::test]
async fn an_address_holds_so_many_streams_and_no_more_whoever_they_are_for() {
    let hub = TestHub::with(|config| config.stream.per_address = 2).await;
    let mut open = Vec::new();
    for (user, address) in [
        ("ann", "2001:db8:0:7::1"),
        ("bob", "1.1.1.1, 2001:db8:0:7::2"),
        ("cid", "2001:db8:0:8::1"),
        ("dan", "203.0.113.5"),
    ] {
        let mut wire = passed_on(&hub, user, address).await;
        wire.until("\"type\":\"connected\"").await;
        open.push(wire);
    }

    let refused = passed_on(&hub, "eve", "2001:db8:0:7::3")
        .await
        .until("\n\n")
        .await;
    assert!(refused.starts_with("HTTP/1.1 200 OK\r\n"), "{refused}");
    assert!(refused.contains("retry: 60000\n"), "{refused}");
    assert!(refused.contains("\"reason\":\"busy\""), "{refused}");

    // Whoever is no EventSource gets a status.
    let request = get_stream(
        &hub.token("eve", &[], &[]),
        "1.1",
        "X-Forwarded-For: 2001:db8:0:7::3\r\nConnection: close\r\n",
    );
    let request = request.replace("Accept: text/event-stream\r\n", "");
    let refused = asked(&hub, &request).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("retry-after: 60\r\n"), "{refused}");
    told(
        &hub,
        "campanile_streams_refused_total{reason=\"address\"} 2",
    )
    .await;

    // The place is free again with the stream that had it.
    drop(open.remove(0));
    hub.until("a place", |status| status["streams"]["total"] == 3)
        .await;
    let mut wire = passed_on(&hub, "eve", "2001:db8:0:7::3").await;
    wire.until("\"type\":\"connected\"").await;
    hub.stop().await;
}

#[tokio::test]
async fn what_a_stranger_writes_into_x_forwarded_for_frees_it_of_nothing() {
    let hub = TestHub::with(|config| {
        config.serve.trusted_proxies.clear();
        config.stream.per_address = 1;
    })
    .await;
    let mut first = passed_on(&hub, "ann", "203.0.113.1").await;
    first.until("\"type\":\"connected\"").await;
    let second = passed_on(&hub, "bob", "203.0.113.2")
        .await
        .until("\n\n")
        .await;
    assert!(second.contains("\"reason\":\"busy\""), "{second}");
    hub.stop().await;
}

#[tokio::test]
async fn a_trusted_proxy_is_not_counted_itself() {
    let hub = TestHub::with(|config| {
        config.serve.per_address = 1;
        config.stream.per_address = 1;
    })
    .await;
    let mut open = Vec::new();
    for user in ["ann", "bob", "cid"] {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(&get_stream(&hub.token(user, &[], &[]), "1.1", ""))
            .await;
        wire.until("\"type\":\"connected\"").await;
        open.push(wire);
    }
    let _silent = [Wire::to(hub.addr()).await, Wire::to(hub.addr()).await];
    let answer = hub
        .publish(json!({"targetUserId": "ann", "message": "m"}))
        .await;
    assert_eq!(answer["duplicate"], false);
    hub.stop().await;
}

#[tokio::test]
async fn an_address_holds_so_many_connections_and_its_streams_are_counted_elsewhere() {
    let hub = TestHub::with(|config| {
        config.serve.trusted_proxies.clear();
        config.serve.per_address = 2;
        config.stream.per_address = 5;
    })
    .await;
    let mut streams = Vec::new();
    for user in ["ann", "bob", "cid"] {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(&get_stream(&hub.token(user, &[], &[]), "1.1", ""))
            .await;
        wire.until("\"type\":\"connected\"").await;
        streams.push(wire);
    }
    let healthz = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    let mut held = [Wire::to(hub.addr()).await, Wire::to(hub.addr()).await];
    for wire in &mut held {
        wire.send(&format!("{healthz}\r\n")).await;
        wire.until("{\"status\":\"ok\"}").await;
    }
    let refused = asked(&hub, &format!("{healthz}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    let (head, body) = refused.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains("retry-after: 60"), "{head}");
    let problem: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["status"], 429);

    let eventsource = asked(&hub, &get_stream(&hub.token("dan", &[], &[]), "1.1", "")).await;
    assert!(
        eventsource.starts_with("HTTP/1.1 200 OK\r\n"),
        "{eventsource}"
    );
    assert!(eventsource.contains("retry: 60000\n"), "{eventsource}");
    told(
        &hub,
        "campanile_connections_refused_total{reason=\"address\"} 2",
    )
    .await;
    // No route has seen them.
    for status in ["2xx", "4xx"] {
        let line = format!(r#"campanile_http_requests_total{{route="none",status="{status}"}} 0"#);
        told(&hub, &line).await;
    }

    // One that ends makes room for another.
    drop(held);
    let room = async {
        let request = format!("{healthz}Connection: close\r\n\r\n");
        while !asked(&hub, &request).await.starts_with("HTTP/1.1 200 OK") {}
    };
    soon("room for another", room).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_refusal_can_be_read_by_a_page_of_another_origin() {
    let hub = TestHub::with(|config| {
        config.serve.max_connections = 2;
        config.serve.cors_origins = vec!["https://app.example.com".to_owned()];
    })
    .await;
    let _held = [Wire::to(hub.addr()).await, Wire::to(hub.addr()).await];
    let origin = "Origin: https://app.example.com\r\n";
    let request = get_stream(&hub.token("ann", &[], &[]), "1.1", origin);
    let refused = asked(&hub, &request).await;
    assert!(refused.contains("\"reason\":\"busy\""), "{refused}");
    assert!(
        refused.contains("access-control-allow-origin: https://app.example.com\r\n"),
        "{refused}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_crowd_that_is_refused_and_says_nothing_is_closed_soon() {
    let hub = TestHub::with(|config| {
        config.serve.max_connections = 1;
        config.serve.header_timeout = Duration::from_secs(300);
    })
    .await;
    let _held = Wire::to(hub.addr()).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(Wire::to(hub.addr()).await);
    }
    for wire in crowd {
        assert_eq!(wire.rest().await, "");
    }
    hub.stop().await;
}

#[test]
fn a_proxy_is_named_by_an_address_or_a_block() {
    let mut config = Config::default();
    config.serve.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a block"); 101];
    let refused = config.validate().expect_err("too many");
    assert_eq!(
        refused.to_string(),
        "serve.trusted_proxies: must be 0 to 100, not 101"
    );
    let parsed = toml::from_str::<Config>("[serve]\ntrusted_proxies = [\"proxy.example\"]");
    let error = parsed.expect_err("a name is no address").to_string();
    assert!(error.contains("must be a block of addresses"), "{error}");
}

#[test]
fn what_the_readme_shows_of_nginx_stands_in_the_file_that_is_tested() {
    const README: &str = include_str!("../../README.md");
    const FILE: &str = include_str!("../nginx/campanile.conf");
    fn directives(text: &str) -> impl Iterator<Item = &str> {
        let lines = text.lines();
        let lines = lines.map(|line| line.split('#').next().unwrap_or("").trim());
        lines.filter(|line| line.ends_with(';') || line.ends_with('{'))
    }
    let file: Vec<&str> = directives(FILE).collect();
    let blocks = README.split("```nginx\n").skip(1);
    let shown: Vec<&str> = blocks
        .filter_map(|block| block.split("```").next())
        .flat_map(directives)
        .collect();
    assert!(shown.len() >= 7, "{shown:?}");
    assert!(
        shown.iter().any(|it| it.contains("X-Forwarded-For")),
        "{shown:?}"
    );
    for line in shown {
        assert!(file.contains(&line), "{line} is not in the file: {file:?}");
    }
}
