//! What is overdue speaks up by itself, once in each window, until it is done.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile::clock::Timestamp;
use campanile::notification::Draft;
use campanile::reminders::ReminderDraft;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Kept, Store};
use futures::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{BinaryHub, Sink, TestHub, command, soon};

/// Calls a route as a publisher.
async fn call(hub: &TestHub, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let token = hub.token("publisher", &[], &["publish"]);
    call_as(hub, &token, method, path, body).await
}

async fn call_as(
    hub: &TestHub,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let request = hub
        .client()
        .request(method, hub.url(path))
        .bearer_auth(token);
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let response = soon("an answer", request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn ago(time: Duration) -> String {
    Timestamp::now().saturating_sub(time).to_string()
}

fn from_now(time: Duration) -> String {
    Timestamp::now().saturating_add(time).to_string()
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Makes a reminder for a role.
async fn remind(hub: &TestHub, key: &str, due_at: String) -> Value {
    let reminder = json!({
        "dueAt": due_at, "repeatEvery": "24h", "targetRoles": ["MAINTENANCE"], "message": key,
    });
    let (status, answer) = call(
        hub,
        Method::PUT,
        &format!("/reminders/{key}"),
        Some(reminder),
    )
    .await;
    assert_eq!(status, 201, "{answer}");
    answer
}

fn cron_secret(hub: &TestHub) -> String {
    let file = hub.data().join("cron-secret");
    let secret = std::fs::read_to_string(file).expect("the cron secret");
    secret.trim().to_owned()
}

/// Sweeps, as a cron job does.
async fn sweep(hub: &TestHub) -> Value {
    let path = "/cron/check-overdue";
    let (status, answer) = call_as(hub, &cron_secret(hub), Method::POST, path, None).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn what_falls_due_speaks_up_by_itself_and_says_how_long_it_is_overdue() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["MAINTENANCE"]).await;
    let overdue = Duration::from_secs((2 * 24 * 60 + 9 * 60 + 26) * 60);
    remind(&hub, "ticket-768", ago(overdue)).await;
    ann.expect_next_message("ticket-768 (overdue by 2 d 9 h 26 min)")
        .await;
    let due = Timestamp::now().saturating_add(Duration::from_millis(300));
    remind(&hub, "ticket-769", due.to_string()).await;
    ann.expect_next_message("ticket-769 (overdue by less than 1 min)")
        .await;
    assert!(Timestamp::now() >= due, "not before");
    let (_, told) = call(&hub, Method::GET, "/reminders/ticket-769", None).await;
    assert_eq!((&told["overdue"], &told["sent"]), (&json!(true), &json!(1)));
    hub.stop().await;
}

#[tokio::test]
async fn the_words_stand_where_the_text_asks_for_them() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &[]).await;
    let reminder = json!({
        "dueAt": ago(HOUR), "targetUserId": "ann",
        "title": "Late by {overdue}", "message": "See to it",
    });
    let (status, answer) = call(&hub, Method::PUT, "/reminders/a%2Fb", Some(reminder)).await;
    assert_eq!((status, &answer["key"]), (201, &json!("a/b")));
    let event = ann.notification().await;
    assert_eq!(event.message(), "See to it");
    assert_eq!(event.data["data"]["title"], "Late by 1 h");
    hub.stop().await;
}

#[tokio::test]
async fn within_its_window_it_is_not_published_again_over_sweeps_edits_and_restarts() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["MAINTENANCE"]).await;
    remind(&hub, "ticket-768", ago(DAY)).await;
    ann.expect_next_message("ticket-768 (overdue by 1 d)").await;
    let swept = sweep(&hub).await;
    assert_eq!(
        (&swept["totalOverdue"], &swept["notificationsSent"]),
        (&json!(1), &json!(0))
    );
    // Another time and text open no new window.
    let edited = json!({
        "dueAt": ago(2 * DAY), "repeatEvery": "12h", "targetRoles": ["MAINTENANCE"], "message": "edited",
    });
    let path = "/reminders/ticket-768";
    let (status, answer) = call(&hub, Method::PUT, path, Some(edited)).await;
    assert_eq!((status, &answer["sent"]), (200, &json!(1)));
    assert!(
        answer["nextAt"].as_str() > answer["lastSentAt"].as_str(),
        "{answer}"
    );
    assert_eq!(sweep(&hub).await["notificationsSent"], 0);
    drop(ann);
    let hub = hub.stop().await.restart().await;
    assert_eq!(sweep(&hub).await["notificationsSent"], 0);
    let (_, history) = call(&hub, Method::GET, &format!("{path}/history"), None).await;
    assert_eq!(history["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(history["history"][0]["overdueText"], "1 d");
    // What is done is silent, and what it said is still known.
    assert_eq!(call(&hub, Method::DELETE, path, None).await.0, 204);
    assert_eq!(call(&hub, Method::DELETE, path, None).await.0, 404);
    assert_eq!(sweep(&hub).await["totalOverdue"], 0);
    let (status, _) = call(&hub, Method::GET, &format!("{path}/history"), None).await;
    assert_eq!(status, 200);
    hub.stop().await;
}

#[tokio::test]
async fn twenty_sweeps_at_once_of_fifty_that_are_overdue_publish_fifty() {
    let hub = TestHub::start().await;
    let mut ann = hub.stream("ann", &["MAINTENANCE"]).await;
    let due = from_now(Duration::from_millis(1_500));
    for n in 0..50 {
        remind(&hub, &format!("t{n}"), due.clone()).await;
    }
    let swept = async {
        // They race with each other and with the hub's own.
        loop {
            let answers = join_all((0..20).map(|_| sweep(&hub))).await;
            if answers.iter().all(|answer| answer["totalOverdue"] == 50) {
                return;
            }
        }
    };
    soon("all fifty", swept).await;
    let mut messages = ann.messages(50).await;
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 50);
    assert_eq!(hub.status().await["stored"]["notifications"], 50);
    hub.stop().await;
}

#[tokio::test]
async fn the_cron_secret_opens_the_sweep_alone_and_nothing_else_opens_that() {
    let hub = TestHub::start().await;
    let path = "/cron/check-overdue";
    for token in [
        hub.token("root", &[], &["admin"]),
        hub.token("publisher", &[], &["publish"]),
        cron_secret(&hub)[1..].to_owned(),
        format!("{}x", cron_secret(&hub)),
    ] {
        let (status, problem) = call_as(&hub, &token, Method::POST, path, None).await;
        assert_eq!(status, 401);
        assert_eq!(
            problem["detail"],
            "this takes the hub's cron secret, and no other credential"
        );
    }
    for path in ["/notifications/status", "/reminders", "/queue", "/metrics"] {
        let (status, _) = call_as(&hub, &cron_secret(&hub), Method::GET, path, None).await;
        assert_eq!(status, 401, "{path}");
    }
    let answer = sweep(&hub).await;
    assert_eq!(
        answer,
        json!({"message": "nothing is overdue", "totalOverdue": 0, "notificationsSent": 0, "notifications": []})
    );
    use std::os::unix::fs::PermissionsExt;
    let file = std::fs::metadata(hub.data().join("cron-secret")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    hub.stop().await;
}

/// A hub with an endpoint that asks for what nobody took, and its secret.
async fn with_an_endpoint() -> (TestHub, Sink, String) {
    let hub = TestHub::with(|config| {
        config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a block")];
    })
    .await;
    let sink = Sink::start([]).await;
    let admin = hub.token("root", &[], &["admin"]);
    let wanted = json!({"url": sink.url(), "on": "undelivered"});
    let (status, made) = call_as(&hub, &admin, Method::POST, "/webhooks", Some(wanted)).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    (hub, sink, secret)
}

#[tokio::test]
async fn a_reminder_to_a_role_nobody_of_which_is_there_ends_as_a_webhook() {
    let (hub, mut sink, secret) = with_an_endpoint().await;
    // Once it is certain that nobody took it ...
    remind(&hub, "ticket-768", ago(HOUR)).await;
    let received = sink.signed(&secret).await;
    assert_eq!(received.message(), "ticket-768 (overdue by 1 h)");
    assert_eq!(received.body["type"], "notification.created");
    let recipients = json!([{"kind": "role", "id": "MAINTENANCE", "outcome": "failed"}]);
    assert_eq!(received.body["data"]["recipients"], recipients);
    // ... and though a forgotten tab took it.
    let _tab = hub.stream("ann", &["MAINTENANCE"]).await;
    remind(&hub, "ticket-769", ago(HOUR)).await;
    assert_eq!(
        sink.signed(&secret).await.message(),
        "ticket-769 (overdue by 1 h)"
    );
    let told = async {
        loop {
            let path = "/reminders/ticket-768/history";
            let (_, history) = call(&hub, Method::GET, path, None).await;
            let webhook = &history["history"][0]["webhooks"][0];
            if webhook["status"] == "sent" {
                assert_eq!(
                    (&webhook["answerStatus"], &webhook["answer"]),
                    (&json!(200), &json!("noted"))
                );
                return;
            }
        }
    };
    soon("its answer in the history", told).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_sweep_tells_what_became_of_its_webhooks() {
    let (hub, mut sink, _) = with_an_endpoint().await;
    let swept = async {
        // The hub sweeps as well, so it may take a few until the cron job is the one that publishes.
        for n in 0.. {
            remind(&hub, &format!("t{n}"), from_now(Duration::from_millis(20))).await;
            let published = async {
                loop {
                    let answer = sweep(&hub).await;
                    if answer["totalOverdue"] == n + 1 {
                        return answer;
                    }
                }
            };
            let answer = published.await;
            sink.next().await;
            if answer["notificationsSent"] == 1 {
                return answer;
            }
        }
        unreachable!("one of them is first")
    };
    let answer = soon("a sweep that publishes", swept).await;
    let told = &answer["notifications"][0];
    assert_eq!(told["webhookStatus"], "sent", "{answer}");
    assert_eq!(answer["message"], "1 notification was published");
    assert_eq!(told["overdueText"], "less than 1 min");
    hub.stop().await;
}

#[tokio::test]
async fn a_reminder_is_its_publishers_own() {
    let hub = TestHub::start().await;
    remind(&hub, "ticket-768", from_now(HOUR)).await;
    let stranger = hub.token("stranger", &[], &["publish"]);
    let path = "/reminders/ticket-768";
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(call_as(&hub, &stranger, method, path, None).await.0, 404);
    }
    let (_, list) = call_as(&hub, &stranger, Method::GET, "/reminders", None).await;
    assert_eq!(list["reminders"], json!([]));
    let admin = hub.token("root", &[], &["admin"]);
    let (_, list) = call_as(&hub, &admin, Method::GET, "/reminders", None).await;
    assert_eq!(
        list["reminders"][0]["publisher"],
        "user:campanile/publisher"
    );
    // Who asks for somebody else's says whose, and takes the scope for it.
    let whose = "publisher=user%3Acampanile%2Fpublisher";
    let named = format!("{path}?{whose}");
    let history = format!("{path}/history?{whose}");
    for (method, path) in [
        (Method::GET, &named),
        (Method::DELETE, &named),
        (Method::GET, &history),
    ] {
        let (status, _) = call_as(&hub, &stranger, method, path, None).await;
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(call(&hub, Method::GET, &named, None).await.0, 200);
    let (_, told) = call_as(&hub, &admin, Method::GET, &named, None).await;
    assert_eq!(told["key"], "ticket-768");
    let (_, told) = call_as(&hub, &admin, Method::GET, &history, None).await;
    assert_eq!(told["history"], json!([]));

    let (_, list) = call(&hub, Method::GET, "/reminders?overdue=true", None).await;
    assert_eq!(list["reminders"], json!([]));
    let (_, list) = call(&hub, Method::GET, "/reminders?limit=1", None).await;
    assert_eq!(list["reminders"].as_array().map(Vec::len), Some(1));
    let next = format!(
        "/reminders?after={}",
        list["nextCursor"].as_str().expect("a cursor")
    );
    assert_eq!(
        call(&hub, Method::GET, &next, None).await.1["reminders"],
        json!([])
    );
    let (status, _) = call_as(&hub, &admin, Method::DELETE, &named, None).await;
    assert_eq!(status, 204);
    assert_eq!(call(&hub, Method::GET, path, None).await.0, 404);
    hub.stop().await;
}

#[tokio::test]
async fn what_is_no_reminder_is_refused_with_every_field_that_is_wrong() {
    let hub = TestHub::start().await;
    let wrong = json!({
        "repeatEvery": "1s", "message": "m", "everyone": true, "deliverAt": from_now(HOUR),
        "idempotencyKey": "k", "throttle": {"key": "t", "window": "1h"}, "reference": "R-1",
    });
    let (status, problem) = call(&hub, Method::PUT, "/reminders/k", Some(wrong)).await;
    assert_eq!(status, 422);
    let errors = problem["errors"].as_array().expect("errors");
    let found: BTreeMap<&str, &str> = errors
        .iter()
        .map(|error| {
            (
                error["field"].as_str().unwrap(),
                error["message"].as_str().unwrap(),
            )
        })
        .collect();
    let cannot = "cannot stand in a reminder";
    let expected = BTreeMap::from([
        ("deliverAt", cannot),
        ("dueAt", "is missing: say by when it is to be done"),
        ("everyone", cannot),
        ("idempotencyKey", cannot),
        ("reference", cannot),
        ("repeatEvery", "must be from 1m to 366d"),
        ("throttle", cannot),
    ]);
    assert_eq!(found, expected);
    for (body, field) in [
        (
            json!({"dueAt": "soon", "targetUserId": "a", "message": "m"}),
            "dueAt",
        ),
        (
            json!({"dueAt": 5, "targetUserId": "a", "message": "m"}),
            "dueAt",
        ),
        (json!({"dueAt": ago(HOUR), "message": "m"}), "audience"),
        (json!({"dueAt": ago(HOUR), "targetUserId": "a"}), "message"),
        (
            json!({"dueAt": ago(HOUR), "targetUserId": "a", "message": "m", "x": 1}),
            "x",
        ),
    ] {
        let (status, problem) = call(&hub, Method::PUT, "/reminders/k", Some(body)).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{problem}"
        );
    }
    let (_, list) = call(&hub, Method::GET, "/reminders", None).await;
    assert_eq!(list["reminders"], json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn the_command_sets_lists_and_ends_reminders() {
    let data = tempfile::tempdir().expect("a directory");
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let due = from_now(HOUR);
    let set = [
        "remind",
        "set",
        "ticket-768",
        "--due",
        &due,
        "--every",
        "24h",
        "--role",
        "CREW",
        "--message",
        "Ticket 768",
    ];
    let (code, _, words) = command(data.path(), &set).await;
    assert_eq!((code, words), (0, format!("it speaks up at {due}\n")));
    let (_, list, _) = command(data.path(), &["remind", "list"]).await;
    assert!(list.contains("ticket-768") && list.contains(&due), "{list}");
    let (_, list, _) = command(data.path(), &["remind", "list", "--overdue", "--json"]).await;
    assert_eq!(list, "[]\n");
    let done = command(data.path(), &["remind", "done", "ticket-768"]).await;
    assert_eq!(done, (0, String::new(), "done\n".to_owned()));
    let (code, _, words) = command(data.path(), &["remind", "done", "ticket-768"]).await;
    assert_eq!(code, 1, "{words}");
    assert_eq!(hub.terminate().await, Some(0));
}

/// What is done to reminders, and to the clock.
#[derive(Clone, Debug)]
enum Step {
    /// The clock goes on, or is set back, by so many seconds.
    Clock(i64),
    /// Everything that is due is published.
    Sweep,
    /// The store is closed and opened again.
    Restart,
    /// A reminder is made or changed: which, when it is due from now, and its window, in seconds.
    Keep(usize, i64, u64),
    /// It is done.
    Done(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0i64..400).prop_map(Step::Clock),
        2 => (-2_000i64..0).prop_map(Step::Clock),
        6 => Just(Step::Sweep),
        1 => Just(Step::Restart),
        4 => (0usize..3, -300i64..300, 60u64..600).prop_map(|(which, due, every)| Step::Keep(which, due, every)),
        1 => (0usize..3).prop_map(Step::Done),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A reminder as it should be.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: i64,
    every: i64,
    /// By the latest clock.
    last: Option<i64>,
}

/// Never two in one window of the latest clock ever seen; and whenever a sweep finds one whose time has come, it is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_none_comes_twice_in_a_window_of_the_latest_clock_and_none_is_left_out() {
    let handle = tokio::runtime::Handle::current();
    let run = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config {
            cases: 48,
            failure_persistence: None,
            ..Config::default()
        });
        runner.run(&steps(), |steps| {
            handle.block_on(follow(&steps));
            Ok(())
        })
    });
    run.await.expect("no panic").expect("every plan holds");
}

async fn follow(steps: &[Step]) {
    let place = tempfile::tempdir().expect("a directory");
    let open = || {
        SqliteStore::open(&place.path().join("campanile.db"), SqliteOptions::default())
            .expect("the store opens")
            .store
    };
    let base = 1_795_219_200i64;
    let (mut clock, mut latest) = (base, 0);
    let at = |seconds: i64| Timestamp::from_millis(u64::try_from(seconds * 1_000).unwrap());
    let mut store = open();
    let mut due: BTreeMap<String, Due> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Clock(by) => clock += by,
            Step::Restart => {
                store.close().await;
                store = open();
            }
            Step::Keep(which, from_now, every) => {
                let key = format!("r{which}");
                keep(&*store, &key, at(clock + from_now), *every, at(clock)).await;
                let kept = due.entry(key).or_insert(Due {
                    at: 0,
                    every: 0,
                    last: None,
                });
                kept.at = clock + from_now;
                kept.every = i64::try_from(*every).unwrap();
            }
            Step::Done(which) => {
                let key = format!("r{which}");
                let removed = store.remove_reminder("p".into(), key.as_str().into()).await;
                assert_eq!(removed.expect("removed"), due.remove(&key).is_some());
            }
            Step::Sweep => {
                latest = latest.max(clock);
                let swept = store.remind(at(clock), 100).await.expect("swept");
                let mut published: Vec<String> = swept
                    .reminded
                    .iter()
                    .map(|(reminded, _)| reminded.key.to_string())
                    .collect();
                published.sort();
                let mut expected = Vec::new();
                for (key, kept) in &mut due {
                    let next = kept
                        .last
                        .map_or(kept.at, |last| kept.at.max(last + kept.every));
                    if next <= latest {
                        expected.push(key.clone());
                        kept.last = Some(latest);
                    }
                }
                assert_eq!(published, expected);
            }
        }
    }
    store.close().await;
}

async fn keep(store: &dyn Store, key: &str, due: Timestamp, every: u64, now: Timestamp) {
    let draft = ReminderDraft {
        due_at: Some(due.to_string()),
        repeat_every: Some(format!("{every}s")),
        draft: Draft {
            target_user_id: Some("ann".to_owned()),
            message: "m".to_owned(),
            ..Draft::default()
        },
    };
    let reminder = draft.validate(key, "p".into(), now).expect("it is valid");
    let kept = store.keep_reminder(reminder).await.expect("kept");
    assert!(!matches!(kept, Kept::TooMany));
}
