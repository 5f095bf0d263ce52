//! What each hot step of a notification costs by itself, with Criterion: a change is held against the run before it.
//!
//!     cargo bench --bench steps
//!     cargo bench --bench steps -- --quick fan-out
//!
//! | bench | what is in it |
//! | --- | --- |
//! | `validate/…` | JSON as `POST /notifications` reads it, and `Draft::validate`; no HTTP, nobody is signed in |
//! | `encode/…` | an entry's event-stream bytes, once for all its streams |
//! | `append/…` | `SqliteStore::append` until it is durable: one at a time, and 64 at once ([`log`]) |
//! | `replay/page` | `Store::page`: 256 entries of one viewer, in a log of 100,000 ([`log`]) |
//! | `fan-out/…` | the stream thread's CPU time for an entry to all of n streams, without sockets ([`fan_out`]; Linux) |
//!
//! `append` is as fast as the disk is under cargo's target directory. The others take one core, and a second for the threads
//! that a step hands its work to; on a machine that does something else, they measure that.

mod fan_out;
mod log;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use campanile::Draft;
use campanile::clock::Timestamp;
use campanile::log::{Epoch, Position};
use campanile::notification::{
    Entry, InvalidDraft, Kind, MAX_USERS, Notification, Severity, Validated,
};
use campanile::sse::{Frame, Framing, Naming};
use criterion::{BenchmarkId, Criterion, Throughput};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::to_raw_value;

fn main() {
    // What the command line says goes before what is said here.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    validate(&mut criterion);
    encode(&mut criterion);
    log::append(&mut criterion);
    log::page(&mut criterion);
    fan_out::fan_out(&mut criterion);
    criterion.final_summary();
}

/// What publishers send: the least, all that a receiver is shown, and the most recipients.
fn drafts() -> [(&'static str, Draft); 3] {
    let short = Draft {
        target_user_id: Some("ann".into()),
        message: "Order #1042 was placed".into(),
        ..Draft::default()
    };
    let lines: Vec<_> = (0..20)
        .map(|n| json!({"sku": format!("A-{n:04}"), "count": n, "price": 12.5}))
        .collect();
    let full = Draft {
        target_roles: vec!["sales".into(), "support".into()],
        title: Some("New order".into()),
        details: Some("Two of the articles are on back order. ".repeat(12)),
        severity: Some(Severity::High),
        module: Some("orders".into()),
        action_type: Some("new_order".into()),
        link: Some("/orders/1042?from=notification".into()),
        data: to_raw_value(&json!({"order": 1042, "lines": lines})).ok(),
        expires_at: Some("2099-01-01T00:00:00Z".into()),
        idempotency_key: Some("order-1042".into()),
        ..short.clone()
    };
    let many = Draft {
        target_user_id: None,
        target_user_ids: (0..MAX_USERS).map(|n| format!("user-{n}")).collect(),
        ..short.clone()
    };
    [
        ("short", short),
        ("every field", full),
        ("1,000 users", many),
    ]
}

fn validate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate");
    let publisher: Arc<str> = "key:shop".into();
    for (name, draft) in drafts() {
        let text = serde_json::to_string(&draft).expect("a draft is JSON");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let draft = read(black_box(&text));
                let now = Timestamp::now();
                let validated = draft.validate(Kind::Notification, Arc::clone(&publisher), now);
                validated.expect("the draft is valid")
            });
        });
    }
    group.finish();
}

/// As the handler of `POST /notifications` does: a look for `action`, then the draft, by a reader that knows where it is.
fn read(text: &str) -> Draft {
    #[derive(Deserialize)]
    struct Form {
        action: Option<String>,
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let form: Form = serde_path_to_error::deserialize(&mut json).expect("an object");
    assert!(form.action.is_none());
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).expect("a draft")
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let epoch = Epoch::random();
    let [short, full, _] = drafts();
    for (name, draft) in [short, full] {
        let entry = entry(draft);
        let bytes = event(&entry, &epoch)
            .bytes(Naming::Named, Framing::Chunked)
            .len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let frame = event(black_box(&entry), black_box(&epoch));
                frame.bytes(Naming::Named, Framing::Chunked).clone()
            });
        });
    }
    group.finish();
}

/// The entry's event, with its id, which is not encoded before its bytes are asked for.
fn event(entry: &Entry, epoch: &Epoch) -> Frame {
    let id = epoch.event_id(entry.position).to_string();
    Frame::notification(Some(id), entry)
}

/// A draft as the log holds it once it is stored.
fn entry(draft: Draft) -> Entry {
    let stored = stored(draft, Kind::Notification).expect("the draft is valid");
    Entry {
        position: Position(1_042_317),
        id: stored.id,
        kind: stored.kind,
        audience: stored.audience,
        created_at: stored.created_at,
        expires_at: stored.expires_at,
        body: stored.body,
    }
}

/// A draft as the store takes it.
fn stored(draft: Draft, kind: Kind) -> Result<Notification, InvalidDraft> {
    match draft.validate(kind, "key:shop".into(), Timestamp::now())? {
        Validated::Notification(notification) => Ok(notification),
        Validated::Ephemeral(_) => unreachable!("no draft here is ephemeral"),
    }
}
