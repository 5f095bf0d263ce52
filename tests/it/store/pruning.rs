//! What is pruned beside the log, each kind by its own age, and how much of it in a step.

use campanile::audience::Recipient;
use campanile::log::Position;
use campanile::store::Aged;
use rusqlite::{Connection, params};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A store in whose file rows are put that were written at moments of the past.
struct Aging {
    store: Arc<dyn Store>,
    place: Directory,
    now: Timestamp,
}

impl Aging {
    fn new() -> Self {
        let place = Directory::new();
        Self {
            store: place.open().store,
            place,
            now: Timestamp::now(),
        }
    }

    fn file(&self) -> Connection {
        Connection::open(self.place.file()).expect("a connection")
    }

    fn ago(&self, ago: Duration) -> i64 {
        let moment = self.now.saturating_sub(ago).as_millis();
        moment.try_into().expect("a moment of this age")
    }

    fn keep_key(&self, key: &str, ago: Duration) {
        self.file()
            .execute(
                "INSERT INTO idempotency (publisher, key, fingerprint, kept_ms, id, position, created_ms, throttled)
                 VALUES ('key:tests', ?1, zeroblob(32), ?2, randomblob(16), 1, ?2, 0)",
                params![key, self.ago(ago)],
            )
            .expect("a row");
    }

    fn keep_duplicate(&self, key: &str, ago: Duration) {
        self.file()
            .execute(
                "INSERT INTO duplicate (publisher, key, outcome, id, at_ms)
                 VALUES ('key:tests', ?1, 'answered', randomblob(16), ?2)",
                params![key, self.ago(ago)],
            )
            .expect("a row");
    }

    fn keep_throttle(&self, key: &str, window: Duration, ago: Duration) {
        let window = i64::try_from(window.as_millis()).expect("a window");
        self.file()
            .execute(
                "INSERT INTO throttle (publisher, key, window_ms, accepted_ms, id, position, created_ms)
                 VALUES ('key:tests', ?1, ?2, ?3, randomblob(16), 1, ?3)",
                params![key, window, self.ago(ago)],
            )
            .expect("a row");
    }

    fn keys(&self, table: &str) -> Vec<String> {
        self.file()
            .prepare(&format!("SELECT key FROM {table} ORDER BY key"))
            .and_then(|mut keys| keys.query_map([], |row| row.get(0))?.collect())
            .expect("keys")
    }
}

/// As the hub keeps things if nobody says otherwise.
fn usual() -> Retention {
    Retention {
        notifications: 24 * 30 * HOUR,
        broadcasts: HOUR,
        idempotency: 24 * HOUR,
        audit: 24 * 30 * HOUR,
        webhooks: 24 * 30 * HOUR,
    }
}

#[tokio::test]
async fn a_key_outlives_its_notification_and_goes_a_day_after_it_was_kept() {
    let aging = Aging::new();
    let store = aging.store.clone();
    let old = Notification {
        created_at: aging.now.saturating_sub(23 * HOUR),
        ..to_user("42")
    };
    stored(&*store, vec![old]).await;
    settled(&*store, 1).await;
    aging.keep_key("too-old", 24 * HOUR + Duration::from_millis(1));
    aging.keep_key("older", 24 * HOUR);
    aging.keep_key("of-this-notification", 23 * HOUR);
    let retention = Retention {
        notifications: HOUR,
        ..usual()
    };
    let expected = Aged {
        notifications: 1,
        idempotency: 1,
        ..Aged::default()
    };
    let aged = store.aged(aging.now, retention).await;
    assert_eq!(aged.expect("counted"), expected);
    let pruned = store.prune(aging.now, retention, 10).await;
    assert_eq!(pruned.expect("pruned").gone, expected);
    assert_eq!(aging.keys("idempotency"), ["of-this-notification", "older"]);
    assert_eq!(store.counts().await.expect("counts").notifications, 0);
}

#[tokio::test]
async fn the_audits_record_is_kept_for_as_long_as_is_said() {
    let aging = Aging::new();
    let store = aging.store.clone();
    aging.keep_duplicate("old", 24 * 31 * HOUR);
    aging.keep_duplicate("young", 24 * 29 * HOUR);
    let pruned = store.prune(aging.now, usual(), 10).await.expect("pruned");
    assert_eq!((pruned.gone.audit, pruned.gone.total()), (1, 1));
    assert_eq!(aging.keys("duplicate"), ["young"]);
}

#[tokio::test]
async fn a_throttle_goes_when_its_own_window_is_over() {
    let aging = Aging::new();
    let store = aging.store.clone();
    aging.keep_throttle("for-a-month", 24 * 30 * HOUR, 24 * 29 * HOUR);
    aging.keep_throttle("for-an-hour", HOUR, 2 * HOUR);
    aging.keep_throttle("to-this-moment", HOUR, HOUR);
    let expected = Aged {
        throttles: 1,
        ..Aged::default()
    };
    let aged = store.aged(aging.now, usual()).await;
    assert_eq!(aged.expect("counted"), expected);
    let pruned = store.prune(aging.now, usual(), 10).await.expect("pruned");
    assert_eq!(pruned.gone, expected);
    assert_eq!(aging.keys("throttle"), ["for-a-month", "to-this-moment"]);
}

#[tokio::test]
async fn a_key_from_a_day_when_the_clock_was_ahead_holds_up_nothing_that_follows_it() {
    let aging = Aging::new();
    let store = aging.store.clone();
    aging.keep_key("ahead", Duration::ZERO);
    aging.keep_key("old", 25 * HOUR);
    let pruned = store.prune(aging.now, usual(), 1).await.expect("pruned");
    assert_eq!(pruned.gone.idempotency, 1);
    assert_eq!(aging.keys("idempotency"), ["ahead"]);
}

#[tokio::test]
async fn one_limit_holds_for_all_kinds_together_and_the_oldest_go_first() {
    let aging = Aging::new();
    let store = aging.store.clone();
    let old = |hours: u32, of: Notification| Notification {
        created_at: aging.now.saturating_sub(HOUR * hours),
        ..of
    };
    let all = vec![
        old(3, broadcast()),
        old(2, broadcast()),
        old(3, to_user("42")),
    ];
    stored(&*store, all).await;
    settled(&*store, 3).await;
    for (key, hours) in [("a", 4), ("b", 3), ("c", 2)] {
        aging.keep_key(key, HOUR * hours);
        aging.keep_duplicate(key, HOUR * hours);
        aging.keep_throttle(key, HOUR, HOUR * hours);
    }
    let mut left = store.aged(aging.now, keeping(HOUR)).await.expect("counted");
    assert_eq!(left.total(), 12);
    let mut first_keys = Vec::new();
    for _ in 0..6 {
        let pruned = store.prune(aging.now, keeping(HOUR), 2).await;
        let pruned = pruned.expect("pruned");
        assert_eq!((pruned.gone.total(), pruned.more), (2, true));
        for table in ["idempotency", "duplicate", "throttle"] {
            first_keys.push(aging.keys(table).first().cloned());
        }
        left = store.aged(aging.now, keeping(HOUR)).await.expect("counted");
    }
    assert_eq!(left, Aged::default());
    let last = store.prune(aging.now, keeping(HOUR), 2).await;
    assert!(!last.expect("pruned").more);
    let first_keys: Vec<&str> = first_keys
        .iter()
        .map(|k| k.as_deref().unwrap_or("-"))
        .collect();
    let expected = [
        ["a", "a", "a"],
        ["b", "a", "a"],
        ["-", "a", "a"],
        ["-", "c", "a"],
        ["-", "-", "b"],
        ["-", "-", "-"],
    ];
    assert_eq!(first_keys, expected.concat());
}

#[tokio::test]
async fn a_step_ends_early_where_entries_are_for_many_users() {
    let aging = Aging::new();
    let store = aging.store.clone();
    let users: Vec<String> = (0..1_000).map(|i| format!("user-{i}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    stored(
        &*store,
        (0..6).map(|_| notification(to(&names, &[]))).collect(),
    )
    .await;
    let owed = |position| {
        users.iter().map(move |user| {
            let user = Recipient::User(user.as_str().into());
            (Position(position), user, Missed::NoStream)
        })
    };
    let verdicts = Verdicts {
        settled: Position(6),
        owed: (1..=6).flat_map(owed).collect(),
        ..Verdicts::default()
    };
    decided(&*store, verdicts).await;
    let later = Timestamp::now().saturating_add(A_MINUTE);
    let mut steps = Vec::new();
    loop {
        let pruned = store.prune(later, keeping(Duration::ZERO), 200).await;
        let pruned = pruned.expect("pruned");
        steps.push(pruned.gone.notifications);
        if !pruned.more {
            break;
        }
    }
    // Each has two thousand rows and its own.
    assert_eq!(steps, [2, 2, 2, 0]);
    let counts = store.counts().await.expect("counts");
    assert_eq!((counts.notifications, counts.owed), (0, 0));
}
