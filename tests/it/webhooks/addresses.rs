//! No way in through a webhook: what is dialled is public, however it is written and whatever a name says the second time.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::clock::Timestamp;
use campanile::webhooks::{Attempt, Outgoing, Reach, Resolve, Secret, Sender, Topic};
use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::*;

/// Answers by a list, one answer for each look-up.
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let names = Arc::new(Self {
            answers: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        answers.iter().for_each(|answer| names.answer(answer));
        names
    }

    fn answer(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| it.parse().unwrap());
        self.answers.lock().unwrap().push_back(addresses.collect());
    }
}

impl Resolve for Names {
    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.ok_or_else(|| io::Error::other("no such name"));
        async move { answer }.boxed()
    }
}

async fn send(reach: Reach, names: &Arc<Names>, url: &str) -> Attempt {
    send_by(&sender(reach, names), url).await
}

fn sender(reach: Reach, names: &Arc<Names>) -> Sender {
    let names = Arc::clone(names);
    Sender::new(reach, names, Duration::from_secs(5))
}

async fn send_by(sender: &Sender, url: &str) -> Attempt {
    let outgoing = Outgoing {
        id: Uuid::now_v7(),
        topic: Topic::Test,
        data: "{}".to_owned(),
        url: url.to_owned(),
        secrets: vec![Secret::random()],
    };
    soon("an attempt", sender.send(&outgoing, Timestamp::now())).await
}

fn allowing(blocks: &[&str]) -> Reach {
    Reach {
        allow: blocks.iter().map(|it| it.parse().unwrap()).collect(),
        allow_http: false,
    }
}

#[tokio::test]
async fn no_address_that_is_not_public_is_called_in_any_spelling_or_behind_any_name() {
    let open = Reach {
        allow_http: true,
        ..Reach::default()
    };
    let names = Names::of(&[]);
    let sender = sender(open.clone(), &names);
    for (address, spellings) in [
        (
            "127.0.0.1",
            &["127.1", "0177.0.0.1", "0x7f.1", "2130706433", "127.0.0.1."][..],
        ),
        ("0.0.0.0", &["0", "0x0"]),
        ("10.1.2.3", &["012.1.2.3", "167838211"]),
        ("100.64.0.1", &[]),
        ("100.100.100.200", &[]),
        ("168.63.129.16", &[]),
        (
            "169.254.169.254",
            &[
                "0xa9fea9fe",
                "2852039166",
                "%31%36%39.254.169.254",
                "１６９.254.169.254",
            ],
        ),
        ("172.16.0.1", &[]),
        ("172.31.255.255", &[]),
        ("192.0.0.192", &[]),
        ("192.0.2.1", &[]),
        ("192.88.99.1", &[]),
        ("192.168.1.1", &["192.168.257"]),
        ("198.18.0.1", &[]),
        ("198.51.100.1", &[]),
        ("203.0.113.1", &[]),
        ("224.0.0.1", &[]),
        ("240.0.0.1", &[]),
        ("255.255.255.255", &["4294967295"]),
        ("::", &["0:0:0:0:0:0:0:0"]),
        ("::1", &[]),
        ("::127.0.0.1", &[]),
        ("::ffff:127.0.0.1", &["::ffff:7f00:1"]),
        ("::ffff:8.8.8.8", &[]),
        ("64:ff9b::7f00:1", &[]),
        ("64:ff9b:1::a00:1", &[]),
        ("100::1", &[]),
        ("2001::1", &[]),
        ("2001:2::1", &[]),
        ("2001:20::1", &[]),
        ("2001:db8::1", &[]),
        ("2002:7f00:1::", &[]),
        ("3fff::1", &[]),
        ("5f00::1", &[]),
        ("fc00::1", &[]),
        ("fd00:ec2::254", &[]),
        ("fe80::1", &[]),
        ("fec0::1", &[]),
        ("ff02::1", &[]),
    ] {
        let bracketed = |text: &str| match text.contains(':') {
            true => format!("[{text}]"),
            false => text.to_owned(),
        };
        for spelling in [&[address], spellings].concat() {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{}:1/", bracketed(spelling));
                let refused = open.url(&url).map(String::from);
                let why = refused.expect_err(&url).to_string();
                assert!(
                    why.contains("webhooks go to public addresses only"),
                    "{url}: {why}"
                );
            }
        }
        let ip: IpAddr = address.parse().unwrap();
        assert!(open.check(ip, true).is_err(), "{address}");
        for url in ["http://name.example:1/", "https://name.example:1/"] {
            // One bad address among good ones is enough.
            for answer in [&[address][..], &["8.8.8.8", address]] {
                names.answer(answer);
                let attempt = send_by(&sender, url).await;
                let why = attempt.error.expect("a refusal");
                assert!(
                    why.contains("webhooks go to public addresses only"),
                    "{address}: {why}"
                );
            }
        }
    }
    for public in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert_eq!(
            open.check(public.parse().unwrap(), true),
            Ok(()),
            "{public}"
        );
    }
}

#[tokio::test]
async fn what_is_dialled_is_what_was_checked_though_the_name_says_something_else_the_next_time() {
    let mut sink = Sink::start([]).await;
    let url = format!("http://name.example:{}/", sink.addr.port());
    // Good at first and bad from then on: were it looked up twice, the second answer would be dialled.
    let names = Names::of(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let attempt = send(allowing(&["127.0.0.1/32"]), &names, &url).await;
    assert_eq!((attempt.status, &attempt.error), (Some(200), &None));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    let received = sink.next().await;
    let host = received.headers["host"].to_str().unwrap();
    assert_eq!(host, format!("name.example:{}", sink.addr.port()));
    let attempt = send(allowing(&["127.0.0.1/32"]), &names, &url).await;
    let why = attempt.error.expect("a refusal");
    assert!(why.contains("127.0.0.2"), "{why}");
    sink.expect_nothing();
}

#[tokio::test]
async fn without_tls_an_address_must_be_allowed_by_name() {
    let public = Names::of(&[&["8.8.8.8"]]);
    let attempt = send(
        allowing(&["127.0.0.0/8"]),
        &public,
        "http://name.example:1/",
    )
    .await;
    assert_eq!(
        attempt.error.as_deref(),
        Some("http is not allowed to 8.8.8.8, only https")
    );
    let nobody = Names::of(&[]);
    let attempt = send(Reach::default(), &nobody, "https://name.example/").await;
    assert_eq!(
        attempt.error.as_deref(),
        Some("the name name.example cannot be resolved: no such name")
    );
    let attempt = send(Reach::default(), &nobody, "http://name.example/").await;
    assert_eq!(attempt.error.as_deref(), Some("must begin with https://"));
}

#[tokio::test]
async fn a_proxy_in_the_environment_sees_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (mut proxy, mut sink) = (Sink::start([]).await, Sink::start([]).await);
    let proxy_url = format!("http://{}", proxy.addr);
    let hub = crate::support::BinaryHub::serve_with(
        data.path(),
        &["--webhook-allow", "127.0.0.0/8", "--start-grace", "0s"],
        &[
            ("http_proxy", &proxy_url),
            ("HTTP_PROXY", &proxy_url),
            ("ALL_PROXY", &proxy_url),
        ],
    )
    .await;
    let admin = crate::support::token(&data, "root", &["--scope", "admin"]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |path: &str, body: Value| {
        let request = client.post(hub.url(path)).bearer_auth(&admin).json(&body);
        async move {
            let answer = soon("an answer", request.send()).await.unwrap();
            answer.json::<Value>().await.unwrap()
        }
    };
    let made = post("/webhooks", json!({"url": sink.url(), "on": "always"})).await;
    post("/notifications/broadcast", json!({"message": "all"})).await;
    sink.signed(made["secret"].as_str().expect("a secret"))
        .await;
    proxy.expect_nothing();
    assert_eq!(hub.terminate().await, Some(0));
}
