//! SECURITY.md names a test for each threat, and what the threat table says of routes and roles is so.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::support::{TestHub, to_role};

const SECURITY: &str = include_str!("../../SECURITY.md");

/// The names of all tests in a directory.
fn tests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).expect("a file");
            let functions = text.split("fn ").skip(1);
            let names = functions.filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn each_threat_has_its_test() {
    let mut known = BTreeSet::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    tests(&here, &mut known);
    let rows: Vec<&str> = SECURITY
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .filter(|line| !line.starts_with("| what must not happen"))
        .collect();
    assert!(rows.len() >= 35, "{} rows", rows.len());
    for row in rows {
        let cell = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .expect("a last column");
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(known.contains(name), "there is no test {name}");
        }
        assert!(cell.contains('`'), "{row}");
    }
}

#[tokio::test]
async fn a_role_that_is_claimed_outside_the_token_counts_for_nothing() {
    let hub = TestHub::start().await;
    let token = hub.token("42", &["CREW"], &[]);
    let url =
        hub.url("/notifications/stream?role=ADMIN&roles=ADMIN&userRole=ADMIN&userId=7&user=7");
    let request = hub.client().get(url).bearer_auth(&token);
    let request = request
        .header("x-user-role", "ADMIN")
        .header("x-user-id", "7");
    let mut stream = request.send().await.expect("an answer");
    let mut text = String::new();
    hub.publish(to_role("ADMIN", 1)).await;
    hub.publish(json!({"targetUserId": "7", "message": "n2"}))
        .await;
    hub.publish(to_role("CREW", 3)).await;
    while !text.contains(r#""message":"n3""#) {
        let chunk = crate::support::soon("an event", stream.chunk()).await;
        let chunk = chunk.expect("bytes").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(
        text.contains(r#""userId":"42""#) && text.contains(r#""roles":["CREW"]"#),
        "{text}"
    );
    for others in [r#""message":"n1""#, r#""message":"n2""#] {
        assert!(!text.contains(others), "{text}");
    }

    // The older clients' field is passed over, and takes nobody any further.
    let old = json!({"action": "broadcast", "message": "m", "userRole": "ADMIN"});
    let request = hub
        .client()
        .post(hub.url("/notifications"))
        .bearer_auth(&token);
    assert_eq!(
        request.json(&old).send().await.expect("an answer").status(),
        403
    );
    let test = json!({"message": "m", "roles": ["ADMIN"]});
    let request = hub
        .client()
        .post(hub.url("/notifications/test"))
        .bearer_auth(&token);
    assert_eq!(
        request
            .json(&test)
            .send()
            .await
            .expect("an answer")
            .status(),
        422
    );
    hub.stop().await;
}
