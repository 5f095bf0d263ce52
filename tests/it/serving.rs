//! The hub's own server: slow, silent, pipelining and crowding clients, sockets that change hands, and stopping in order.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use campanile::Hub;
use campanile::auth::{Authenticator, Secret};
use campanile::config::Config;
use campanile::server::{self, OpenError, Server};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{TestHub, Wire, get_stream, soon};

fn post(token: &str, draft: &Value, more: &str) -> (String, String) {
    let body = draft.to_string();
    let head = format!(
        "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    (head, body)
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_headers_is_closed() {
    let hub = TestHub::with(|config| config.serve.header_timeout = Duration::from_secs(1)).await;
    for begun in ["", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(begun).await;
        let answer = wire.rest().await;
        assert!(
            !answer.contains("200 OK"),
            "{begun:?} was answered {answer}"
        );
    }
    // Nor may a connection be kept open for ever between two requests.
    let mut wire = Wire::to(hub.addr()).await;
    wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = wire.rest().await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    hub.stop().await;
}

#[tokio::test]
async fn requests_that_are_pipelined_before_a_stream_are_answered_before_it() {
    let hub = TestHub::start().await;
    let mut wire = Wire::to(hub.addr()).await;
    let token = hub.token("42", &[], &["publish"]);
    let (head, body) = post(&token, &json!({"targetUserId": "7", "message": "m"}), "");
    wire.send(&format!(
        "{head}{body}{head}{body}{}",
        get_stream(&token, "1.1", "")
    ))
    .await;
    for _ in 0..2 {
        assert!(
            wire.until("\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 201 Created\r\n")
        );
        wire.until("\"duplicate\":false}").await;
    }
    let head = wire.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    for header in [
        "content-type: text/event-stream; charset=utf-8",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "referrer-policy: no-referrer",
    ] {
        assert!(
            head.contains(&format!("{header}\r\n")),
            "{header} is missing: {head}"
        );
    }
    wire.until("\"type\":\"connected\"").await;
    hub.publish(json!({"targetUserId": "42", "message": "after the others"}))
        .await;
    wire.until("after the others").await;
    hub.stop().await;
}

#[tokio::test]
async fn bytes_behind_the_request_for_a_stream_close_the_connection() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &[], &[]);
    let mut wire = Wire::to(hub.addr()).await;
    wire.send(&format!(
        "{}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        get_stream(&token, "1.1", "")
    ))
    .await;
    let answer = wire.rest().await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!answer.contains("connected"), "{answer}");
    hub.until("no streams", |status| status["streams"]["total"] == 0)
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_over_http_1_0_has_no_chunks_and_lasts_until_the_close() {
    let hub = TestHub::start().await;
    let mut wire = Wire::to(hub.addr()).await;
    wire.send(&get_stream(&hub.token("42", &[], &[]), "1.0", ""))
        .await;
    let head = wire.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(
        !head.contains("transfer-encoding") && !head.contains("content-length"),
        "{head}"
    );
    let first = wire.until("\n\n").await;
    assert!(first.starts_with("retry: "), "{first}");
    let second = wire.until("\n\n").await;
    assert!(second.starts_with("event: status\n"), "{second}");
    hub.publish(json!({"targetUserId": "42", "message": "m"}))
        .await;
    assert!(wire.until("\n\n").await.starts_with("id: "));
    hub.stop().await;
    let rest = wire.rest().await;
    assert!(
        rest.starts_with("retry: ") && rest.ends_with("\n\n"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_stream_asked_for_with_a_body_is_served_all_the_same() {
    let hub = TestHub::start().await;
    let mut wire = Wire::to(hub.addr()).await;
    let request = get_stream(&hub.token("42", &[], &[]), "1.1", "");
    let request = request.replace("Accept:", "Content-Length: 2\r\nAccept:");
    wire.send(&format!("{request}{{}}")).await;
    wire.until("\"type\":\"connected\"").await;
    hub.publish(json!({"targetUserId": "42", "message": "here"}))
        .await;
    wire.until("here").await;
    drop(wire);
    hub.until("no streams", |status| status["streams"]["total"] == 0)
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_its_stream_begins_leaves_nothing_behind() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &[], &[]);
    for _ in 0..30 {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(&get_stream(&token, "1.1", "")).await;
    }
    hub.until("no streams", |status| status["streams"]["total"] == 0)
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_still_gets_its_refusal() {
    let hub = TestHub::start().await;
    let length = 4 * 1024 * 1024;
    for (credential, expected) in [
        (String::new(), "HTTP/1.1 401 "),
        (
            format!(
                "Authorization: Bearer {}\r\n",
                hub.token("p", &[], &["publish"])
            ),
            "HTTP/1.1 413 ",
        ),
    ] {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(&format!(
            "POST /notifications HTTP/1.1\r\nHost: x\r\n{credential}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        ))
        .await;
        wire.send(&" ".repeat(length)).await;
        let answer = wire.rest().await;
        assert!(answer.starts_with(expected), "{answer}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn over_the_cap_a_connection_is_told_503_and_a_stream_counts_as_long_as_it_is_open() {
    let hub = TestHub::with(|config| config.serve.max_connections = 4).await;
    let token = hub.token("42", &[], &[]);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::to(hub.addr()).await;
        wire.send(&get_stream(&token, "1.1", "")).await;
        wire.until("\"type\":\"connected\"").await;
        streams.push(wire);
    }
    let idle = [Wire::to(hub.addr()).await, Wire::to(hub.addr()).await];
    let refused = hub.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let refused = String::from_utf8(refused).expect("UTF-8");
    assert!(
        refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{refused}"
    );
    let (head, body) = refused.split_once("\r\n\r\n").expect("a head and a body");
    assert!(
        head.contains("retry-after: 5\r\n") && head.contains("connection: close\r\n"),
        "{head}"
    );
    let problem: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["status"], 503);

    // An EventSource would never come back from that.
    let mut eventsource = Wire::to(hub.addr()).await;
    eventsource.send(&get_stream(&token, "1.1", "")).await;
    let told = eventsource.rest().await;
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    assert!(
        told.contains("retry: ") && told.contains("\"busy\""),
        "{told}"
    );

    drop(streams);
    let room = async {
        loop {
            let answer = hub
                .raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await;
            if answer.starts_with(b"HTTP/1.1 200 OK") {
                return;
            }
        }
    };
    soon("room for another", room).await;
    drop(idle);
    hub.stop().await;
}

#[tokio::test]
async fn a_publish_in_flight_is_finished_while_the_hub_stops() {
    let mut hub = TestHub::start().await;
    let mut stream = hub.stream("7", &[]).await;
    let (head, body) = post(
        &hub.token("p", &[], &["publish"]),
        &json!({"targetUserId": "42", "message": "just in time"}),
        "Expect: 100-continue\r\n",
    );
    let mut wire = Wire::to(hub.addr()).await;
    wire.send(&head).await;
    // The hub asks for the body: the request is in its hands.
    assert_eq!(
        wire.until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    hub.begin_to_stop();
    assert_eq!(stream.last_word().await.data["data"]["reason"], "draining");
    let closed = async { while TcpStream::connect(hub.addr()).await.is_ok() {} };
    soon("the end of listening", closed).await;

    wire.send(&body).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let hub = hub.stop().await.restart().await;
    assert_eq!(hub.status().await["stored"]["notifications"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_cut_at_the_deadline() {
    let hub = TestHub::with(|config| config.serve.drain = Duration::from_millis(200)).await;
    let (head, _) = post(
        &hub.token("p", &[], &["publish"]),
        &json!({"targetUserId": "42", "message": "never"}),
        "Expect: 100-continue\r\n",
    );
    let mut wire = Wire::to(hub.addr()).await;
    wire.send(&head).await;
    wire.until("\r\n\r\n").await;
    hub.stop().await;
    assert_eq!(wire.rest().await, "");
}

#[tokio::test]
async fn a_data_directory_has_one_hub_and_says_where_it_is() {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.serve.listen = "127.0.0.1:0".parse().unwrap();
    config.serve.data = data.path().join("data");
    let server = Server::open(config.clone()).await.expect("the hub opens");
    let base = format!("http://{}", server.local_addr());
    let announced = std::fs::read_to_string(config.serve.address_path()).unwrap();
    assert_eq!(announced.trim_end(), base);
    assert!(
        server
            .console_link()
            .starts_with(&format!("{base}/sign-in?code="))
    );
    let mode = std::fs::metadata(&config.serve.data)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    let second = Server::open(config.clone()).await.err().expect("a refusal");
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.is_store() && !second.is_config());

    let mut elsewhere = config.clone();
    elsewhere.serve.data = data.path().join("other");
    elsewhere.serve.listen = server.local_addr();
    let taken = Server::open(elsewhere).await.err().expect("a refusal");
    assert!(matches!(taken, OpenError::Listen { .. }), "{taken}");
    assert!(!taken.is_store() && !taken.is_config());

    let mut wrong = config.clone();
    wrong.stream.heartbeat = Duration::ZERO;
    assert!(
        Server::open(wrong)
            .await
            .err()
            .expect("a refusal")
            .is_config()
    );

    soon("the end", server.run(std::future::ready(())))
        .await
        .expect("an orderly stop");
    assert!(!config.serve.address_path().exists());
    let again = Server::open(config).await.expect("the lock is free again");
    soon("the end", again.run(std::future::ready(())))
        .await
        .expect("an orderly stop");
}

#[tokio::test]
async fn a_hub_made_by_hand_is_served_on_any_listener() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::default();
    let opened = SqliteStore::open(&data.path().join("hub.db"), SqliteOptions::default()).unwrap();
    let authenticator = Authenticator::new(Secret::random(), &config.auth);
    let hub = Hub::start(opened, &config, authenticator).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        server::serve(listener, hub, &config, shutdown).await
    });
    let mut wires = [Wire::to(addr).await, Wire::to(addr).await];
    for wire in &mut wires {
        wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        wire.until(r#"{"status":"ok"}"#).await;
    }
    stop.send(()).unwrap();
    soon("the end", serving)
        .await
        .unwrap()
        .expect("an orderly stop");
}
