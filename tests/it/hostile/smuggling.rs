//! Requests that two programs could read differently (RFC 9112, section 11.2): a proxy in front might see one where the hub
//! sees two, and let somebody's words pass as another's. So the hub refuses them, or reads the first and closes.

use super::{Besieged, said, statuses};
use crate::support::TestHub;

/// A whole request that publishes for the real user, to be hidden in another.
fn hidden(hub: &TestHub) -> String {
    let token = hub.token("smuggler", &[], &["publish"]);
    let body = r#"{"targetUserId":"real","message":"smuggled"}"#;
    format!(
        "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_hides_no_other() {
    let mut besieged = Besieged::with(|_| {}).await;
    for lines in [
        // Both lengths, in both orders.
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6",
        // Two lengths, or one that is none.
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 0",
        "Content-Length: 99999999999999999999999",
        "Content-Length: ",
        // Codings that one side may not see as chunked.
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\n : folded",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: \"chunked\"",
    ] {
        let request = format!(
            "POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lines}\r\n\r\n0\r\n\r\n{}",
            hidden(&besieged.hub)
        );
        let answer = said(&besieged.hub, &request).await;
        let statuses = statuses(&answer);
        assert!(
            matches!(statuses.as_slice(), [400 | 401 | 411 | 413 | 501]),
            "{lines:?}: {answer}"
        );
        besieged.serves().await;
    }
    besieged.stop().await;
}

#[tokio::test]
async fn a_chunk_that_can_be_read_in_two_ways_hides_no_request() {
    let mut besieged = Besieged::with(|_| {}).await;
    let token = besieged.hub.token("42", &[], &["publish"]);
    for chunks in [
        "0\n\n",
        "0\r\n\n",
        "0\r\n\r",
        "5;a\nb\r\n{\"a\":\r\n0\r\n\r\n",
        "5\r\n{\"a\":XX0\r\n\r\n",
        "0x5\r\n{\"a\":\r\n0\r\n\r\n",
        "+5\r\n{\"a\":\r\n0\r\n\r\n",
        " 5\r\n{\"a\":\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\n",
        "10000000000000005\r\n{\"a\":\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{}",
            hidden(&besieged.hub)
        );
        let answer = said(&besieged.hub, &request).await;
        let statuses = statuses(&answer);
        // What is hidden may be taken for the rest of a broken request and refused with it; it is never done.
        let refused = statuses.iter().all(|status| matches!(status, 400 | 422));
        assert!(refused, "{chunks:?}: {answer}");
        besieged.serves().await;
    }
    besieged.stop().await;
}

#[tokio::test]
async fn a_head_that_is_no_head_is_refused_and_closes() {
    let mut besieged = Besieged::with(|_| {}).await;
    let many = "X-A: b\r\n".repeat(200);
    let long = format!("X-A: {}\r\n", "b".repeat(100_000));
    let path = format!("/{}", "a".repeat(100_000));
    for (head, expected) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\u{0}c\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(), 400),
        (
            "G\u{0}T /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            400,
        ),
        (
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}".to_owned(),
            400,
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
            431,
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{long}\r\n"),
            431,
        ),
        (format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), 414),
    ] {
        let answer = said(&besieged.hub, &format!("{head}{}", hidden(&besieged.hub))).await;
        let shown = &head[..head.len().min(80)];
        let statuses = statuses(&answer);
        // What is far too long may be cut off before its answer is read.
        let fits = statuses == [expected] || (statuses == [431] && expected == 414);
        assert!(fits, "{shown:?}: {answer}");
    }
    // HTTP/2 is not spoken without TLS, and there is no word of HTTP/1 for that.
    let answer = said(&besieged.hub, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(statuses(&answer).is_empty(), "{answer}");
    besieged.serves().await;
    besieged.stop().await;
}

#[tokio::test]
async fn unusual_heads_mean_what_they_say_and_nothing_more() {
    let besieged = Besieged::with(|_| {}).await;
    for (head, expected) in [
        // Line ends without CR, as RFC 9112, section 2.2, lets a server read them.
        ("GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n", 200),
        // The whole URL (section 3.2.2): its path counts, and its host is nobody's.
        (
            "GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "GET http://elsewhere/keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            401,
        ),
        (
            "GET healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        // Paths are compared as they are: no other spelling of one is behind another check, or behind none.
        (
            "GET //keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "GET /healthz/../keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "GET /%6beys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "GET /KEYS HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "GET /keys/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        // Nothing here speaks another protocol on the same connection.
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            200,
        ),
    ] {
        let answer = said(&besieged.hub, head).await;
        assert_eq!(statuses(&answer), [expected], "{head:?}: {answer}");
    }
    besieged.stop().await;
}
