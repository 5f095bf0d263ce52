//! What an inbox costs when much is stored: its first page with the count, and the count alone, among 1,000,000 stored
//! notifications of which 10,000 are one's own, against the same among 1,000.
//!
//!     cargo bench --bench inbox
//!
//! For a user without roles, and for one with 32 roles to whom what is for everyone goes as well. Turns alternate between the
//! stores, so that the machine's own ups and downs fall on all alike. It prints medians and their ratios.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::audience::Audience;
use campanile::clock::Timestamp;
use campanile::inbox::{DEFAULT_PAGE, Filter};
use campanile::log::Position;
use campanile::notification::{Kind, MAX_ROLES, Notification, Severity};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{ListQuery, StartQuery, Store, Viewer};
use uuid::Uuid;

type Failure = Box<dyn Error + Send + Sync>;

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// How many of [`MANY`] are for each of the two users by name; as many are for everyone, and for the roles together.
const OWN: usize = 10_000;
const ROUNDS: usize = 300;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let (ann, bob) = (viewer("ann", 0), viewer("bob", MAX_ROLES));
    let begun = Instant::now();
    let place = |name: &str| data.path().join(name);
    let few_of_ann = filled(&place("a.db"), &bob, FEW, |_| "u:ann".to_owned()).await?;
    let few_of_bob = filled(&place("b.db"), &bob, FEW, of_bob).await?;
    let many = filled(&place("c.db"), &bob, MANY, |i| match i % (MANY / OWN) {
        0 => "u:ann".to_owned(),
        1 => of_bob(0),
        2 => of_bob(i / (MANY / OWN) * 3 + 1),
        3 => of_bob(2),
        other => format!("u:{}-{other}", i % 1_000),
    })
    .await?;
    println!("filled in {:.0?}; medians of {ROUNDS}:", begun.elapsed());

    let rare = Filter {
        severities: vec![Severity::Critical],
        ..Filter::default()
    };
    for (who, viewer, few) in [
        ("one list", &ann, &few_of_ann),
        ("34 lists", &bob, &few_of_bob),
    ] {
        for (what, filter) in [
            ("first page and count", Some(Filter::default())),
            ("count alone", None),
        ] {
            let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                of_few.push(turn(&**few, viewer, filter.clone()).await?);
                of_many.push(turn(&*many, viewer, filter.clone()).await?);
            }
            let (of_few, of_many) = (median(of_few), median(of_many));
            let ratio = of_many.as_secs_f64() / of_few.as_secs_f64();
            println!(
                "{who}  {what:<22} {FEW}: {of_few:>9.2?}   {MANY}: {of_many:>9.2?}   ratio {ratio:.2}"
            );
        }
        let mut longest = Vec::new();
        for _ in 0..ROUNDS {
            longest.push(turn(&*many, viewer, Some(rare.clone())).await?);
        }
        let longest = median(longest);
        println!("{who}  the most a page may look at, in vain         {MANY}: {longest:>9.2?}");
    }
    for store in [few_of_ann, few_of_bob, many] {
        store.close().await;
    }
    Ok(())
}

/// By name, for one of the roles, for everyone, in turns.
fn of_bob(i: usize) -> String {
    match i % 3 {
        0 => "u:bob".to_owned(),
        1 => format!("r:role-{}", i / 3 % MAX_ROLES),
        _ => "*".to_owned(),
    }
}

fn viewer(user: &str, roles: usize) -> Viewer {
    Viewer {
        user: user.into(),
        roles: (0..roles).map(|i| Arc::from(format!("role-{i}"))).collect(),
    }
}

/// A store with so many notifications, the first visit of `visitor` before them.
async fn filled(
    path: &Path,
    visitor: &Viewer,
    count: usize,
    key: impl Fn(usize) -> String,
) -> Result<Arc<dyn Store>, Failure> {
    let store = SqliteStore::open(path, SqliteOptions::default())?.store;
    let visit = StartQuery {
        viewer: visitor.clone(),
        cursor: None,
        head: Position::START,
        replay_limit: 1,
        now: Timestamp::now(),
    };
    for start in store.start(vec![visit]).await {
        start?;
    }
    let body: Arc<str> = r#"{"message":"Order #1 was placed","severity":"medium"}"#.into();
    for from in (0..count).step_by(1_000) {
        let some = from..count.min(from + 1_000);
        let notifications = some.map(|i| Notification {
            id: Uuid::now_v7(),
            kind: Kind::Notification,
            audience: Audience::from_text(&key(i)).unwrap_or_else(Audience::everyone),
            publisher: "key:bench".into(),
            created_at: Timestamp::now(),
            deliver_at: None,
            expires_at: None,
            body: Arc::clone(&body),
            once: None,
            throttle: None,
            reference: None,
            webhook: None,
        });
        store.append(notifications.collect()).await?;
    }
    Ok(store)
}

/// Lists the first page, or counts without a filter; how long it took.
async fn turn(
    store: &dyn Store,
    viewer: &Viewer,
    filter: Option<Filter>,
) -> Result<Duration, Failure> {
    let (viewer, now) = (viewer.clone(), Timestamp::now());
    let begun = Instant::now();
    match filter {
        None => {
            store.unread(viewer, now).await?;
        }
        Some(filter) => {
            let query = ListQuery {
                viewer,
                filter,
                before: None,
                limit: DEFAULT_PAGE,
                now,
            };
            store.inbox(query).await?;
        }
    }
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
