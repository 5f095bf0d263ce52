//! `campanile bench` tells what a hub carries, and does not fail to tell when one loses, doubles, reorders or refuses; what
//! it starts is gone when it ends, however it ends.

mod server;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use campanile::auth::Secret;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use self::server::{Fake, Fault};
use crate::support::BinaryHub;

/// How long a run of a second or two may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `campanile bench` with these arguments, and a directory for what is temporary.
fn bench(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    with_nothing_of_the_tests(&mut command, temporary);
    command.arg("bench").args(arguments);
    command
}

fn with_nothing_of_the_tests(command: &mut Command, temporary: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAMPANILE_") {
            command.env_remove(name);
        }
    }
    command
        .env("TMPDIR", temporary)
        .current_dir(temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Its exit status, its results, its words.
#[track_caller]
fn run(mut command: Command) -> (i32, String, String) {
    ended(command.output().expect("it starts"))
}

#[track_caller]
fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("it was not killed");
    (code, text(output.stdout), text(output.stderr))
}

/// The object that a run against a hub of its own prints; nothing of it is left behind.
#[track_caller]
fn measured(arguments: &[&str]) -> Value {
    let temporary = tempfile::tempdir().expect("a directory");
    let arguments = [arguments, &["--json"]].concat();
    let (code, stdout, stderr) = run(bench(temporary.path(), &arguments));
    assert_eq!(code, 0, "{stderr}{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let (url, process) = hub_of(stderr.lines().next().expect("a line about the hub"));
    assert_gone(&url, process, &temporary);
    serde_json::from_str(&stdout).expect("JSON")
}

/// Where the hub of a run's own is, and its process.
fn hub_of(line: &str) -> (String, i32) {
    let found = line
        .strip_prefix("a hub serves at http://")
        .and_then(|rest| {
            let (address, rest) = rest.split_once(" (process ")?;
            let (process, _) = rest.split_once(')')?;
            Some((address.to_owned(), process.parse().ok()?))
        });
    found.unwrap_or_else(|| panic!("it said {line:?}"))
}

#[track_caller]
fn assert_gone(address: &str, process: i32, temporary: &TempDir) {
    let process = Pid::from_raw(process).expect("a process");
    assert!(test_kill_process(process).is_err(), "the hub still runs");
    assert!(TcpStream::connect(address).is_err());
    let left: Vec<_> = std::fs::read_dir(temporary.path())
        .expect("a directory")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn assert_fine(report: &Value, expected: u64) {
    assert_eq!(report["expected"], expected, "{report}");
    assert_eq!(report["delivered"], expected, "{report}");
    for nothing in ["lost", "unexpected", "outOfOrder", "refused", "closed"] {
        assert_eq!(report[nothing], 0, "{nothing}: {report}");
    }
}

#[test]
fn a_broadcast_at_a_rate_loses_nothing_and_its_json_has_every_field() {
    let report = measured(&[
        "broadcast",
        "--streams",
        "30",
        "--rate",
        "50",
        "--publishers",
        "2",
        "--seconds",
        "1",
        "--warmup",
        "0.2",
    ]);
    let published = report["published"].as_u64().expect("a number");
    assert!((1..=50).contains(&published), "{report}");
    assert_fine(&report, published * 30);
    assert_eq!(report["work"], "broadcast");
    assert_eq!(
        (&report["rate"], &report["window"]),
        (&50.0.into(), &Value::Null)
    );
    let fields = [
        ("streams", 30.0..=30.0),
        ("publishers", 2.0..=2.0),
        ("batch", 1.0..=1.0),
        ("seconds", 1.0..=1.0),
        ("connectSeconds", 0.0..=60.0),
        ("wallSeconds", 0.0..=60.0),
        ("deliveriesPerSecond", 1.0..=3e6),
        ("publishesPerSecond", 0.1..=1e5),
        // 150 characters and what a hub puts around them.
        ("wireBytesPerDelivery", 200.0..=800.0),
        ("loadCpuSeconds", 0.0..=60.0),
    ];
    for (field, range) in fields {
        let value = report[field].as_f64();
        assert!(
            value.is_some_and(|it| range.contains(&it)),
            "{field}: {report}"
        );
    }
    let rising = |of: &str, names: &[&str]| {
        let values = names
            .iter()
            .map(|name| report[of][name].as_f64().expect("a number"));
        let values: Vec<f64> = values.collect();
        assert!(values[0] > 0.0 && values.is_sorted(), "{of}: {report}");
    };
    rising("latencyMicros", &["p50", "p90", "p99", "p999", "max"]);
    rising("answerMicros", &["p50", "p99"]);
    let server = &report["server"];
    for field in ["residentBefore", "residentConnected", "residentAfter"] {
        assert!(
            server[field].as_u64().is_some_and(|it| it > 1_000_000),
            "{report}"
        );
    }
    for field in ["cpuSeconds", "cpuMicrosPerDelivery", "bytesPerStream"] {
        assert!(server[field].is_number(), "{field}: {report}");
    }
    let known = 24;
    assert_eq!(
        report.as_object().map(serde_json::Map::len),
        Some(known),
        "{report}"
    );
}

#[test]
fn role_and_user_and_batches_are_delivered_to_exactly_those_whom_they_are_for() {
    // Seven streams of three roles: three of the first, two of each other.
    let common = ["--streams", "7", "--seconds", "0.5", "--warmup", "0.1"];
    let role = [&["role", "--roles", "3", "--rate", "60"], &common[..]].concat();
    let report = measured(&role);
    let published = report["published"].as_u64().expect("a number");
    let delivered = report["delivered"].as_u64().expect("a number");
    assert!(
        published > 0 && (2 * published..=3 * published).contains(&delivered),
        "{report}"
    );
    assert_fine(&report, delivered);

    let user = [&["user", "--publishers", "3", "--window", "8"], &common[..]].concat();
    let report = measured(&user);
    assert_eq!(
        (&report["rate"], &report["window"]),
        (&Value::Null, &8.into())
    );
    assert_fine(&report, report["published"].as_u64().expect("a number"));

    for work in ["user", "broadcast"] {
        let batch = [&[work, "--batch", "20"], &common[..]].concat();
        let report = measured(&batch);
        let published = report["published"].as_u64().expect("a number");
        assert_eq!(published % 20, 0, "{report}");
        assert_fine(&report, published * if work == "user" { 1 } else { 7 });
    }
}

#[test]
fn connect_opens_every_stream() {
    let report = measured(&["connect", "--streams", "120"]);
    assert_fine(&report, 120);
    assert_eq!(report["published"], 0);
    assert!(
        report["connectSeconds"].as_f64().is_some_and(|it| it > 0.0),
        "{report}"
    );
}

#[test]
fn resume_delivers_all_that_was_missed_and_what_comes_meanwhile() {
    let report = measured(&[
        "resume",
        "--streams",
        "40",
        "--missed",
        "30",
        "--rate",
        "50",
    ]);
    assert_eq!(report["resumedDeliveries"], 40 * 30, "{report}");
    assert!(
        report["resumeSeconds"].as_f64().is_some_and(|it| it > 0.0),
        "{report}"
    );
    let live = report["published"].as_u64().expect("a number");
    assert_fine(&report, 40 * 30 + live);
}

#[tokio::test]
async fn a_running_hub_is_measured_again_as_the_first_time() {
    let data = tempfile::tempdir().expect("a directory");
    let hub = BinaryHub::serve(data.path(), &[]).await;
    let (process, data_path) = (hub.id().to_string(), data.path().to_str().expect("text"));
    let running = ["--data", data_path, "--pid", &process, "--json"];
    let short = ["--streams", "10", "--seconds", "0.3", "--warmup", "0.1"];
    for (work, missed) in [
        ("broadcast", 0),
        ("resume", 100),
        ("user", 0),
        ("resume", 100),
    ] {
        let temporary = tempfile::tempdir().expect("a directory");
        let arguments = [&[work] as &[&str], &short, &running].concat();
        let (code, stdout, stderr) = run(bench(temporary.path(), &arguments));
        assert_eq!((code, stderr.as_str()), (0, ""), "{work}: {stdout}");
        let report: Value = serde_json::from_str(&stdout).expect("JSON");
        let each = if work == "broadcast" { 10 } else { 1 };
        let published = report["published"].as_u64().expect("a number");
        assert_fine(&report, published * each + 10 * missed);
        assert!(report["server"]["residentAfter"].is_u64(), "{report}");
    }
    assert_eq!(hub.terminate().await, Some(0));
}

#[test]
fn people_get_a_table() {
    let temporary = tempfile::tempdir().expect("a directory");
    let arguments = [
        "broadcast",
        "--streams",
        "5",
        "--rate",
        "20",
        "--seconds",
        "0.3",
    ];
    let (code, stdout, stderr) = run(bench(temporary.path(), &arguments));
    assert_eq!(code, 0, "{stderr}");
    for row in [
        "streams ",
        "notifications ",
        "deliveries ",
        "latency ",
        "server's CPU ",
        "server's memory ",
    ] {
        assert!(
            stdout.lines().any(|line| line.starts_with(row)),
            "{row}: {stdout}"
        );
    }
    assert!(
        stdout.ends_with("nothing lost, doubled, out of order, refused or closed\n"),
        "{stdout}"
    );
}

#[test]
fn too_low_a_limit_is_told_before_anything_is_opened() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut shell = Command::new("sh");
    with_nothing_of_the_tests(&mut shell, temporary.path());
    let binary = env!("CARGO_BIN_EXE_campanile");
    shell.args([
        "-c",
        "ulimit -n 300 && exec \"$0\" bench broadcast --streams 1000",
        binary,
    ]);
    let (code, stdout, stderr) = run(shell);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "no hub was started: {stderr}");
    assert!(
        stderr.starts_with("campanile: --streams 1000 needs ")
            && stderr.contains("and 300 are allowed")
            && stderr.contains("ulimit -n "),
        "{stderr}"
    );
}

#[test]
fn a_signal_ends_the_hub_and_removes_its_directory() {
    for signal in [Signal::TERM, Signal::INT] {
        let temporary = tempfile::tempdir().expect("a directory");
        let arguments = [
            "broadcast",
            "--streams",
            "5",
            "--rate",
            "10",
            "--seconds",
            "600",
        ];
        let mut running = Running(
            bench(temporary.path(), &arguments)
                .spawn()
                .expect("it starts"),
        );
        let mut words = BufReader::new(running.0.stderr.take().expect("its words"));
        let mut line = String::new();
        words.read_line(&mut line).expect("a line");
        let (address, process) = hub_of(&line);
        let itself = Pid::from_child(&running.0);
        kill_process(itself, signal).expect("a signal");
        let mut rest = String::new();
        words.read_to_string(&mut rest).expect("its words");
        assert_eq!(running.wait(), Some(1), "{rest}");
        assert!(rest.starts_with("campanile: interrupted; "), "{rest}");
        assert_gone(&address, process, &temporary);
    }
}

/// Ended with the test, whatever becomes of it.
struct Running(Child);

impl Running {
    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a load against a hub that is at fault.
#[track_caller]
fn against(fault: Fault, arguments: &[&str]) -> (i32, Value, String) {
    let fake = Fake::start(fault);
    let home = tempfile::tempdir().expect("a directory");
    Secret::load_or_create(&home.path().join("hub/secret")).expect("a secret");
    let url = format!("http://{}", fake.address());
    let where_it_is = ["--url", &url, "--data", "hub", "--json", "--settle", "0.3"];
    let (code, stdout, stderr) = run(bench(home.path(), &[arguments, &where_it_is].concat()));
    (
        code,
        serde_json::from_str(&stdout).unwrap_or(Value::Null),
        stderr,
    )
}

#[test]
fn a_hub_at_fault_is_found_out() {
    let user = [
        "user",
        "--streams",
        "3",
        "--rate",
        "60",
        "--seconds",
        "0.5",
        "--warmup",
        "0",
    ];
    let broadcast = [
        "broadcast",
        "--streams",
        "3",
        "--rate",
        "60",
        "--seconds",
        "0.5",
        "--warmup",
        "0",
    ];
    let (code, report, words) = against(Fault::None, &broadcast);
    assert_eq!((code, words.as_str()), (0, ""), "{report}");
    assert_eq!(
        report["server"],
        Value::Null,
        "nobody said which process it is"
    );
    for (fault, arguments, field, told) in [
        (
            Fault::Broadcasts,
            user,
            "unexpected",
            "delivered twice or to the wrong stream",
        ),
        (
            Fault::Doubles,
            broadcast,
            "unexpected",
            "delivered twice or to the wrong stream",
        ),
        (Fault::Loses, broadcast, "lost", "lost"),
        (Fault::Reorders, broadcast, "outOfOrder", "out of order"),
        (Fault::Closes, broadcast, "closed", "streams closed"),
        (
            Fault::IsBusy,
            broadcast,
            "refused",
            "refused; the first refusal: HTTP/1.1 503 Service Unavailable full",
        ),
    ] {
        let (code, report, words) = against(fault, &arguments);
        assert_eq!(code, 1, "{fault:?}: {report} {words}");
        assert!(
            report[field].as_u64().is_some_and(|it| it > 0),
            "{fault:?}: {report} {words}"
        );
        assert!(
            words.starts_with("campanile: ") && words.contains(told),
            "{fault:?}: {words}"
        );
    }
}

#[test]
fn a_server_that_takes_no_stream_is_told_in_its_own_words() {
    let (code, report, words) = against(Fault::TakesNoStream, &["connect", "--streams", "3"]);
    assert_eq!((code, &report["refused"]), (1, &3.into()), "{words}");
    let told = "campanile: 3 refused; the first refusal: HTTP/1.1 503 Service Unavailable full";
    assert!(words.starts_with(told), "{words}");
    let (code, _, words) = against(Fault::TakesNoStream, &["broadcast", "--streams", "3"]);
    assert_eq!(code, 1, "{words}");
    let told = "campanile: 3 of 3 streams were not opened; the first: HTTP/1.1 503 Service Unavailable full";
    assert!(words.starts_with(told), "{words}");
}

#[test]
fn a_server_that_is_not_there_is_exit_status_4() {
    let temporary = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = format!("http://{address}");
    let (code, stdout, stderr) = run(bench(
        temporary.path(),
        &["broadcast", "--url", &url, "--token", "t"],
    ));
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    assert!(
        stderr.starts_with(&format!("campanile: cannot reach {url}: ")),
        "{stderr}"
    );
}

#[test]
fn any_server_can_be_measured_by_templates() {
    let fake = Fake::start(Fault::None);
    let temporary = tempfile::tempdir().expect("a directory");
    let port = fake.address().port().to_string();
    let arguments = [
        "broadcast",
        "--port",
        &port,
        "--streams",
        "3",
        "--rate",
        "40",
        "--seconds",
        "0.5",
        "--warmup",
        "0",
        "--pad",
        "5",
        "--stream-path",
        "/events?user={i}",
        "--stream-header",
        "X-Stream: {i}",
        "--publish-path",
        "/say/{n}",
        "--publish-header",
        "X-To: {i}",
        "--publish-method",
        "PUT",
        "--publish-body",
        r#"{"text":"{mark}","pad":"{pad}"}"#,
        "--json",
    ];
    let (code, stdout, stderr) = run(bench(temporary.path(), &arguments));
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_fine(&report, 3 * report["published"].as_u64().expect("a number"));
    let requests = fake.requests();
    let has = |request: &str, part: &str| request.contains(part);
    for i in 0..3 {
        let (path, header) = (
            format!("GET /events?user={i} HTTP/1.1\r\n"),
            format!("\r\nX-Stream: {i}\r\n"),
        );
        assert!(
            requests.iter().any(|it| has(it, &path) && has(it, &header)),
            "{requests:?}"
        );
    }
    let fifth = requests.iter().find(|it| it.starts_with("PUT /say/4 "));
    let fifth = fifth.expect("the fifth message");
    assert!(has(fifth, "\r\nX-To: 1\r\n"), "{fifth}");
    assert!(
        has(fifth, r#"{"text":"~T"#) && has(fifth, r#"~","pad":"xxxxx"}"#),
        "{fifth}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let temporary = tempfile::tempdir().expect("a directory");
    for (arguments, told) in [
        (
            &["broadcast", "--streams", "0"] as &[&str],
            "0 is not in 1..=",
        ),
        (&["broadcast", "--rate", "0"], "must be 0.01 to 1000000"),
        (
            &["broadcast", "--seconds", "soon"],
            "must be a number of seconds",
        ),
        (&["role", "--streams", "2"], "no more roles than streams"),
        (
            &["broadcast", "--token", "t"],
            "say which with --url or --data",
        ),
        (
            &["user", "--url", "http://127.0.0.1:1", "--token", "t"],
            "a token for each stream",
        ),
        (
            &["broadcast", "--url", "https://127.0.0.1:1", "--token", "t"],
            "plain http",
        ),
        (&["broadcast", "--port", "1"], "need --stream-path"),
        (
            &["broadcast", "--port", "1", "--stream-path", "x"],
            "must begin with /",
        ),
        (
            &[
                "broadcast",
                "--port",
                "1",
                "--stream-path",
                "/",
                "--publish-path",
                "/",
                "--publish-body",
                "x",
            ],
            "must hold {mark}",
        ),
        (
            &[
                "resume",
                "--port",
                "1",
                "--stream-path",
                "/",
                "--publish-path",
                "/",
            ],
            "resume is for hubs",
        ),
    ] {
        let (code, stdout, stderr) = run(bench(temporary.path(), arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
}
