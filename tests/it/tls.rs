//! TLS on the hub's own address: the same promises in it, certificates that are renewed, and clients that do not speak it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile::auth::{Authenticator, Secret};
use campanile::config::Config;
use campanile::server::{self, CertificateError, OpenError, Server};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::http2::ended;
use crate::support::http2::Http2;
use crate::support::tls::{Pem, Sleep, Sleepy, make};
use crate::support::{BinaryHub, EventStream, Open, TestHub, command, soon, to_user};

/// How often these hubs look at their certificate.
const LOOK: Duration = Duration::from_millis(100);

async fn stream(hub: &TestHub, pem: &Pem, cursor: Option<String>) -> EventStream {
    stream_of(hub, pem, "42", cursor).await
}

async fn stream_of(hub: &TestHub, pem: &Pem, user: &str, cursor: Option<String>) -> EventStream {
    let io = pem.connect(hub.addr(), "http/1.1").await.expect("TLS");
    let open = Open {
        last_event_id: cursor,
        ..Open::default()
    };
    EventStream::open_on(io, &hub.token(user, &[], &[]), open).await
}

#[tokio::test]
async fn a_stream_over_tls_delivers_in_order_and_resumes_where_it_was() {
    let pem = Pem::new();
    let mut hub = pem.hub(|_| {}).await;
    let mut first = stream(&hub, &pem, None).await;
    for number in 0..50 {
        hub.publish(to_user("42", number)).await;
    }
    let messages = |range: std::ops::Range<usize>| range.map(|n| format!("n{n}"));
    assert_eq!(
        first.messages(50).await,
        messages(0..50).collect::<Vec<_>>()
    );
    let cursor = first.last_id.clone();
    drop(first);
    hub.until("no streams", |status| status["streams"]["total"] == 0)
        .await;
    for number in 50..300 {
        hub.publish(to_user("42", number)).await;
    }
    let mut second = stream(&hub, &pem, cursor).await;
    assert_eq!(
        second.messages(250).await,
        messages(50..300).collect::<Vec<_>>()
    );

    hub.begin_to_stop();
    assert_eq!(second.last_word().await.data["data"]["reason"], "draining");
    assert_eq!(soon("the end", second.try_next()).await, None);
    assert!(second.ended_in_order());
    hub.stop().await;
}

/// A stream for ann in this protocol, between whose ends little fits; and what sends its machine to sleep.
async fn narrow(hub: &TestHub, pem: &Pem, protocol: &str) -> (EventStream, Sleep) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let socket = socket.connect(hub.addr()).await.unwrap();
    let io = pem.connect_on(socket, protocol).await.unwrap();
    let (io, sleep) = Sleepy::new(io);
    let token = hub.token("ann", &[], &[]);
    let stream = match protocol {
        "h2" => Http2::on(hub.addr(), io).await.stream(&token, None).await,
        _ => EventStream::open_on(io, &token, Open::default()).await,
    };
    (stream, sleep)
}

#[tokio::test]
async fn what_was_written_and_never_acknowledged_is_owed_again() {
    let pem = Pem::new();
    for protocol in ["http/1.1", "h2"] {
        let hub = pem
            .hub(|config| config.stream.heartbeat = Duration::from_secs(1))
            .await;
        let (mut asleep, sleep) = narrow(&hub, &pem, protocol).await;
        for number in 0..3 {
            hub.publish(to_user("ann", number)).await;
        }
        assert_eq!(asleep.messages(3).await, ["n0", "n1", "n2"]);
        // It comes after the hub has looked at what was acknowledged.
        while asleep.next().await.kind() != "heartbeat" {}
        sleep.begin();
        for number in 3..13 {
            let details = "x".repeat(8_000);
            let draft =
                json!({"targetUserId": "ann", "message": format!("n{number}"), "details": details});
            hub.publish(draft).await;
        }
        hub.until("an empty queue", |s| s["queue"]["depth"] == 0)
            .await;
        drop(asleep);
        // The first of them may have got through whole.
        hub.until("its debts", |s| s["queue"]["failed"].as_u64() >= Some(9))
            .await;
        let mut awake = stream_of(&hub, &pem, "ann", None).await;
        while awake.notification().await.message() != "n12" {}
        hub.until("what was owed", |s| s["queue"]["failed"] == 0)
            .await;
        drop(awake);
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_with_everything_acknowledged_owes_nothing() {
    let pem = Pem::new();
    for protocol in ["http/1.1", "h2"] {
        let hub = pem
            .hub(|config| config.delivery.retry = vec![Duration::from_secs(60)])
            .await;
        let (mut stream, _) = narrow(&hub, &pem, protocol).await;
        for number in 0..20 {
            hub.publish(to_user("ann", number)).await;
        }
        let numbers: Vec<_> = (0..20).map(|number| format!("n{number}")).collect();
        assert_eq!(stream.messages(20).await, numbers);
        stream.counted(20).await;
        drop(stream);
        hub.until("no streams", |s| s["streams"]["total"] == 0)
            .await;
        // One that nobody takes: once it is owed, whatever was decided before it is written.
        hub.publish(to_user("bob", 20)).await;
        let status = hub.until("a debt", |s| s["queue"]["pending"] != 0).await;
        assert_eq!(status["queue"]["pending"], 1, "{protocol}: {status}");
        // Whoever comes without a cursor goes on where she was served last.
        let mut back = stream_of(&hub, &pem, "ann", None).await;
        hub.publish(to_user("ann", 21)).await;
        back.expect_next_message("n21").await;
        drop(back);
        hub.stop().await;
    }
}

#[tokio::test]
async fn whoever_takes_no_byte_over_tls_is_cut_off_in_a_stream_and_between_requests() {
    let pem = Pem::new();
    // The streams are looked over only when this test is over: it is the connection that ends.
    let hub = pem
        .hub(|config| {
            config.stream.idle_limit = Duration::from_secs(1);
            config.stream.sweep = Duration::from_secs(3_600);
        })
        .await;
    let (_asleep, sleep) = narrow(&hub, &pem, "http/1.1").await;
    sleep.begin();
    let details = "x".repeat(8_000);
    let drafts: Vec<_> = (0..100)
        .map(|n| json!({"targetUserId": "ann", "message": format!("n{n}"), "details": details}))
        .collect();
    let (status, answer) = hub.post("/notifications/batch", &json!(drafts)).await;
    assert_eq!(status, 200, "{answer}");
    ended(&hub, "stalled", 1).await;

    let mut asking = pem.connect(hub.addr(), "http/1.1").await.unwrap();
    let cut = async {
        // Until the hub takes no more, and then no longer is there.
        let requests = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
        while asking.write_all(requests.as_bytes()).await.is_ok() {}
    };
    soon("to be cut off", cut).await;
    hub.stop().await;
}

#[tokio::test]
async fn whoever_connects_and_does_not_shake_hands_is_closed() {
    let pem = Pem::new();
    let hub = pem
        .hub(|config| config.serve.header_timeout = Duration::from_secs(1))
        .await;
    // Nothing at all; the head of a record of 512 bytes that do not come; and a handshake without a request after it.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = TcpStream::connect(hub.addr()).await.unwrap();
        silent.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("the end", silent.read_to_end(&mut answer)).await;
    }
    for protocol in ["http/1.1", "h2"] {
        let mut silent = pem.connect(hub.addr(), protocol).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("the end", silent.read_to_end(&mut answer)).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn silent_clients_do_not_keep_a_hub_from_stopping() {
    let pem = Pem::new();
    // Less than a handshake may take: it is not waited for.
    let hub = pem
        .hub(|config| config.serve.drain = Duration::from_secs(60))
        .await;
    let silent = TcpStream::connect(hub.addr()).await.unwrap();
    let shaken = pem.connect(hub.addr(), "h2").await.unwrap();
    hub.stop().await;
    drop((silent, shaken));
}

#[tokio::test]
async fn whoever_speaks_plain_http_is_told_so() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let answer = hub
        .raw(b"POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(answer.contains("begin its URL with https://"), "{answer}");
    // And whoever speaks something else is closed.
    let answer = hub.raw(b"\x05\x01\x00\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    hub.stop().await;
}

#[tokio::test]
async fn over_the_cap_a_tls_client_is_closed_and_the_others_go_on() {
    let pem = Pem::new();
    let hub = pem.hub(|config| config.serve.max_connections = 2).await;
    let mut open = stream(&hub, &pem, None).await;
    let second = pem.connect(hub.addr(), "h2").await.unwrap();
    assert!(pem.connect(hub.addr(), "h2").await.is_err());
    drop(second);
    let again = async { while pem.connect(hub.addr(), "h2").await.is_err() {} };
    soon("room for another", again).await;
    hub.stop().await;
    assert_eq!(open.last_word().await.data["data"]["reason"], "draining");
}

#[tokio::test]
async fn the_log_says_that_the_hub_is_full() {
    let (pem, data) = (Pem::new(), tempfile::tempdir().unwrap());
    for encrypted in [true, false] {
        let (config, log) = (data.path().join("hub.toml"), data.path().join("log"));
        let mut text = "[serve]\nmax_connections = 1\n".to_owned();
        if encrypted {
            let (certificate, key) = (pem.certificate.display(), pem.key.display());
            text += &format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        }
        std::fs::write(&config, text).unwrap();
        let flags = ["--config", config.to_str().unwrap()];
        let hub = BinaryHub::serve_logging(data.path(), &flags, &log).await;
        let _first = TcpStream::connect(hub.addr()).await.unwrap();
        // Over TLS it is closed before a handshake; without it is told so.
        let _others = [
            TcpStream::connect(hub.addr()).await.unwrap(),
            TcpStream::connect(hub.addr()).await.unwrap(),
        ];
        let lines = said(&log, "accept_failed").await;
        assert_eq!(lines[0]["level"], "ERROR", "{lines:?}");
        let fields = &lines[0]["fields"];
        assert_eq!(fields["max"], 1, "{fields}");
        let error = fields["error"].as_str().unwrap();
        assert!(error.contains("serve.max_connections"), "{fields}");
        assert_eq!(hub.terminate().await, Some(0));
        let lines = said(&log, "accept_failed").await;
        assert_eq!(lines.len(), 1, "once a minute at most: {lines:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_and_open_streams_go_on() {
    let (pem, live) = (Pem::new(), tempfile::tempdir().unwrap());
    let newer = Pem::new();
    // As Kubernetes and certbot do it: links that are turned to where the new pair is.
    let turn = |to: &Pem| {
        let draft = live.path().join("draft");
        symlink(to.directory(), &draft).unwrap();
        std::fs::rename(&draft, live.path().join("now")).unwrap();
    };
    turn(&pem);
    let hub = TestHub::with(|config| {
        config.tls.certificate = Some(live.path().join("now/fullchain.pem"));
        config.tls.key = Some(live.path().join("now/privkey.pem"));
        config.tls.reload = LOOK;
    })
    .await;
    let mut open = stream(&hub, &pem, None).await;
    let trusted = || std::fs::read_to_string(hub.data().join("trusted")).unwrap();
    let before = trusted();
    turn(&newer);
    let renewed = async { while newer.connect(hub.addr(), "h2").await.is_err() {} };
    soon("the new certificate", renewed).await;
    assert!(pem.connect(hub.addr(), "h2").await.is_err());
    // Whoever read it just before still finds the hub.
    let after = trusted();
    assert!(
        after.ends_with(&before) && after.len() == 2 * before.len(),
        "{after}"
    );

    let body = json!({"targetUserId": "42", "message": "still here"}).to_string();
    let token = hub.token("p", &[], &["publish"]);
    let request = format!(
        "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = asked(&newer, &hub, &request).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    open.expect_next_message("still here").await;
    hub.stop().await;
}

/// What a request by a client that trusts this certificate is answered; the connection must end with it.
async fn asked(pem: &Pem, hub: &TestHub, request: &str) -> String {
    let mut io = pem.connect(hub.addr(), "http/1.1").await.expect("TLS");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the answer", io.read_to_string(&mut answer))
        .await
        .unwrap();
    answer
}

/// What the log says of an event, once it says anything.
async fn said(log: &Path, event: &str) -> Vec<Value> {
    let look = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap();
            let lines = text.lines().filter_map(|it| serde_json::from_str(it).ok());
            let found: Vec<Value> = lines
                .filter(|it: &Value| it["fields"]["event"] == event)
                .collect();
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(event, look).await
}

/// A hub that looks at its certificate often, and its log.
async fn logging(data: &Path, pem: &Pem) -> (BinaryHub, PathBuf) {
    let (config, log) = (data.join("hub.toml"), data.join("log"));
    let (certificate, key) = (pem.certificate.display(), pem.key.display());
    let text =
        format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\nreload = \"100ms\"\n");
    std::fs::write(&config, text).unwrap();
    let flags = ["--config", config.to_str().unwrap()];
    (BinaryHub::serve_logging(data, &flags, &log).await, log)
}

#[tokio::test]
async fn a_pair_that_does_not_fit_together_changes_nothing_and_is_told_in_the_log() {
    let (pem, data) = (Pem::new(), tempfile::tempdir().unwrap());
    let (hub, log) = logging(data.path(), &pem).await;
    let first = Pem::new();
    std::fs::copy(&pem.certificate, &first.certificate).unwrap();
    std::fs::write(&pem.certificate, make("127.0.0.1").0).unwrap();
    let rejected = said(&log, "certificate_rejected").await;
    let error = rejected[0]["fields"]["error"].as_str().unwrap();
    let place = pem.key.display().to_string();
    assert!(
        error.starts_with(&place) && error.contains("is not the key of"),
        "{error}"
    );
    let still = first.connect(hub.addr(), "h2").await;
    still.expect("the first certificate is still served");

    pem.renew();
    let renewed = said(&log, "certificate_reloaded").await;
    assert_eq!(renewed[0]["fields"]["expires"], "4096-01-01T00:00:00.000Z");
    pem.connect(hub.addr(), "h2").await.expect("the new one is");
    // One line for one mistake, however often it was looked at.
    assert_eq!(said(&log, "certificate_rejected").await.len(), 1);
    assert_eq!(hub.terminate().await, Some(0));
}

#[tokio::test]
async fn a_certificate_that_expires_within_a_week_is_told_in_the_log() {
    let (pem, data) = (Pem::new(), tempfile::tempdir().unwrap());
    let in_three_days = time::OffsetDateTime::now_utc() + time::Duration::hours(3 * 24 + 1);
    pem.renew_until(in_three_days);
    let (hub, log) = logging(data.path(), &pem).await;
    let expires = said(&log, "certificate_expires").await;
    assert_eq!(expires[0]["level"], "WARN");
    assert_eq!(expires[0]["fields"]["days"], 3);
    assert_eq!(hub.terminate().await, Some(0));
}

/// A certificate as its file has it.
fn as_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

async fn refused(change: impl FnOnce(&mut Config, &Path)) -> OpenError {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.serve.listen = "127.0.0.1:0".parse().unwrap();
    config.serve.data = data.path().join("data");
    change(&mut config, data.path());
    let error = Server::open(config.clone()).await.err().expect("a refusal");
    assert!(error.is_config() && !error.is_store(), "{error}");
    assert!(!config.serve.database_path().exists(), "a store was made");
    error
}

#[tokio::test]
async fn files_that_cannot_be_served_are_refused_at_the_start_by_name() {
    let (pem, other) = (Pem::new(), Pem::new());
    let missing = refused(|config, directory| {
        pem.config(config);
        config.tls.certificate = Some(directory.join("nowhere.pem"));
    });
    let missing = missing.await;
    assert!(matches!(
        missing,
        OpenError::Certificate(CertificateError::Unreadable { .. })
    ));
    assert!(
        missing
            .to_string()
            .contains("nowhere.pem: cannot be read: "),
        "{missing}"
    );

    let mismatched = refused(|config, _| {
        pem.config(config);
        config.tls.key = Some(other.key.clone());
    });
    let expected = format!(
        "{}: is not the key of the certificate in {}",
        other.key.display(),
        pem.certificate.display()
    );
    assert_eq!(mismatched.await.to_string(), expected);

    let swapped = refused(|config, _| {
        config.tls.certificate = Some(pem.key.clone());
        config.tls.key = Some(pem.certificate.clone());
    });
    let swapped = swapped.await.to_string();
    let expected = format!("{}: must hold a certificate in PEM form", pem.key.display());
    assert!(swapped.starts_with(&expected), "{swapped}");

    let encrypted = refused(|config, directory| {
        let key = directory.join("encrypted.pem");
        let text = std::fs::read_to_string(&pem.key).unwrap();
        std::fs::write(&key, text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).unwrap();
        pem.config(config);
        config.tls.key = Some(key);
    });
    let encrypted = encrypted.await.to_string();
    assert!(
        encrypted.contains("encrypted.pem: the private key is encrypted"),
        "{encrypted}"
    );

    let broken = refused(|config, directory| {
        let certificate = directory.join("broken.pem");
        std::fs::write(&certificate, as_pem(b"no certificate")).unwrap();
        pem.config(config);
        config.tls.certificate = Some(certificate);
    });
    let broken = broken.await.to_string();
    assert!(broken.contains("broken.pem: "), "{broken}");

    let alone = refused(|config, _| config.tls.certificate = Some(pem.certificate.clone()));
    assert_eq!(
        alone.await.to_string(),
        "tls.certificate: needs tls.key beside it"
    );
    let alone = refused(|config, _| config.tls.key = Some(pem.key.clone()));
    assert_eq!(
        alone.await.to_string(),
        "tls.key: needs tls.certificate beside it"
    );
}

#[tokio::test]
async fn a_wrong_key_is_one_line_and_exit_status_2() {
    let (pem, other, data) = (Pem::new(), Pem::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = (pem.certificate.display(), other.key.display());
    let (certificate, key) = (certificate.to_string(), key.to_string());
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let (code, out, words) = command(data.path(), &arguments).await;
    assert_eq!((code, out.as_str()), (2, ""), "{words}");
    let expected =
        format!("campanile: {key}: is not the key of the certificate in {certificate}\n");
    assert_eq!(words, expected);
}

#[tokio::test]
async fn commands_trust_the_hub_of_their_data_directory_and_nobody_in_its_place() {
    let data = tempfile::tempdir().unwrap();
    // For a name at which no command calls it.
    let (certificate, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    let (made, its_key) = make("hub.example");
    std::fs::write(&certificate, made).unwrap();
    std::fs::write(&key, its_key).unwrap();
    let flags = [
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let hub = BinaryHub::serve(data.path(), &flags).await;
    assert!(hub.base.starts_with("https://127.0.0.1:"), "{}", hub.base);
    let send = ["send", "--user", "42", "--message", "m"];
    let (code, id, words) = command(data.path(), &send).await;
    assert_eq!(code, 0, "{words}");
    let (code, heard, words) =
        command(data.path(), &["listen", "--user", "42", "--count", "1"]).await;
    assert_eq!(code, 0, "{words}");
    assert!(heard.contains(id.trim()), "{heard}");
    let (code, _, words) = command(data.path(), &["queue", "diagnose"]).await;
    assert_eq!(code, 0, "{words}");

    // Somebody else at its address, with whatever certificate, is not it.
    let trusted = data.path().join("trusted");
    let text = std::fs::read_to_string(&trusted).unwrap();
    let (digits, last) = text.trim_end().split_at(text.trim_end().len() - 1);
    let other = format!("{digits}{}\n", if last == "0" { "1" } else { "0" });
    std::fs::write(&trusted, other).unwrap();
    let (code, out, words) = command(data.path(), &send).await;
    assert_eq!((code, out.as_str()), (4, ""), "{words}");
    std::fs::write(&trusted, "nonsense\n").unwrap();
    let (code, _, words) = command(data.path(), &send).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("trusted holds no certificates' SHA-256"),
        "{words}"
    );
    assert_eq!(hub.terminate().await, Some(0));
}

#[tokio::test]
async fn the_consoles_cookie_goes_over_tls_alone() {
    let pem = Pem::new();
    let hub = pem.hub(|_| {}).await;
    let (status, issued) = hub.administer("/console/code", &json!({})).await;
    assert_eq!(status, 201, "{issued}");
    let code = issued["code"].as_str().unwrap();
    let request =
        format!("GET /sign-in?code={code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = asked(&pem, &hub, &request).await;
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: "));
    assert!(
        cookie.is_some_and(|it| it.contains("; HttpOnly") && it.ends_with("; Secure")),
        "{answer}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn browsers_are_told_to_come_over_tls_alone_if_that_is_configured_and_over_tls_alone() {
    const PATHS: [&str; 4] = ["/healthz", "/", "/notifications/stream", "/no/such/path"];
    let pem = Pem::new();
    let day = Duration::from_hours(24);
    for (configured, said) in [
        (None, None),
        (Some(day), Some("max-age=86400")),
        (Some(Duration::ZERO), Some("max-age=0")),
    ] {
        let hub = pem.hub(|config| config.tls.hsts = configured).await;
        let mut http2 = Http2::to(hub.addr(), &pem).await;
        for path in PATHS {
            let request = http2.request("GET", path, &[]);
            let answer = http2.call(request, "").await;
            let header = answer.headers().get("strict-transport-security");
            assert_eq!(header.map(|it| it.to_str().unwrap()), said, "{path}");

            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = asked(&pem, &hub, &request).await;
            let mut lines = answer.lines();
            let header = lines.find_map(|it| it.strip_prefix("strict-transport-security: "));
            assert_eq!(header, said, "{answer}");
        }
        // A stream stays with its connection, and is told like any other answer.
        let stream = http2.open(&hub.token("42", &[], &[]), None).await;
        let header = stream.headers().get("strict-transport-security");
        assert_eq!(header.map(|it| it.to_str().unwrap()), said);
        // Whoever speaks plain HTTP is told nothing that a browser may not heed there.
        let plain = hub.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let plain = String::from_utf8(plain).unwrap();
        assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
        assert!(!plain.contains("strict-transport-security"), "{plain}");
        assert!(
            plain.contains("x-content-type-options: nosniff\r\n"),
            "{plain}"
        );
        drop(stream);
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_hub_made_by_hand_speaks_tls_as_well() {
    let (pem, data) = (Pem::new(), tempfile::tempdir().unwrap());
    let mut config = Config::default();
    pem.config(&mut config);
    let hub = async |config: &Config| {
        let path = data.path().join("hub.db");
        let opened = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
        let authenticator = Authenticator::new(Secret::random(), &config.auth);
        campanile::Hub::start(opened, config, authenticator)
            .await
            .unwrap()
    };
    let listener = async || TcpListener::bind("127.0.0.1:0").await.unwrap();

    let (wrong, running) = (Pem::new(), hub(&config).await);
    let mut mismatched = config.clone();
    mismatched.tls.key = Some(wrong.key.clone());
    let refusal = server::serve(
        listener().await,
        running,
        &mismatched,
        std::future::ready(()),
    );
    let refusal = soon("the refusal", refusal).await.expect_err("a refusal");
    assert!(
        matches!(refusal, server::RunError::Certificate(_)),
        "{refusal}"
    );

    let running = hub(&config).await;
    let listener = listener().await;
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        server::serve(listener, running, &config, shutdown).await
    });
    let mut io = pem.connect(addr, "http/1.1").await.unwrap();
    io.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon("the answer", io.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    stop.send(()).unwrap();
    soon("the end", serving)
        .await
        .unwrap()
        .expect("an orderly stop");
}
