//! HTTP/2: many streams on one connection, each of which a client may stop reading, and clients that mean no good.

use std::time::Duration;

use h2::Reason;
use h2::client::Builder;
use serde_json::{Value, json};

use crate::support::http2::{Frame, Frames, Http2, text};
use crate::support::tls::Pem;
use crate::support::{BinaryHub, TestHub, soon, to_user};

/// A hub that ends what is silent for a second, which is the least that can be configured.
async fn impatient(pem: &Pem) -> TestHub {
    pem.hub(|config| config.stream.idle_limit = Duration::from_secs(1))
        .await
}

/// What a hub has counted, once it is so many.
pub async fn ended(hub: &TestHub, why: &str, count: usize) {
    let wanted = format!("campanile_streams_ended_total{{reason=\"{why}\"}} {count}");
    let look = async {
        while !hub.hub().metrics().await.lines().any(|line| line == wanted) {
            tokio::task::yield_now().await;
        }
    };
    soon(&wanted, look).await;
}

#[tokio::test]
async fn fifty_streams_on_one_connection_each_get_everything_in_order_and_resume() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let mut connection = Http2::to(hub.addr(), &pem).await;
    let token = |user: usize| hub.token(&format!("u{user}"), &["CREW"], &[]);
    let mut streams = Vec::new();
    for user in 0..50 {
        streams.push(connection.stream(&token(user), None).await);
    }
    let numbers =
        |range: std::ops::Range<usize>| range.map(|n| format!("n{n}")).collect::<Vec<_>>();
    for number in 0..40 {
        hub.publish(json!({"targetRoles": ["CREW"], "message": format!("n{number}")}))
            .await;
    }
    for stream in &mut streams {
        assert_eq!(stream.messages(40).await, numbers(0..40));
    }
    let cursor = streams.pop().and_then(|stream| stream.last_id).unwrap();
    hub.until("one stream less", |s| s["streams"]["total"] == 49)
        .await;
    for number in 40..60 {
        hub.publish(json!({"targetRoles": ["CREW"], "message": format!("n{number}")}))
            .await;
    }
    let mut resumed = connection.stream(&token(49), Some(&cursor)).await;
    assert_eq!(resumed.messages(20).await, numbers(40..60));
    for stream in &mut streams {
        assert_eq!(stream.messages(20).await, numbers(40..60));
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_stream_without_credit_is_reset_and_its_siblings_notice_nothing() {
    let pem = Pem::new();
    let hub = impatient(&pem).await;
    let mut settings = Builder::new();
    settings
        .initial_window_size(1_000)
        .initial_connection_window_size(10_000_000);
    let mut connection = Http2::with(hub.addr(), &pem, &settings).await;
    let mut sibling = connection.stream(&hub.token("42", &[], &[]), None).await;
    // A thousand bytes take the first words and some of what follows; then it has no credit, and gets none.
    let stalled = connection.open(&hub.token("7", &[], &[]), None).await;
    for number in 0..20 {
        hub.publish(json!({"targetUserIds": ["42", "7"], "message": format!("n{number}")}))
            .await;
    }
    let numbers: Vec<_> = (0..20).map(|n| format!("n{n}")).collect();
    assert_eq!(sibling.messages(20).await, numbers);

    let mut body = stalled.into_body();
    let mut read = Vec::new();
    let reset = loop {
        let part = soon("the reset", body.data()).await;
        match part.expect("no end in order") {
            Ok(data) => read.extend_from_slice(&data),
            Err(error) => break error,
        }
    };
    assert_eq!(reset.reason(), Some(Reason::CANCEL), "{reset}");
    assert_eq!(read.len(), 1_000, "all that there was credit for came");
    ended(&hub, "stalled", 1).await;
    hub.publish(to_user("42", 20)).await;
    sibling.expect_next_message("n20").await;
    // What it did not get is owed to it, though it does not say where it was.
    let read = String::from_utf8(read).unwrap();
    let had = read.matches("event: notification").count();
    let mut again = connection.stream(&hub.token("7", &[], &[]), None).await;
    let first = again.notification().await.message().to_owned();
    let place = numbers.iter().position(|it| *it == first);
    let place = place.unwrap_or_else(|| panic!("{first} came, after {had}"));
    assert!(place <= had, "{first} came, after {had}");
    assert_eq!(again.messages(19 - place).await, numbers[place + 1..]);
    hub.stop().await;
}

#[tokio::test]
async fn an_answer_without_credit_is_reset_as_well() {
    let pem = Pem::new();
    let hub = impatient(&pem).await;
    let mut settings = Builder::new();
    settings.initial_window_size(0);
    let mut connection = Http2::with(hub.addr(), &pem, &settings).await;
    let request = connection.request("GET", "/campanile.js", &[]);
    let answer = connection.call(request, "").await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let end = soon("the reset", body.data())
        .await
        .expect("no end in order");
    assert_eq!(end.expect_err("no data").reason(), Some(Reason::CANCEL));
    hub.stop().await;
}

#[tokio::test]
async fn ten_thousand_requests_taken_back_at_once_end_the_connection_and_harm_nobody_else() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let mut others = Http2::to(hub.addr(), &pem).await;
    let mut other = others.stream(&hub.token("42", &[], &[]), None).await;

    let mut attacker = Frames::to(hub.addr(), &pem).await;
    let mut flood = Vec::new();
    for stream in (1..20_000).step_by(2) {
        Frame::get(stream, "/healthz").write(&mut flood);
        Frame::reset(stream, Reason::CANCEL).write(&mut flood);
    }
    // The hub need not take all of it.
    let _ = soon("the flood", attacker.send(&flood)).await;
    let word = attacker.next_of(Frame::GOAWAY).await;
    assert_eq!(word.reason(), Reason::ENHANCE_YOUR_CALM);
    while attacker.next().await.is_some() {}

    hub.publish(to_user("42", 1)).await;
    other.expect_next_message("n1").await;
    hub.stop().await;
}

#[tokio::test]
async fn requests_taken_back_one_by_one_before_they_are_answered_end_the_connection_too() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let mut connection = Http2::to(hub.addr(), &pem).await;
    let token = format!("Bearer {}", hub.token("p", &[], &["publish"]));
    let headers = [
        ("authorization", &*token),
        ("content-type", "application/json"),
    ];
    // The hub waits for a body, and answers a PING only after it has seen the request.
    let take_back = async {
        loop {
            let request = connection.request("POST", "/notifications", &headers);
            let Ok(mut send) = connection.send.clone().ready().await else {
                return;
            };
            let Ok((_, mut out)) = send.send_request(request, false) else {
                return;
            };
            if connection.pings.ping(h2::Ping::opaque()).await.is_err() {
                return;
            }
            out.send_reset(Reason::CANCEL);
        }
    };
    soon("the end of patience", take_back).await;
    assert_eq!(
        connection.ended().await,
        Err(Some(Reason::ENHANCE_YOUR_CALM))
    );

    // Somebody who leaves pages in a hurry, but is answered as often, goes on for ever.
    let mut connection = Http2::to(hub.addr(), &pem).await;
    for _ in 0..150 {
        let request = connection.request("POST", "/notifications", &headers);
        let (_, mut out) = connection.begin(request, false).await;
        soon("a pong", connection.pings.ping(h2::Ping::opaque()))
            .await
            .unwrap();
        out.send_reset(Reason::CANCEL);
        let request = connection.request("GET", "/healthz", &[]);
        assert_eq!(connection.call(request, "").await.status(), 200);
    }
    hub.stop().await;
}

/// What a process holds in memory, in KiB.
fn resident(hub: &BinaryHub) -> u64 {
    let path = format!("/proc/{}/status", hub.id());
    let text = std::fs::read_to_string(path).expect("Linux tells it");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a number").parse().expect("a number")
}

/// A thousand requests taken back at once, which end their connection.
async fn burst(hub: &BinaryHub, pem: &Pem) {
    let mut attacker = Frames::to(hub.addr(), pem).await;
    let mut flood = Vec::new();
    for stream in (1..2_000).step_by(2) {
        Frame::get(stream, "/healthz").write(&mut flood);
        Frame::reset(stream, Reason::CANCEL).write(&mut flood);
    }
    let _ = soon("the flood", attacker.send(&flood)).await;
    while attacker.next().await.is_some() {}
}

/// `CAMPANILE_TEST_RESETS` says how many; by default it is enough to tell what is kept of each, in a few seconds.
#[tokio::test]
async fn of_requests_that_are_taken_back_nothing_stays_in_memory() {
    const ROOM_KIB: u64 = 16 * 1024;
    let asked = std::env::var("CAMPANILE_TEST_RESETS").ok();
    let total: usize = asked.map_or(20_000, |asked| asked.parse().expect("a number"));
    let (pem, data) = (Pem::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = (pem.certificate.to_str(), pem.key.to_str());
    let flags = [
        "--tls-cert",
        certificate.unwrap(),
        "--tls-key",
        key.unwrap(),
    ];
    let hub = BinaryHub::serve(data.path(), &flags).await;
    for _ in 0..3 {
        burst(&hub, &pem).await;
    }
    let before = resident(&hub);
    let paced = total / 20;
    for _ in 0..(total - paced) / 1_000 {
        burst(&hub, &pem).await;
    }
    let after_bursts = resident(&hub);
    // And on one connection that goes on, because as many are answered.
    let mut connection = Http2::to(hub.addr(), &pem).await;
    for _ in 0..paced {
        let request = connection.request("POST", "/notifications", &[]);
        let (_, mut out) = connection.begin(request, false).await;
        out.send_reset(Reason::CANCEL);
        let request = connection.request("GET", "/healthz", &[]);
        assert_eq!(connection.call(request, "").await.status(), 200);
    }
    let after = resident(&hub);
    let said = format!("{total} requests: {before}, {after_bursts}, {after} KiB");
    assert!(after_bursts.max(after) < before + ROOM_KIB, "{said}");
    eprintln!("{said}");
    assert_eq!(hub.terminate().await, Some(0));
}

#[tokio::test]
async fn more_streams_than_one_connection_may_have_are_refused_one_by_one() {
    let pem = Pem::new();
    let hub = pem.hub(|config| config.tls.http2_streams = 3).await;
    let mut frames = Frames::to(hub.addr(), &pem).await;
    let settings = frames.next_of(Frame::SETTINGS).await.payload;
    let announced = settings
        .chunks(6)
        .find(|it| it[..2] == [0, 3])
        .expect("a limit");
    assert_eq!(announced[2..], [0, 0, 0, 3]);
    // Without END_STREAM the hub waits for bodies, so that all of them are open at once.
    let mut flood = Vec::new();
    for stream in [1, 3, 5, 7] {
        let mut request = Frame::get(stream, "/notifications");
        request.flags = 0x04;
        request.write(&mut flood);
    }
    frames.send(&flood).await.unwrap();
    let refused = loop {
        let frame = frames.next_of(Frame::RST_STREAM).await;
        if frame.reason() == Reason::REFUSED_STREAM {
            break frame;
        }
    };
    assert_eq!(refused.stream, 7);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_stops_says_bye_on_every_stream_and_then_ends_the_connection() {
    let pem = Pem::new();
    let mut hub = pem.hub(|_| {}).await;
    let mut connection = Http2::to(hub.addr(), &pem).await;
    let mut streams = Vec::new();
    for user in ["1", "2", "3"] {
        streams.push(connection.stream(&hub.token(user, &[], &[]), None).await);
    }
    hub.begin_to_stop();
    for stream in &mut streams {
        assert_eq!(stream.last_word().await.data["data"]["reason"], "draining");
        assert_eq!(soon("the end", stream.try_next()).await, None);
        assert!(stream.ended_in_order());
    }
    assert_eq!(connection.ended().await, Ok(()));
    hub.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_stream_is_ended_like_one_of_http_1() {
    let pem = Pem::new();
    let hub = pem
        .hub(|config| config.serve.header_timeout = Duration::from_secs(1))
        .await;
    let mut frames = Frames::to(hub.addr(), &pem).await;
    let mut request = Vec::new();
    Frame::get(1, "/healthz").write(&mut request);
    frames.send(&request).await.unwrap();
    frames.next_of(Frame::DATA).await;
    assert_eq!(
        frames.next_of(Frame::GOAWAY).await.reason(),
        Reason::NO_ERROR
    );
    while frames.next().await.is_some() {}
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let pem = Pem::new();
    let hub = impatient(&pem).await;
    let mut frames = Frames::to(hub.addr(), &pem).await;
    let mut request = Vec::new();
    // One that waits for its body, so that the connection is not idle.
    let mut begun = Frame::get(1, "/notifications/stream");
    begun.flags = 0x04;
    begun.write(&mut request);
    frames.send(&request).await.unwrap();
    frames.next_of(Frame::PING).await;
    while frames.next().await.is_some() {}
    hub.stop().await;
}

#[tokio::test]
async fn what_browsers_send_over_http_2_means_what_it_means_over_http_1() {
    let pem = Pem::new();
    let hub = pem
        .hub(|config| config.auth.cookie = Some("session".to_owned()))
        .await;
    let mut connection = Http2::to(hub.addr(), &pem).await;
    let session = format!("session={}", hub.token("42", &[], &["publish"]));
    let own = format!("https://{}", hub.addr());
    // Each cookie in a line of its own, and no Host.
    let cookies = [
        ("cookie", "theme=dark"),
        ("cookie", &*session),
        ("cookie", "a=b"),
    ];
    let json = ("content-type", "application/json");
    let draft = json!({"targetUserId": "42", "message": "m"}).to_string();
    let from = |origin| [&cookies[..], &[json, ("origin", origin)]].concat();
    let request = connection.request("POST", "/notifications", &from(&own));
    let answer = connection.call(request, &draft).await;
    assert_eq!(answer.status(), 201);
    assert!(answer.headers().contains_key("date"));
    let said: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert!(said["eventId"].is_string(), "{said}");
    let request = connection.request("POST", "/notifications", &from("https://evil.example"));
    assert_eq!(connection.call(request, &draft).await.status(), 403);
    // Where it is asked of is what `:authority` says, whatever else is said.
    let lying = [
        &from("https://evil.example")[..],
        &[("host", "evil.example")],
    ]
    .concat();
    let request = connection.request("POST", "/notifications", &lying);
    assert_eq!(connection.call(request, &draft).await.status(), 403);

    let head = connection.request("HEAD", "/campanile.js", &[]);
    let answer = connection.call(head, "").await;
    let length = answer.headers()["content-length"].clone();
    assert_eq!(text(answer).await, "");
    let get = connection.request("GET", "/campanile.js", &[]);
    let answer = connection.call(get, "").await;
    assert_eq!(answer.headers()["content-length"], length);
    assert_eq!(
        text(answer).await.len().to_string(),
        length.to_str().unwrap()
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_body_larger_than_the_window_goes_through() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let mut connection = Http2::to(hub.addr(), &pem).await;
    let details = "x".repeat(4_000);
    let drafts: Vec<_> = (0..1_000)
        .map(|n| json!({"targetUserId": "42", "message": format!("n{n}"), "details": details}))
        .collect();
    let token = format!("Bearer {}", hub.token("p", &[], &["publish"]));
    let headers = [
        ("authorization", &*token),
        ("content-type", "application/json"),
    ];
    let request = connection.request("POST", "/notifications/batch", &headers);
    let answer = connection
        .call(request, &Value::from(drafts).to_string())
        .await;
    assert_eq!(answer.status(), 200);
    let answers: Value = serde_json::from_str(&text(answer).await).unwrap();
    let last = &answers["results"][999];
    assert_eq!(last["status"], 201, "{last}");
    hub.stop().await;
}
