//! Thousands of connections that say nothing, and many that break off: they are let go of in time, and meanwhile everybody
//! else is served.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Besieged;
use crate::support::{Wire, get_stream, soon};

/// As many as the process can hold at both ends, up to four thousand.
fn crowd() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(20_000);
    usize::try_from(limit.saturating_sub(1_000) / 4).map_or(4_000, |most| most.min(4_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_say_nothing_are_let_go_of_and_nobody_else_notices() {
    let mut besieged =
        Besieged::with(|config| config.serve.header_timeout = Duration::from_secs(3)).await;
    let mut silent = Vec::new();
    for number in 0..crowd() {
        silent.push(
            TcpStream::connect(besieged.hub.addr())
                .await
                .expect("a connection"),
        );
        if number % 500 == 0 {
            besieged.serves().await;
        }
    }
    let mut late = besieged.hub.stream("late", &[]).await;
    besieged
        .hub
        .publish(serde_json::json!({"targetUserId": "late", "message": "m"}))
        .await;
    late.expect_next_message("m").await;
    besieged.serves().await;
    let ends = async {
        for mut socket in silent {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        }
    };
    soon("the end of all of them", ends).await;
    besieged.stop().await;
}

#[tokio::test]
async fn clients_that_break_off_in_the_middle_of_anything_leave_nothing_behind() {
    let mut besieged = Besieged::with(|_| {}).await;
    let token = besieged.hub.token("42", &[], &["publish"]);
    let stream = get_stream(&token, "1.1", "");
    let post = format!(
        "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 44\r\n\r\n{{\"targetUserId\":\"real\",\"mess"
    );
    for whole in [stream, post] {
        for length in (0..=whole.len()).step_by(7) {
            let mut wire = Wire::to(besieged.hub.addr()).await;
            wire.send(&whole[..length]).await;
            // Some say goodbye, some just break off.
            if length % 2 == 0 {
                let socket = socket2::SockRef::from(&wire.socket);
                socket.set_linger(Some(Duration::ZERO)).expect("a reset");
            }
        }
    }
    besieged.serves().await;
    besieged
        .hub
        .until("only the real user's stream", |status| {
            status["streams"]["total"] == 1
        })
        .await;
    besieged.stop().await;
}
