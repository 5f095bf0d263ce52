//! What scripts rely on: results on stdout and words on stderr, the documented exit statuses, and a `listen` that comes
//! back by itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use campanile::auth::{Authenticator, Scope, Secret};
use campanile::clock::Timestamp;
use campanile::config::{Auth, Config};

/// The command in a directory of its own, with none of the variables that the tests' environment may hold.
fn campanile(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAMPANILE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(campanile(directory, arguments).output().expect("it starts"))
}

#[track_caller]
fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("it was not killed");
    (code, text(output.stdout), text(output.stderr))
}

/// Answers one connection after the other with these bytes, and returns the head of each request.
fn scripted(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut head = String::new();
            let mut lines = BufReader::new(socket.try_clone().expect("a handle"));
            while !head.ends_with("\r\n\r\n") {
                let read = lines.read_line(&mut head).expect("a request");
                assert_ne!(read, 0, "the request ended early: {head}");
            }
            requests.push(head.to_ascii_lowercase());
            socket.write_all(answer.as_bytes()).expect("somebody reads");
        }
        requests
    });
    (address, served)
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}")
}

fn notification(id: &str, notification: &str) -> String {
    format!("id: {id}\nevent: notification\ndata: {{\"notificationId\":\"{notification}\"}}\n\n")
}

#[test]
fn token_prints_a_token_alone_and_says_when_it_made_the_secret() {
    let home = tempfile::tempdir().expect("a directory");
    let arguments = [
        "token", "--data", "hub", "--user", "42", "--role", "ADMIN", "--scope", "publish",
    ];
    let (code, _, stderr) = run(home.path(), &arguments);
    assert_eq!(code, 0);
    assert!(
        stderr.starts_with("campanile: made a new secret in hub/secret;")
            && stderr.lines().count() == 1,
        "{stderr}"
    );
    let (code, stdout, stderr) = run(home.path(), &arguments);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let secret = Secret::load_or_create(&home.path().join("hub/secret")).expect("a secret");
    let authenticator = Authenticator::new(secret, &Auth::default());
    let caller = authenticator
        .token(stdout.trim_end(), Timestamp::now())
        .expect("a caller");
    assert_eq!(&*caller.publisher(), "user:campanile/42");
    assert!(caller.scopes().has(Scope::Publish) && !caller.scopes().has(Scope::Admin));
}

#[test]
fn keys_are_kept_in_the_store_when_no_hub_runs() {
    let home = tempfile::tempdir().expect("a directory");
    let key = |action: &[&str]| run(home.path(), &[&["key", "--data", "hub"], action].concat());
    let (code, _, stderr) = key(&["list"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(!home.path().join("hub").exists(), "listing makes no store");
    let (code, created, stderr) = key(&["create", "--name", "billing", "--scope", "publish"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        created.starts_with("cmp_") && created.len() == 4 + 43 + 1,
        "{created}"
    );
    let (code, stdout, stderr) = key(&["create", "--name", "billing", "--scope", "publish"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "campanile: billing exists already\n");
    assert_eq!(key(&["revoke", "--name", "billing"]).0, 0);
    assert_eq!(key(&["revoke", "--name", "billing"]).0, 1);
    let (code, stdout, _) = key(&["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, 0);
    assert_eq!(listed["keys"][0]["name"], "billing");
    assert!(listed["keys"][0]["revokedAt"].is_string(), "{stdout}");
    assert!(!stdout.contains(created.trim_end()), "a key is shown once");
}

#[test]
fn wrong_configuration_is_one_line_and_exit_status_2() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("campanile.toml"), "[serve]\nlistne = 1\n").expect("a file");
    for command in [
        &["serve"] as &[&str],
        &[],
        &["config", "--effective"],
        &["token", "--user", "1"],
    ] {
        let (code, stdout, stderr) = run(home.path(), command);
        assert_eq!((code, stdout.as_str()), (2, ""), "{command:?}");
        assert!(
            stderr.starts_with("campanile: campanile.toml:2: serve.listne: "),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let (code, _, stderr) = run(home.path(), &["serve", "--config", "none.toml"]);
    assert_eq!(code, 2);
    assert!(
        stderr.starts_with("campanile: none.toml: cannot be read: "),
        "{stderr}"
    );
}

#[test]
fn config_prints_the_documented_defaults_and_what_is_in_effect() {
    let home = tempfile::tempdir().expect("a directory");
    let (_, defaults, _) = run(home.path(), &["config"]);
    assert_eq!(defaults, campanile::config::DEFAULTS);
    let output = campanile(home.path(), &["config", "--effective"])
        .env("CAMPANILE_STREAM_PER_USER", "7")
        .output();
    let (code, effective, _) = ended(output.expect("it starts"));
    let mut expected = Config::default();
    expected.stream.per_user = 7;
    assert_eq!(code, 0);
    assert_eq!(toml::from_str::<Config>(&effective), Ok(expected));
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let home = tempfile::tempdir().expect("a directory");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = campanile(home.path(), &["config"]);
    let (code, _, stderr) = ended(command.stdout(writer).output().expect("it starts"));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_hub_that_cannot_be_reached_is_exit_status_4() {
    let home = tempfile::tempdir().expect("a directory");
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let url = format!("http://{closed}");
    let arguments = [
        "send",
        "--url",
        &url,
        "--token",
        "x",
        "--user",
        "1",
        "--message",
        "m",
    ];
    let (code, stdout, stderr) = run(home.path(), &arguments);
    assert_eq!((code, stdout.as_str()), (4, ""));
    assert!(
        stderr.starts_with("campanile: cannot reach http://127.0.0.1:"),
        "{stderr}"
    );
}

#[test]
fn a_refusal_is_told_in_the_hubs_words_and_by_the_exit_status() {
    let home = tempfile::tempdir().expect("a directory");
    for (status, body, code, words) in [
        (
            "401 Unauthorized",
            r#"{"detail":"the token has expired"}"#,
            5,
            "401: the token has expired",
        ),
        ("403 Forbidden", "", 5, "403: Forbidden"),
        (
            "422 Unprocessable Content",
            r#"{"title":"t","errors":[{"field":"link","message":"is bad"}]}"#,
            1,
            "422: t; link is bad",
        ),
        (
            "503 Service Unavailable",
            r#"{"title":"full"}"#,
            1,
            "503: full",
        ),
    ] {
        let (address, served) = scripted(vec![answer(status, "application/problem+json", body)]);
        let url = format!("http://{address}");
        let arguments = [
            "send",
            "--url",
            &url,
            "--token",
            "x",
            "--user",
            "1",
            "--message",
            "m",
        ];
        let (ended_with, stdout, stderr) = run(home.path(), &arguments);
        assert_eq!((ended_with, stdout.as_str()), (code, ""), "{stderr}");
        assert_eq!(stderr, format!("campanile: the hub answered {words}\n"));
        let requests = served.join().expect("the server ended well");
        assert!(
            requests[0].starts_with("post /notifications http/1.1\r\n"),
            "{requests:?}"
        );
        assert!(
            requests[0].contains("authorization: bearer x\r\n"),
            "{requests:?}"
        );
    }
}

#[test]
fn a_token_is_minted_only_for_a_hub_whose_secret_is_at_hand() {
    let home = tempfile::tempdir().expect("a directory");
    assert_eq!(run(home.path(), &["token", "--user", "1"]).0, 0);
    let (code, _, stderr) = run(
        home.path(),
        &[
            "send",
            "--url",
            "http://127.0.0.1:1",
            "--user",
            "1",
            "--message",
            "m",
        ],
    );
    assert_eq!(code, 2);
    assert!(stderr.contains("a token is needed"), "{stderr}");
}

#[test]
fn listen_comes_back_by_itself_resumes_and_prints_nothing_twice() {
    let home = tempfile::tempdir().expect("a directory");
    let stream = |events: String| answer("200 OK", "text/event-stream; charset=utf-8", &events);
    let connected =
        "retry: 1\nid: e-1\nevent: connected\ndata: {\"data\":{\"heartbeatSeconds\":1}}\n\n";
    let quiet = "id: e-3\nevent: heartbeat\ndata: {}\n\n";
    let (address, served) = scripted(vec![
        stream(format!("{connected}{}{quiet}", notification("e-2", "a"))),
        answer("502 Bad Gateway", "text/html", "<h1>no</h1>"),
        stream(format!(
            "{connected}{}{}",
            notification("e-2", "a"),
            notification("e-4", "b")
        )),
        answer("200 OK", "text/html", "a login page"),
        answer("403 Forbidden", "application/problem+json", "{}"),
    ]);
    let url = format!("http://{address}");
    let (code, stdout, stderr) = run(home.path(), &["listen", "--url", &url, "--token", "x"]);
    assert_eq!(code, 5, "{stderr}");
    let printed: Vec<&str> = stdout.lines().collect();
    let expected = [
        r#"{"eventId":"e-2","notificationId":"a"}"#,
        r#"{"eventId":"e-4","notificationId":"b"}"#,
    ];
    assert_eq!(printed, expected);
    let requests = served.join().expect("the server ended well");
    let resumed_from: Vec<Option<&str>> = requests
        .iter()
        .map(|head| {
            head.lines()
                .find_map(|line| line.strip_prefix("last-event-id: "))
        })
        .collect();
    let expected = [None, Some("e-3"), Some("e-3"), Some("e-4"), Some("e-4")];
    assert_eq!(resumed_from, expected);
}

#[test]
fn listen_ends_after_as_many_lines_as_were_asked_for() {
    let home = tempfile::tempdir().expect("a directory");
    let events = format!("{}{}", notification("e-1", "a"), notification("e-2", "b"));
    let (address, served) = scripted(vec![answer("200 OK", "text/event-stream", &events)]);
    let url = format!("http://{address}");
    let arguments = [
        "listen",
        "--url",
        &url,
        "--token",
        "x",
        "--count",
        "1",
        "--last-event-id",
        "e-0",
    ];
    let (code, stdout, _) = run(home.path(), &arguments);
    assert_eq!(code, 0);
    assert_eq!(stdout, "{\"eventId\":\"e-1\",\"notificationId\":\"a\"}\n");
    let requests = served.join().expect("the server ended well");
    assert!(
        requests[0].contains("last-event-id: e-0\r\n"),
        "{requests:?}"
    );
}
