//! Where the metrics can be read, and by whom.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scrape::Scrape;
use crate::support::{BinaryHub, TestHub, binary, soon};

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[tokio::test]
async fn the_hubs_own_address_tells_them_to_administrators_alone() {
    let hub = TestHub::start().await;
    let get = || hub.client().get(hub.url("/metrics"));
    let status = |request: reqwest::RequestBuilder| async {
        soon("an answer", request.send())
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status(get()).await, 401);
    let reader = hub.token("42", &[], &[]);
    assert_eq!(status(get().bearer_auth(reader)).await, 403);
    let publisher = hub.token("42", &[], &["publish"]);
    assert_eq!(status(get().bearer_auth(publisher)).await, 403);

    let admin = hub.token("42", &[], &["admin"]);
    let answer = soon("an answer", get().bearer_auth(admin).send())
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["content-type"], MEDIA_TYPE);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let told = Scrape::parse(&answer.text().await.unwrap());
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(told.value("campanile_build_info", &labels), 1.0);
    hub.stop().await;
}

/// A request by hand, and all that comes until the end.
async fn asked(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket
        .write_all(request.as_bytes())
        .await
        .expect("it is taken");
    rest(socket).await
}

async fn rest(mut socket: TcpStream) -> String {
    let mut answer = String::new();
    let _ = soon("the end", socket.read_to_string(&mut answer)).await;
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_second_address_has_metrics_and_liveness_and_nothing_else() {
    let hub = TestHub::with(|config| {
        config.serve.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
        config.serve.header_timeout = Duration::from_secs(3);
    })
    .await;
    let address = hub.metrics_addr().expect("a second address");
    assert_ne!(address, hub.addr());

    let answer = asked(address, &get("/metrics")).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains(&format!("content-type: {MEDIA_TYPE}\r\n")),
        "{head}"
    );
    assert_eq!(Scrape::parse(body).value("campanile_ready", &[]), 1.0);
    let answer = asked(address, &get("/healthz")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for (method, path, _) in campanile::http::route_table() {
        if path == "/metrics" || path == "/healthz" {
            continue;
        }
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = asked(address, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 Not Found\r\n"),
            "{method} {path}: {answer}"
        );
    }

    // Whoever says nothing is closed; whoever comes on top of sixteen is told so.
    let mut silent = Vec::new();
    for _ in 0..16 {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        socket.write_all(b"GET /met").await.expect("it is taken");
        silent.push(socket);
    }
    let crowded = asked(address, &get("/metrics")).await;
    assert!(crowded.starts_with("HTTP/1.1 503 "), "{crowded}");
    for socket in silent {
        assert!(!rest(socket).await.contains("200 OK"));
    }
    let answer = asked(address, &get("/metrics")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    hub.stop().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it still listens"
    );
}

#[tokio::test]
async fn the_second_address_tells_how_a_hub_stops() {
    let mut hub = TestHub::with(|config| {
        config.serve.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let address = hub.metrics_addr().expect("a second address");
    // A client that does not go keeps it from ending at once.
    let mut stays = hub.stream("ann", &[]).await;
    hub.begin_to_stop();
    assert_eq!(stays.last_word().await.kind(), "bye");
    let answer = asked(address, &get("/metrics")).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(Scrape::parse(body).value("campanile_ready", &[]), 0.0);
    drop(stays);
    hub.stop().await;
}

#[tokio::test]
async fn a_second_address_that_is_taken_or_none_is_one_line() {
    let data = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let serve = |listen: &str, metrics: &str| {
        let output = binary()
            .args([
                "serve",
                "--listen",
                listen,
                "--metrics-listen",
                metrics,
                "--data",
            ])
            .arg(data.path())
            .output();
        async move {
            let output = soon("its end", output).await.expect("it runs");
            let words = String::from_utf8(output.stderr).expect("text");
            assert_eq!(words.lines().count(), 1, "{words}");
            assert_eq!(output.stdout, b"");
            (output.status.code(), words)
        }
    };
    let (code, words) = serve("127.0.0.1:0", &taken).await;
    assert!(
        words.contains(&format!("cannot listen on {taken}: ")),
        "{words}"
    );
    // The same as for the first address.
    assert_eq!(code, serve(&taken, "127.0.0.1:0").await.0);
    let (code, words) = serve("127.0.0.1:0", "9400").await;
    assert_eq!(code, Some(2));
    assert!(
        words.contains("--metrics-listen: serve.metrics_listen: must be an IP address and a port"),
        "{words}"
    );
    drop(holder);

    // Nothing of all that is in the way of the next start.
    let hub = BinaryHub::serve(data.path(), &["--metrics-listen", "127.0.0.1:0"]).await;
    assert_eq!(hub.terminate().await, Some(0));
}
