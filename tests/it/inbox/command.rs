//! `campanile inbox`.

use serde_json::{Value, json};

use super::{batch, id, idle, read};
use crate::support::{TestHub, binary, soon, to_user};

#[tokio::test]
async fn the_command_shows_an_inbox_beside_a_running_hub_and_without_one() {
    let hub = TestHub::start().await;
    drop(hub.stream("ann", &["CREW"]).await);
    let first = json!({
        "targetUserId": "ann", "title": "New order", "message": "m", "severity": "high", "module": "orders"
    });
    let first = hub.publish(first).await;
    batch(
        &hub,
        (0..2_050).map(|number| to_user("ann", number)).collect(),
    )
    .await;
    let last = json!({"targetRoles": ["CREW"], "message": "line\nbreak", "severity": "high"});
    let last = hub.publish(last).await;
    idle(&hub).await;
    let token = hub.token("ann", &["CREW"], &[]);
    let path = format!("/notifications/{}/read", id(&last));
    assert_eq!(read(&hub, &token, &path, json!({})).await, 204);
    let data = hub.data();
    let inbox = async |more: &[&str]| {
        let mut command = binary();
        let command = command.args(["inbox", "--user", "ann", "--role", "CREW", "--data"]);
        let output = command.arg(&data).args(more).output();
        let output = soon("its end", output).await.expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let words = text(output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}");
        text(output.stdout)
    };
    // What is far apart is found page by page.
    let high = ["--severity", "high"];
    let as_json = ["--severity", "high", "--limit", "1", "--json"];
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let shown = (
        inbox(&high).await,
        inbox(&as_json).await,
        inbox(&["--unread", "--module", "orders"]).await,
        inbox(&["--module", "nothing"]).await,
        inbox(&["--limit", "1000"]).await,
    );
    let table = lines(&shown.0);
    assert_eq!(table[0], "ann: 1000+ unread (*)");
    assert!(table[3].starts_with("  20"), "{table:?}");
    assert!(
        table[3].ends_with(&format!("{}  line break", id(&last))),
        "{table:?}"
    );
    assert!(table[4].starts_with("* 20"), "{table:?}");
    assert!(
        table[4].ends_with(&format!("high      orders  {}  New order", id(&first))),
        "{table:?}"
    );
    assert_eq!(table.len(), 5);
    let told: Value = serde_json::from_str(&shown.1).expect("JSON");
    assert_eq!(told["notifications"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        told["notifications"][0]["notificationId"],
        last["notificationId"]
    );
    assert_eq!(told["nextCursor"], last["eventId"]);
    assert_eq!(lines(&shown.2).len(), 4);
    assert_eq!(lines(&shown.3)[2], "nothing there");
    let many = lines(&shown.4);
    assert_eq!(
        (many.len(), many[1_003].as_str()),
        (1_004, "… and more (--limit)")
    );

    let stopped = hub.stop().await;
    let again = (
        inbox(&high).await,
        inbox(&as_json).await,
        inbox(&["--unread", "--module", "orders"]).await,
        inbox(&["--module", "nothing"]).await,
        inbox(&["--limit", "1000"]).await,
    );
    assert_eq!(again, shown);
    drop(stopped);
}
