//! What is wrong with the queue is said, with what to type next; what is stuck is released. A hub that runs and the file
//! of one that does not say the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile::auth::Scopes;
use campanile::clock::Timestamp;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::support::{BinaryHub, TestHub, binary, soon, to_user};

/// What a command ended with: its status, what it printed, and what it said.
async fn campanile(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = binary();
    command.arg("queue").args(arguments).arg("--data").arg(data);
    let output = soon("its end", command.output()).await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("it was not killed");
    (code, text(output.stdout), text(output.stderr))
}

/// The diagnosis, and the exit status beside it.
async fn diagnosed(data: &Path, more: &[&str]) -> (i32, Value) {
    let arguments = [&["diagnose", "--json"], more].concat();
    let (code, stdout, stderr) = campanile(data, &arguments).await;
    let diagnosis = serde_json::from_str(&stdout);
    (
        code,
        diagnosis.unwrap_or_else(|_| panic!("{stdout}{stderr}")),
    )
}

fn file(data: &Path) -> PathBuf {
    data.join("campanile.db")
}

/// A shell on the file, as a person may have one: nothing is enforced.
fn shell(data: &Path) -> Connection {
    let connection = Connection::open(file(data)).expect("the file");
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON")
        .expect("nothing is enforced");
    connection
}

/// The store of a hub that has stopped, with so many notifications in it that nobody took, all failed.
async fn left_by_a_hub(notifications: usize) -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("a directory");
    let hub = TestHub::with(|config| {
        config.serve.data = data.path().to_owned();
        config.delivery.retry = vec![Duration::from_millis(1)];
    })
    .await;
    for number in 0..notifications {
        hub.publish(to_user("ann", number)).await;
    }
    hub.until("all have failed", |status| {
        status["queue"]["failed"] == json!(notifications)
    })
    .await;
    hub.stop().await;
    data
}

fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).expect("it is before 9999")
}

/// Leaves what failed half done: claimed so long ago, by somebody who is gone.
fn claim_by_hand(connection: &Connection, minutes: u64, attempts: u32) {
    let since = Timestamp::now().saturating_sub(Duration::from_mins(minutes));
    let claimed = connection
        .execute(
            "UPDATE delivery SET state = 'owed', next_ms = 1, attempts = ?2, owner = 'nobody', leased_ms = ?1",
            params![millis(since), attempts],
        )
        .expect("it is written");
    assert!(claimed > 0);
}

fn of_check<'a>(diagnosis: &'a Value, check: &str) -> Vec<&'a Value> {
    let findings = diagnosis["findings"].as_array().expect("findings");
    findings.iter().filter(|f| f["check"] == check).collect()
}

/// Without what differs from one look to the next.
fn timeless(mut diagnosis: Value) -> Value {
    for name in ["at", "running"] {
        diagnosis.as_object_mut().expect("an object").remove(name);
    }
    diagnosis
}

#[tokio::test]
async fn a_hub_without_a_care_is_fine_and_the_exit_status_says_so() {
    let data = left_by_a_hub(1).await;
    let (code, stdout, stderr) = campanile(data.path(), &["diagnose"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(
        stdout.starts_with("No hub runs on this store; it was read as it is.\n\nok "),
        "{stdout}"
    );
    assert!(
        !stdout.contains("ALERT") && !stdout.contains("advice"),
        "{stdout}"
    );
    assert!(
        stdout.lines().all(|line| line.chars().count() <= 80),
        "{stdout}"
    );
    assert!(!stdout.contains('\x1b'), "no colours where nobody looks");
}

#[tokio::test]
async fn the_diagnosis_in_json_is_as_scripts_know_it() {
    let data = left_by_a_hub(1).await;
    let (code, diagnosis) = diagnosed(data.path(), &["--deep"]).await;
    let failed = &diagnosis["failed"]["first"][0];
    let expected = json!({
        "severity": "fine",
        "running": false,
        "findings": [
            {"check": "invariants", "severity": "fine", "says": "the store contradicts itself nowhere"},
            {"check": "file", "severity": "fine", "says": "every page of the file was read, and is whole"},
            {"check": "stuck", "severity": "fine", "says": "nothing was left half done"},
            {"check": "failed", "severity": "fine", "says": "1 recipient failed in the last 24 h"},
            {"check": "queue", "severity": "fine", "says": "the log is through the fan-out"},
            {"check": "schedule", "severity": "fine", "says": "nothing that is scheduled is overdue"},
            {"check": "doubles", "severity": "fine",
             "says": "nothing was likely sent twice, among 1 of the last 24 h"},
            {"check": "references", "severity": "fine", "says": "no reference is past 9000"},
        ],
        "at": diagnosis["at"],
        "counts": {"pending": 0, "processing": 0, "sent": 0, "failed": 1, "expired": 0,
                   "scheduled": 0, "notifications": 1, "broadcasts": 0},
        "queue": {"head": 1, "settled": 1},
        "overdue": {"count": 0},
        "stuck": {"count": 0, "first": []},
        "failed": {"count": 1, "first": [
            {"notificationId": failed["notificationId"], "recipient": {"kind": "user", "id": "ann"},
             "at": failed["at"], "attempts": 1, "reason": "no stream was open"},
        ]},
        "duplicates": 0,
        "doubles": {"count": 0, "first": []},
        "compared": 1,
        "references": [],
        "broken": [],
        "deep": {"finished": true, "damage": []},
    });
    assert_eq!((code, diagnosis), (0, expected));
}

#[tokio::test]
async fn what_is_stuck_is_an_alert_until_it_is_unlocked() {
    let data = left_by_a_hub(2).await;
    claim_by_hand(&shell(data.path()), 42, 0);
    let (code, stdout, stderr) = campanile(data.path(), &["diagnose"]).await;
    assert_eq!((code, stderr.as_str()), (1, "campanile: 1 alert\n"));
    let beginning = "No hub runs on this store; it was read as it is.\n\n\
        ALERT   2 recipients have been left half done by a hub that has ended, the first\n\
        \u{20}       42 min ago; the next start takes them up\n     -> campanile serve --data ";
    assert!(stdout.starts_with(beginning), "{stdout}");

    let would = campanile(data.path(), &["unlock"]).await;
    assert_eq!(would.0, 0, "{would:?}");
    assert!(
        would.1.contains("\n2 of 2 would be released:\n"),
        "{would:?}"
    );
    assert!(
        would
            .1
            .contains("Nothing was changed. To do it: campanile queue unlock --execute")
    );
    assert_eq!(campanile(data.path(), &["diagnose"]).await.0, 1);

    let did = campanile(data.path(), &["unlock", "--execute", "--json"]).await;
    let did: Value = serde_json::from_str(&did.1).expect("JSON");
    assert_eq!(
        (&did["executed"], &did["released"]),
        (&json!(true), &json!(2))
    );
    let (code, diagnosis) = diagnosed(data.path(), &[]).await;
    assert_eq!((code, &diagnosis["counts"]["pending"]), (0, &json!(2)));
    let (_, stdout, _) = campanile(data.path(), &["unlock"]).await;
    assert!(stdout.ends_with("There is none.\n"), "{stdout}");
}

#[tokio::test]
async fn what_has_no_attempt_left_takes_force() {
    let data = left_by_a_hub(1).await;
    claim_by_hand(&shell(data.path()), 42, 3);
    let (_, stdout, _) = campanile(data.path(), &["unlock", "--execute"]).await;
    assert!(stdout.contains("\n0 of 1 were released"), "{stdout}");
    assert!(
        stdout.contains("\n1 without an attempt left: --force releases "),
        "{stdout}"
    );
    assert_eq!(diagnosed(data.path(), &[]).await.0, 1);
    let (_, stdout, _) = campanile(data.path(), &["unlock", "--execute", "--force"]).await;
    assert!(
        stdout.contains("\n1 of 1 was released, and is due now:\n"),
        "{stdout}"
    );
    assert_eq!(diagnosed(data.path(), &[]).await.0, 0);
}

#[tokio::test]
async fn eleven_failures_within_a_day_are_an_alert_that_says_how_to_ask_why() {
    let data = left_by_a_hub(11).await;
    let (code, diagnosis) = diagnosed(data.path(), &[]).await;
    let [alert] = of_check(&diagnosis, "failed")[..] else {
        panic!("{diagnosis}");
    };
    let latest = diagnosis["failed"]["first"][0]["notificationId"].as_str();
    let next = format!("campanile why {}", latest.expect("an id"));
    assert_eq!(
        (code, &alert["severity"], &alert["next"]),
        (1, &json!("alert"), &json!(next))
    );
    let day_before = Timestamp::now().saturating_sub(Duration::from_hours(25));
    shell(data.path())
        .execute(
            "UPDATE delivery SET changed_ms = ?1 WHERE position = 1",
            [millis(day_before)],
        )
        .expect("it is written");
    let (code, diagnosis) = diagnosed(data.path(), &[]).await;
    assert_eq!(
        (code, &diagnosis["severity"]),
        (0, &json!("fine")),
        "{diagnosis}"
    );
}

#[tokio::test]
async fn each_rule_that_somebody_broke_by_hand_is_an_alert_that_names_it() {
    for (rule, break_it) in [
        (
            "settled-within-the-log",
            "UPDATE hub SET settled = head + 1",
        ),
        (
            "no-entry-past-the-head",
            "UPDATE hub SET head = 1, settled = 1",
        ),
        (
            "deliveries-have-entries",
            "INSERT INTO delivery (position, key, state, changed_ms) VALUES (99, 'u:x', 'sent', 1)",
        ),
        (
            "keys-have-entries",
            "INSERT INTO audience (key, position, inbox) VALUES ('u:x', 99, 1)",
        ),
        (
            "counters-are-right",
            "UPDATE counter SET n = n + 1 WHERE name = 'failed'",
        ),
        (
            "only-owed-is-claimed",
            "UPDATE delivery SET owner = 'nobody', leased_ms = 1 WHERE position = 1",
        ),
    ] {
        let data = left_by_a_hub(2).await;
        shell(data.path()).execute_batch(break_it).expect(rule);
        for more in [&[] as &[&str], &["--deep"]] {
            let (code, diagnosis) = diagnosed(data.path(), more).await;
            assert_eq!(code, 1, "{rule}: {diagnosis}");
            let broken = diagnosis["broken"].as_array().expect("a list");
            assert_eq!(broken.len(), 1, "{rule}: {diagnosis}");
            assert_eq!(
                (&broken[0]["rule"], &broken[0]["count"]),
                (&json!(rule), &json!(1))
            );
            let [finding] = of_check(&diagnosis, "invariants")[..] else {
                panic!("{rule}: {diagnosis}");
            };
            let example = broken[0]["example"].as_str().expect("an example");
            assert!(
                finding["says"].as_str().unwrap().contains(example),
                "{finding}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_that_was_overwritten_is_found_by_a_deep_look() {
    let data = left_by_a_hub(60).await;
    let path = file(data.path());
    let mut bytes = std::fs::read(&path).expect("the file");
    let page: i64 = Connection::open(&path)
        .and_then(|c| {
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'mark'";
            c.query_row(sql, [], |row| row.get(0))
        })
        .expect("a page");
    let at = (usize::try_from(page).expect("a number") - 1) * 4096;
    bytes[at..at + 4096].fill(0xa5);
    std::fs::write(&path, bytes).expect("it is written");
    let (code, diagnosis) = diagnosed(data.path(), &["--deep"]).await;
    let [file] = of_check(&diagnosis, "file")[..] else {
        panic!("{diagnosis}");
    };
    assert_eq!(
        (code, &file["severity"]),
        (1, &json!("alert")),
        "{diagnosis}"
    );
    assert_ne!(diagnosis["deep"]["damage"], json!([]));
}

#[tokio::test]
async fn a_prefix_whose_numbers_run_out_is_advice() {
    let hub = TestHub::start().await;
    let data = hub.data();
    let draft = json!({"everyone": true, "message": "m", "reference": {"prefix": "CNC"}});
    hub.publish(draft.clone()).await;
    for (last, says) in [
        (9_500, "have come to 9500 of 9999"),
        (10_001, "more than four digits: 10001"),
    ] {
        shell(&data)
            .execute("UPDATE reference_counter SET last = ?1", [last])
            .expect("it is written");
        let (code, diagnosis) = diagnosed(&data, &[]).await;
        let [advice] = of_check(&diagnosis, "references")[..] else {
            panic!("{diagnosis}");
        };
        assert_eq!((code, &advice["severity"]), (0, &json!("advice")));
        assert!(advice["says"].as_str().unwrap().contains(says), "{advice}");
        assert_eq!(diagnosis["references"][0]["prefix"], "CNC");
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_was_likely_sent_twice_is_advice_but_not_under_keys_nor_a_test() {
    let hub = TestHub::start().await;
    let look = async || {
        let (code, diagnosis) = diagnosed(&hub.data(), &[]).await;
        assert_eq!(code, 0, "{diagnosis}");
        diagnosis["doubles"].clone()
    };
    for number in 0..3 {
        let mut keyed = to_user("ann", 1);
        keyed["idempotencyKey"] = json!(format!("k{number}"));
        hub.publish(keyed).await;
        let test = hub.client().post(hub.url("/notifications/test"));
        let test = test.bearer_auth(hub.token("42", &[], &[])).send().await;
        assert_eq!(test.expect("an answer").status(), 201);
    }
    assert_eq!(look().await["count"], 0);
    let mut last = Value::Null;
    for _ in 0..3 {
        last = hub.publish(to_user("ann", 2)).await;
    }
    let doubles = look().await;
    assert_eq!(
        (&doubles["count"], &doubles["first"][0]["times"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(doubles["first"][0]["lastAt"], last["createdAt"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_runs_and_the_file_of_one_that_was_killed_say_the_same() {
    let data = tempfile::tempdir().expect("a directory");
    let hub = BinaryHub::serve(data.path(), &["--start-grace", "0s", "--retry", "1ms"]).await;
    for number in 0..12 {
        let message = format!("n{}", number / 2);
        let sent = binary()
            .args(["send", "--user", "ann", "--message", &message, "--data"])
            .arg(data.path())
            .output()
            .await;
        assert!(sent.expect("it runs").status.success());
    }
    let all_failed = async {
        loop {
            let (code, diagnosis) = diagnosed(data.path(), &[]).await;
            if diagnosis["counts"]["failed"] == 12 {
                return (code, diagnosis);
            }
        }
    };
    let (code, running) = soon("the last failure", all_failed).await;
    assert_eq!((code, &running["running"]), (1, &json!(true)));
    assert_eq!(running["doubles"]["count"], 6);
    hub.kill().await;
    let (code, mut stopped) = diagnosed(data.path(), &[]).await;
    assert_eq!((code, &stopped["running"]), (1, &json!(false)));
    // What was claimed would be anybody's in the one case and nobody's in the other; here nothing is.
    for finding in stopped["findings"].as_array_mut().unwrap() {
        if finding["check"] == "stuck" {
            finding["says"] = json!("nothing has been processing for longer than 10 min");
        }
    }
    assert_eq!(timeless(stopped), timeless(running));
}

/// GETs or POSTs as an administrator.
async fn admin(hub: &TestHub, path: &str, body: Option<Value>) -> (u16, Value) {
    let token = hub.token("root", &[], &["admin"]);
    let request = match body {
        None => hub.client().get(hub.url(path)),
        Some(body) => hub.client().post(hub.url(path)).json(&body),
    };
    let response = soon("an answer", request.bearer_auth(token).send()).await;
    let response = response.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_hub_that_runs_releases_what_is_stuck_and_asks_after_it_at_once() {
    let hub =
        TestHub::with(|config| config.delivery.retry = vec![Duration::from_millis(1); 2]).await;
    hub.publish(to_user("ann", 1)).await;
    hub.until("it has failed", |status| status["queue"]["failed"] == 1)
        .await;
    claim_by_hand(&shell(&hub.data()), 42, 0);

    let (_, diagnosis) = admin(&hub, "/queue/diagnosis", None).await;
    assert_eq!(diagnosis["severity"], "alert");
    let [stuck] = of_check(&diagnosis, "stuck")[..] else {
        panic!("{diagnosis}");
    };
    assert_eq!(
        stuck["says"],
        "1 recipient has been processing for longer than 10 min, the first for 42 min"
    );
    let (_, waiting) = admin(&hub, "/queue", None).await;
    assert_eq!(
        (&waiting["processing"], &waiting["owed"][0]["owner"]),
        (&json!(1), &json!("nobody"))
    );

    let (status, would) = admin(&hub, "/queue/unlock", Some(json!({}))).await;
    assert_eq!(
        (status, &would["executed"], &would["released"]),
        (200, &json!(false), &json!(1))
    );
    let (code, stdout, _) = campanile(&hub.data(), &["unlock", "--execute"]).await;
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("1 of 1 was released, and is due now:\n"),
        "{stdout}"
    );
    // Nobody comes, so it fails again: it was asked after.
    hub.until("it has failed again", |status| {
        status["queue"]["failed"] == 1
    })
    .await;
    let (code, diagnosis) = diagnosed(&hub.data(), &[]).await;
    assert_eq!((code, &diagnosis["running"]), (0, &json!(true)));
    hub.stop().await;
}

#[tokio::test]
async fn what_waits_is_for_administrators_alone_and_a_wrong_question_is_refused() {
    let hub = TestHub::start().await;
    let publisher = Scopes::default();
    let (key, _) = hub.hub().create_key("nobody", publisher).await.unwrap();
    for path in ["/queue", "/queue/diagnosis"] {
        let response = hub.client().get(hub.url(path)).bearer_auth(&key).send();
        assert_eq!(response.await.unwrap().status(), 403, "{path}");
    }
    for (path, body, field) in [
        ("/queue?after=x", None, "after"),
        ("/queue?limit=0", None, "limit"),
        ("/queue/diagnosis?deep=maybe", None, "deep"),
        (
            "/queue/unlock",
            Some(json!({"olderThan": "10"})),
            "olderThan",
        ),
        ("/queue/unlock", Some(json!({"exceute": true})), "exceute"),
    ] {
        let (status, problem) = admin(&hub, path, body).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{problem}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_directory_without_a_store_is_exit_status_3_and_stays_as_it_is() {
    let data = tempfile::tempdir().expect("a directory");
    let nowhere = data.path().join("nowhere");
    for arguments in [&["diagnose"] as &[&str], &["unlock"]] {
        let (code, stdout, stderr) = campanile(&nowhere, arguments).await;
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert!(!nowhere.exists());
    }
}
