//! Bad input gets a problem that names the field; nothing of it is stored, delivered, or logged if it is secret.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{TestHub, binary, soon, token};

const JSON: &str = "application/json";

/// Posts a body as it stands and returns the status and the answer, which must be a problem if it is an error.
async fn post(
    hub: &TestHub,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let request = hub
        .client()
        .post(hub.url(path))
        .bearer_auth(hub.token("publisher", &[], &["admin"]))
        .header("content-type", content_type)
        .body(body);
    answer(request).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let content_type = response.headers()["content-type"].clone();
    let answer: Value = response.json().await.expect("JSON");
    if status >= 400 {
        assert_eq!(content_type, "application/problem+json", "{answer}");
        assert_eq!(answer["type"], "about:blank");
        assert_eq!(answer["status"], status);
        assert!(
            answer["title"].is_string() && answer["detail"].is_string(),
            "{answer}"
        );
    }
    (status, answer)
}

/// Posts a draft that must be refused for one field, and returns what is said about it.
async fn refused_for(hub: &TestHub, field: &str, draft: &Value) -> String {
    let (status, problem) = post(
        hub,
        "/notifications/create-and-notify",
        JSON,
        draft.to_string(),
    )
    .await;
    assert_eq!(status, 422, "{draft} was answered {problem}");
    let errors = problem["errors"].as_array().expect("errors");
    let error = errors
        .iter()
        .find(|error| error["field"] == field)
        .unwrap_or_else(|| panic!("{field} is not named in {problem}"));
    error["message"].as_str().expect("a message").to_owned()
}

/// That nothing has been stored, and that the next thing to reach a stream is what is published now.
async fn nothing_came_of_it(hub: &TestHub, stream: &mut crate::support::EventStream) {
    let status = hub.status().await;
    assert_eq!(status["stored"]["notifications"], 0, "{status}");
    assert_eq!(status["stored"]["broadcasts"], 0, "{status}");
    hub.publish(json!({"targetUserId": "42", "message": "the first"}))
        .await;
    stream.expect_next_message("the first").await;
}

#[tokio::test]
async fn a_draft_that_breaks_a_rule_is_refused_by_its_field_and_comes_to_nothing() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("42", &["ADMIN"]).await;

    let cases = [
        ("audience", json!({"message": "m"})),
        (
            "everyone",
            json!({"message": "m", "everyone": true, "targetRoles": ["ADMIN"]}),
        ),
        (
            "everyone",
            json!({"message": "m", "everyone": true, "targetUserId": "42"}),
        ),
        (
            "targetUserId",
            json!({"message": "m", "targetUserId": "4\n2"}),
        ),
        ("targetUserId", json!({"message": "m", "targetUserId": ""})),
        (
            "targetUserId",
            json!({"message": "m", "targetUserId": "x".repeat(129)}),
        ),
        (
            "targetUserIds[1]",
            json!({"message": "m", "targetUserIds": ["42", "\u{0}"]}),
        ),
        (
            "targetRoles[0]",
            json!({"message": "m", "targetRoles": ["AD\u{7}MIN"]}),
        ),
        (
            "targetRoles[0]",
            json!({"message": "m", "targetRoles": ["AD\u{2028}MIN"]}),
        ),
        (
            "targetUserIds",
            json!({"message": "m", "targetUserIds": vec!["42"; 1_001]}),
        ),
        (
            "targetRoles",
            json!({"message": "m", "targetRoles": vec!["ADMIN"; 33]}),
        ),
        (
            "module",
            json!({"message": "m", "targetUserId": "42", "module": "or\rders"}),
        ),
        (
            "actionType",
            json!({"message": "m", "targetUserId": "42", "actionType": "a\u{1b}b"}),
        ),
        ("message", json!({"targetUserId": "42"})),
        ("message", json!({"targetUserId": "42", "message": " "})),
        (
            "message",
            json!({"targetUserId": "42", "message": "m".repeat(4_097)}),
        ),
        (
            "title",
            json!({"targetUserId": "42", "message": "m", "title": "t".repeat(257)}),
        ),
        (
            "details",
            json!({"targetUserId": "42", "message": "m", "details": "d".repeat(16_385)}),
        ),
        (
            "data",
            json!({"targetUserId": "42", "message": "m", "data": "d".repeat(16_385)}),
        ),
        (
            "link",
            json!({"targetUserId": "42", "message": "m", "link": "javascript:alert(1)"}),
        ),
        (
            "link",
            json!({"targetUserId": "42", "message": "m", "link": "java\tscript:alert(1)"}),
        ),
        (
            "link",
            json!({"targetUserId": "42", "message": "m", "link": " javascript:alert(1)"}),
        ),
        (
            "link",
            json!({"targetUserId": "42", "message": "m", "link": "data:text/html,x"}),
        ),
        (
            "severity",
            json!({"targetUserId": "42", "message": "m", "severity": "urgent"}),
        ),
        (
            "severity",
            json!({"targetUserId": "42", "message": "m", "severity": 3}),
        ),
        (
            "expiresAt",
            json!({"targetUserId": "42", "message": "m", "expiresAt": "tomorrow"}),
        ),
        (
            "expiresAt",
            json!({"targetUserId": "42", "message": "m", "expiresAt": "2001-01-01T00:00:00Z"}),
        ),
        ("targetUserId", json!({"targetUserId": 42, "message": "m"})),
        (
            "targetRoles",
            json!({"targetRoles": "ADMIN", "message": "m"}),
        ),
        (
            "targetRoles[1]",
            json!({"targetRoles": ["ADMIN", 7], "message": "m"}),
        ),
        ("body", json!(["42", [], ["ADMIN"], false, "m"])),
        ("body", json!("m")),
    ];
    for (field, draft) in &cases {
        refused_for(&hub, field, draft).await;
    }
    nothing_came_of_it(&hub, &mut stream).await;
    hub.stop().await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_and_the_one_it_was_meant_to_be_is_suggested() {
    let hub = TestHub::start().await;
    for (written, meant) in [
        ("targetRole", "targetRoles"),
        ("target_user_id", "targetUserId"),
        ("targetuserid", "targetUserId"),
        ("tilte", "title"),
    ] {
        let draft = json!({"message": "m", "targetUserIds": ["42"], written: "x"});
        let message = refused_for(&hub, written, &draft).await;
        assert!(
            message.contains(&format!("did you mean {meant}?")),
            "{written}: {message}"
        );
    }
    let draft = json!({"message": "m", "everyone": true, "colour": "red"});
    assert_eq!(
        refused_for(&hub, "colour", &draft).await,
        "is not a known field"
    );

    let twice = r#"{"everyone":true,"message":"one","message":"two"}"#;
    let (status, problem) = post(&hub, "/notifications", JSON, twice).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("message")),
        "{problem}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_body_of_65_kib_is_413_with_and_without_a_length() {
    let hub = TestHub::start().await;
    let large =
        json!({"everyone": true, "message": "m", "details": "d".repeat(65 * 1024)}).to_string();
    let (status, problem) = post(&hub, "/notifications", JSON, large.clone()).await;
    assert_eq!(status, 413, "{problem}");

    // Unknown length: sent in chunks.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = large
        .as_bytes()
        .chunks(8_000)
        .map(|piece| Ok(piece.to_vec()))
        .collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let (status, problem) = post(&hub, "/notifications", JSON, body).await;
    assert_eq!(status, 413, "{problem}");

    let batch = format!("[{}]", "1,".repeat(4 * 1024 * 1024 + 1));
    let (status, problem) = post(&hub, "/notifications/batch", JSON, batch).await;
    assert_eq!(status, 413, "{problem}");
    assert_eq!(hub.status().await["counts"]["published"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn json_that_nests_ten_thousand_deep_is_refused_wherever_it_stands() {
    let hub = TestHub::start().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let inside = |field: &str| format!(r#"{{"everyone":true,"message":"m","{field}":{deep}}}"#);
    for (body, expected) in [
        (deep.clone(), "body"),
        (inside("data"), "data"),
        (inside("title"), "title"),
        (inside("strange"), "strange"),
    ] {
        let (status, problem) = post(&hub, "/notifications", JSON, body).await;
        assert_eq!(status, 422, "{expected}: {problem}");
        assert_eq!(problem["errors"][0]["field"], expected, "{problem}");
    }
    for body in ["[".repeat(10_000), r#"{"data":"#.repeat(7_000)] {
        let (status, problem) = post(&hub, "/notifications", JSON, body).await;
        assert_eq!(status, 400, "{problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_json_in_utf_8_is_refused_by_what_it_is() {
    let hub = TestHub::start().await;
    let good = r#"{"everyone":true,"message":"m"}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let (status, problem) = post(&hub, "/notifications", content_type, good).await;
        assert_eq!(status, 415, "{content_type}: {problem}");
    }
    let request = hub
        .client()
        .post(hub.url("/notifications"))
        .bearer_auth(hub.token("publisher", &[], &["publish"]))
        .body(good);
    assert_eq!(answer(request).await.0, 415, "no content type at all");

    for coding in ["gzip", "br", "identity, gzip"] {
        let request = hub
            .client()
            .post(hub.url("/notifications"))
            .bearer_auth(hub.token("publisher", &[], &["publish"]))
            .header("content-type", JSON)
            .header("content-encoding", coding)
            .body(good);
        let (status, problem) = answer(request).await;
        assert_eq!(status, 415, "{coding}: {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("compressed"),
            "{problem}"
        );
    }

    let invalid = b"{\"everyone\":true,\"message\":\"\xff\xfe\"}".to_vec();
    let (status, problem) = post(&hub, "/notifications", JSON, invalid).await;
    assert_eq!(status, 400, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("byte 28"),
        "{problem}"
    );

    for (body, place) in [
        ("", "line 1 column 0"),
        ("{\"message\":\n oops}", "line 2 column 2"),
        ("{} {}", "line 1 column 4"),
    ] {
        let (status, problem) = post(&hub, "/notifications", JSON, body).await;
        assert_eq!(status, 400, "{body}: {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(place),
            "{body}: {problem}"
        );
    }
    assert_eq!(hub.status().await["counts"]["published"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_408() {
    let hub = TestHub::with(|config| config.serve.body_timeout = Duration::from_secs(1)).await;
    let token = hub.token("publisher", &[], &["publish"]);
    let answer = hub
        .raw(
            format!(
                "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
            )
            .as_bytes(),
        )
        .await;
    let answer = String::from_utf8(answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn in_a_batch_each_draft_is_answered_and_a_bad_one_takes_no_other_with_it() {
    let hub = TestHub::start().await;
    let mut stream = hub.stream("42", &[]).await;
    let drafts = [
        r#"{"targetUserId":"42","message":"one"}"#.to_owned(),
        r#"{"targetRole":"ADMIN","message":"no"}"#.to_owned(),
        format!(
            r#"{{"targetUserId":"42","message":"no","details":"{}"}}"#,
            "d".repeat(64 * 1024)
        ),
        r#"{"message":"no"}"#.to_owned(),
        r#"{"targetUserId":"42","message":"two"}"#.to_owned(),
        "7".to_owned(),
    ];
    for (content_type, body) in [
        (JSON, format!("[{}]", drafts.join(","))),
        (
            "application/x-ndjson",
            format!("{}\r\n\n", drafts.join("\n")),
        ),
    ] {
        let (status, answer) = post(&hub, "/notifications/batch", content_type, body).await;
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().expect("results");
        let statuses: Vec<&Value> = results.iter().map(|result| &result["status"]).collect();
        assert_eq!(statuses, [201, 422, 413, 422, 201, 422], "{answer}");
        assert_eq!(results[1]["problem"]["errors"][0]["field"], "targetRole");
        assert_eq!(results[3]["problem"]["errors"][0]["field"], "audience");
        assert_eq!(results[0]["notification"]["duplicate"], false);
        assert_eq!(stream.messages(2).await, ["one", "two"]);
    }

    // A line that is not JSON concerns itself only; an array that is not JSON is no batch at all.
    let lines = "{\"targetUserId\":\"42\",\"message\":\"three\"}\n{oops\n";
    let (_, answer) = post(&hub, "/notifications/batch", "application/x-ndjson", lines).await;
    assert_eq!(
        (
            &answer["results"][0]["status"],
            &answer["results"][1]["status"]
        ),
        (&json!(201), &json!(400))
    );
    assert_eq!(stream.messages(1).await, ["three"]);
    for (body, expected) in [("[{oops]", 400), ("{}", 422), ("[{}", 400)] {
        assert_eq!(
            post(&hub, "/notifications/batch", JSON, body).await.0,
            expected,
            "{body}"
        );
    }
    let too_many =
        serde_json::to_string(&vec![json!({"targetUserId": "42", "message": "m"}); 1_001]).unwrap();
    let (status, problem) = post(&hub, "/notifications/batch", JSON, too_many).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(
        post(&hub, "/notifications/batch", JSON, "[]").await,
        (200, json!({"results": []}))
    );
    hub.stop().await;
}

#[tokio::test]
async fn an_api_key_s_name_and_scopes_are_checked_like_a_draft() {
    let hub = TestHub::start().await;
    for (field, body) in [
        ("name", json!({"name": "bil\nling", "scopes": ["publish"]})),
        ("name", json!({"name": "", "scopes": ["publish"]})),
        ("name", json!({"scopes": ["publish"]})),
        ("scopes", json!({"name": "billing", "scopes": []})),
        (
            "scopes[0]",
            json!({"name": "billing", "scopes": ["everything"]}),
        ),
        (
            "scopes[1]",
            json!({"name": "billing", "scopes": ["publish", 7]}),
        ),
        (
            "role",
            json!({"name": "billing", "scopes": ["publish"], "role": "x"}),
        ),
    ] {
        let (status, problem) = post(&hub, "/keys", JSON, body.to_string()).await;
        assert_eq!(status, 422, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_unknown_action_names_the_field_and_what_is_allowed() {
    let hub = TestHub::start().await;
    for action in [json!("create"), json!(7), json!("")] {
        let body = json!({"action": action, "everyone": true, "message": "m"});
        let (status, problem) = post(&hub, "/notifications", JSON, body.to_string()).await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(problem["errors"][0]["field"], "action", "{problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_cursor_that_is_garbage_is_a_gap_and_no_error() {
    let hub = TestHub::start().await;
    for cursor in ["garbage", "zzzzzzzz-5", "-", "\u{e9}\u{fffd}"] {
        let mut stream = hub.resume("42", &[], cursor).await;
        assert_eq!(
            stream.connected.data["data"]["recovered"], false,
            "{cursor}"
        );
        assert_eq!(stream.next().await.kind(), "gap", "{cursor}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn nothing_that_is_secret_or_personal_stands_in_the_log() {
    let data = tempfile::tempdir().expect("a directory");
    let log = data.path().join("log");
    let mut hub = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--no-link", "--data"])
        .arg(data.path())
        .env("CAMPANILE_LOG", "campanile=trace")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).expect("a file for the log"))
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(hub.stdout.take().expect("its output")).lines();
    let line = soon("its first line", lines.next_line()).await;
    let line = line.expect("a line").expect("a line before the end");
    let (_, base) = line.rsplit_once(' ').expect("an address");

    let good = token(&data, "publisher", &["--scope", "publish"]).await;
    let client = reqwest::Client::new();
    let draft = json!({"everyone": true, "message": "secrettext", "link": "javascript:secretlink"});
    for bearer in [good.as_str(), "secretgarbage"] {
        let request = client
            .post(format!("{base}/notifications?secretquery=1"))
            .bearer_auth(bearer)
            .json(&draft);
        request.send().await.expect("an answer");
    }
    for (path, header, value) in [
        ("/sign-in?code=secretcode", "accept", "*/*"),
        (
            "/notifications/status?token=secretquery",
            "cookie",
            "campanile_session=secretcookie",
        ),
        ("/secretpath", "authorization", "Bearer cmp_secretkey"),
        ("/keys/secretpath", "last-event-id", "secretcursor"),
    ] {
        let request = client.get(format!("{base}{path}")).header(header, value);
        request.send().await.expect("an answer");
    }
    hub.kill().await.expect("its end");

    let log = std::fs::read_to_string(&log).expect("the log");
    let answered = log.lines().filter(|line| line.contains("answered")).count();
    assert_eq!(answered, 6, "each request has its line: {log}");
    assert!(!log.contains("secret"), "{log}");
    let (_, signature) = good.rsplit_once('.').expect("a token has three parts");
    assert!(!log.contains(signature), "{log}");
}
