//! Clients that take their time: each has a limit for each thing that it can be slow at, however busy it looks.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Besieged;
use crate::support::{EventStream, Open, Wire, soon};

/// Sends a byte now and then until the hub has had enough; what it said to that.
async fn drip(wire: Wire) -> String {
    let (mut read, mut write) = wire.socket.into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = soon("the end of patience", read.read_to_end(&mut answer)).await;
    dripping.abort();
    String::from_utf8(answer).expect("UTF-8")
}

#[tokio::test]
async fn headers_that_come_byte_by_byte_are_waited_for_no_longer_than_others() {
    let mut besieged =
        Besieged::with(|config| config.serve.header_timeout = Duration::from_secs(1)).await;
    let mut wire = Wire::to(besieged.hub.addr()).await;
    wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await;
    let dripping = tokio::spawn(drip(wire));
    besieged.serves().await;
    let answer = dripping.await.expect("it ends");
    assert!(!answer.contains(" 200 "), "{answer}");
    besieged.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_waited_for_no_longer_than_others() {
    let mut besieged =
        Besieged::with(|config| config.serve.body_timeout = Duration::from_secs(1)).await;
    let token = besieged.hub.token("p", &[], &["publish"]);
    for length in ["Content-Length: 60000", "Transfer-Encoding: chunked"] {
        let mut wire = Wire::to(besieged.hub.addr()).await;
        wire.send(&format!(
            "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{length}\r\n\r\n"
        ))
        .await;
        if length.starts_with('T') {
            wire.send("ea60\r\n").await;
        }
        let dripping = tokio::spawn(drip(wire));
        besieged.serves().await;
        let answer = dripping.await.expect("it ends");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{length}: {answer}");
    }
    besieged.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_never_reads_is_cut_off() {
    let mut besieged =
        Besieged::with(|config| config.stream.idle_limit = Duration::from_secs(1)).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(4 * 1024)
        .expect("a small buffer");
    let mut socket = socket
        .connect(besieged.hub.addr())
        .await
        .expect("a connection");
    let asking = async {
        // Until the hub takes no more, and then no longer is there.
        let requests = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
        while socket.write_all(requests.as_bytes()).await.is_ok() {}
    };
    soon("to be cut off", asking).await;
    besieged.serves().await;
    besieged.stop().await;
}

#[tokio::test]
async fn streams_that_are_read_byte_by_byte_hold_up_nobody_and_are_not_cut_off() {
    let mut besieged = Besieged::with(|config| {
        config.stream.send_buffer = 4_096;
        config.stream.idle_limit = Duration::from_secs(2);
    })
    .await;
    let mut readers = Vec::new();
    for number in 0..20 {
        let open = Open {
            receive_buffer: Some(4 * 1024),
            ..Open::default()
        };
        let token = besieged
            .hub
            .token(&format!("slow-{number}"), &["SLOW"], &[]);
        let stream = EventStream::request(besieged.hub.addr(), &token, open).await;
        readers.push(tokio::spawn(one_by_one(stream.into_socket())));
    }
    let text = "x".repeat(4_000);
    for _ in 0..10 {
        let drafts = vec![serde_json::json!({"targetRoles": ["SLOW"], "message": text}); 10];
        let (status, _) = besieged
            .hub
            .post("/notifications/batch", &serde_json::json!(drafts))
            .await;
        assert_eq!(status, 200);
        besieged.serves().await;
    }
    for reader in readers {
        let read = soon("a slow reader", reader).await.expect("no panic");
        assert_eq!(read, BYTES, "it was cut off");
    }
    besieged.stop().await;
}

/// How much a slow reader reads.
const BYTES: usize = 30_000;

async fn one_by_one(mut socket: impl AsyncRead + Unpin) -> usize {
    let mut byte = [0];
    for read in 0..BYTES {
        if !matches!(socket.read(&mut byte).await, Ok(1)) {
            return read;
        }
        if read % 1_000 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    BYTES
}
