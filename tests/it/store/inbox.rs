//! Inboxes as they are listed, held to a plain model: whatever is stored, read and asked for, page after page.

use std::time::Duration;

use campanile::audience::Audience;
use campanile::clock::Timestamp;
use campanile::delivery::Which;
use campanile::inbox::{Filter, Unread};
use campanile::log::Position;
use campanile::notification::{Kind, Notification, Severity};
use campanile::store::{ListQuery, Marked};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;

on_every_store!(a_list_begins_at_any_place_and_ends_with_what_is_kept);

const SEVERITIES: [Severity; 2] = [Severity::Low, Severity::High];
const MODULES: [&str; 2] = ["orders", "stock"];
const MINE: [&str; 2] = ["CREW", "OPS"];

/// Something that is stored.
#[derive(Clone, Debug)]
struct Item {
    /// ann, bob.
    users: [bool; 2],
    /// Two that ann has, and one that she does not have.
    roles: [bool; 3],
    broadcast: bool,
    severity: usize,
    module: Option<usize>,
    expires: bool,
}

/// What is done with an inbox, and what is asked of it.
#[derive(Clone, Debug)]
struct Plan {
    items: Vec<Item>,
    /// Before which of them ann was first there.
    visit: Option<usize>,
    /// Which she reads one by one, and up to which all.
    reads: Vec<usize>,
    upto: Option<usize>,
    unread: bool,
    severities: Vec<usize>,
    modules: Vec<usize>,
    limit: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let item = (
        any::<[bool; 2]>(),
        any::<[bool; 3]>(),
        prop::bool::weighted(0.2),
        0..SEVERITIES.len(),
        option::of(0..MODULES.len()),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(users, roles, broadcast, severity, module, expires)| Item {
                users,
                roles,
                broadcast,
                severity,
                module,
                expires,
            },
        );
    let index = || 0..40usize;
    (
        vec(item, 0..40),
        option::of(index()),
        vec(index(), 0..10),
        option::of(index()),
        any::<bool>(),
        select(vec![vec![], vec![], vec![0], vec![1], vec![0, 1]]),
        select(vec![vec![], vec![], vec![0], vec![0, 1]]),
        1..12usize,
    )
        .prop_map(
            |(items, visit, reads, upto, unread, severities, modules, limit)| Plan {
                items,
                visit,
                reads,
                upto,
                unread,
                severities,
                modules,
                limit,
            },
        )
}

impl Item {
    fn notification(&self, end: Timestamp) -> Notification {
        let chosen = |names: &[&str], which: &[bool]| {
            let chosen = names.iter().zip(which).filter(|(_, chosen)| **chosen);
            chosen.map(|(name, _)| Arc::from(*name)).collect()
        };
        let users = chosen(&["ann", "bob"], &self.users);
        let roles = chosen(&[MINE[0], MINE[1], "SALES"], &self.roles);
        let mut body = serde_json::json!({
            "message": "m", "severity": SEVERITIES[self.severity]
        });
        if let Some(module) = self.module {
            body["module"] = MODULES[module].into();
        }
        Notification {
            kind: if self.broadcast {
                Kind::Broadcast
            } else {
                Kind::Notification
            },
            expires_at: self.expires.then_some(end),
            body: body.to_string().into(),
            // Nobody named is everyone.
            ..notification(Audience::named(users, roles).unwrap_or_else(Audience::everyone))
        }
    }

    /// Whether it is in ann's inbox, if it came after her first visit or not.
    fn is_anns(&self, visited: bool) -> bool {
        let [by_name, bob] = self.users;
        let [crew, ops, sales] = self.roles;
        let everyone = !(by_name || bob || crew || ops || sales);
        !self.broadcast && !self.expires && (by_name || visited && (crew || ops || everyone))
    }
}

#[test]
fn an_inbox_is_listed_as_a_plain_model_has_it() {
    let mut runner = TestRunner::new(Config {
        cases: 32,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&plan(), |plan| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(holds(&Directory::new(), &plan));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn holds(place: &dyn Place, plan: &Plan) {
    let store = place.open().store;
    let ann = || viewer("ann", &MINE);
    let end = Timestamp::now().saturating_add(A_MINUTE);
    let items: Vec<Notification> = plan.items.iter().map(|it| it.notification(end)).collect();
    let visit = plan.visit.map(|before| before.min(items.len()));
    let (early, late) = items.split_at(visit.unwrap_or(0));
    if !early.is_empty() {
        stored(&*store, early.to_vec()).await;
    }
    if let Some(before) = visit {
        let start = begin(ann(), None, before as u64);
        store.start_one(start).await.expect("a first visit");
    }
    if !late.is_empty() {
        stored(&*store, late.to_vec()).await;
    }
    // What is not expired yet may be read; then it is.
    let anns = |i: usize| {
        let visited = visit.is_some_and(|before| i >= before);
        plan.items[i].is_anns(visited)
    };
    for i in plan.reads.iter().copied().filter(|i| *i < items.len()) {
        let marked = store.mark_read(ann(), items[i].id, Timestamp::now()).await;
        let marked = marked.expect("an answer");
        assert!(!anns(i) || marked != Marked::Unknown, "{i} of {plan:?}");
    }
    let upto = plan.upto.map_or(0, |upto| upto.min(items.len()));
    let raised = Some(Position(upto as u64));
    let marked = store.mark_all_read("ann".into(), raised, Timestamp::now());
    marked.await.expect("an answer");

    let is_read = |i: usize| i < upto || plan.reads.contains(&i);
    let inbox: Vec<usize> = (0..items.len()).rev().filter(|i| anns(*i)).collect();
    let unread = inbox.iter().filter(|i| !is_read(**i)).count();
    let passes = |i: &usize| {
        let item = &plan.items[*i];
        let module = item
            .module
            .is_some_and(|module| plan.modules.contains(&module));
        !(plan.unread && is_read(*i))
            && (plan.severities.is_empty() || plan.severities.contains(&item.severity))
            && (plan.modules.is_empty() || module)
    };
    let due: Vec<(u64, Uuid, bool)> = inbox
        .iter()
        .copied()
        .filter(passes)
        .map(|i| (i as u64 + 1, items[i].id, is_read(i)))
        .collect();

    let mut query = ListQuery {
        viewer: ann(),
        filter: Filter {
            unread: plan.unread,
            severities: plan.severities.iter().map(|i| SEVERITIES[*i]).collect(),
            modules: plan.modules.iter().map(|i| MODULES[*i].into()).collect(),
        },
        before: None,
        limit: plan.limit,
        now: end,
    };
    let mut listed = Vec::new();
    loop {
        let slice = store.inbox(query.clone()).await.expect("a part of it");
        assert_eq!(slice.unread, Unread::counted(unread), "{plan:?}");
        assert_eq!(slice.head, Position(items.len() as u64));
        assert!(slice.entries.len() <= plan.limit, "{plan:?}");
        let entries = slice.entries.iter();
        listed.extend(entries.map(|entry| (entry.position.0, entry.id, entry.read)));
        let Some(next) = slice.next else { break };
        assert!(query.before.is_none_or(|before| next < before), "{plan:?}");
        query.before = Some(next);
    }
    assert_eq!(listed, due, "{plan:?}");
    for (i, item) in items.iter().enumerate() {
        let which = Which::Id(item.id);
        let entry = store
            .inbox_entry(ann(), which, end)
            .await
            .expect("an answer");
        let read = entry.map(|entry| entry.read);
        assert_eq!(read, anns(i).then(|| is_read(i)), "{i} of {plan:?}");
    }
    store.close().await;
}

/// A place that lies far ahead is before everything, and one that was pruned is before nothing.
async fn a_list_begins_at_any_place_and_ends_with_what_is_kept(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, (0..5).map(|_| to_user("42")).collect()).await;
    settled(&*store, 3).await;
    let later = Timestamp::now().saturating_add(A_MINUTE);
    let pruned = store.prune(later, keeping(Duration::ZERO), 100).await;
    assert_eq!(pruned.expect("pruned").gone.notifications, 3);
    for (before, due) in [
        (None, vec![5, 4]),
        (Some(u64::MAX), vec![5, 4]),
        (Some(5), vec![4]),
        (Some(4), vec![]),
        (Some(2), vec![]),
        (Some(0), vec![]),
    ] {
        let query = ListQuery {
            viewer: viewer("42", &[]),
            filter: Filter::default(),
            before: before.map(Position),
            limit: 50,
            now: Timestamp::now(),
        };
        let slice = store.inbox(query).await.expect("a part of it");
        let listed: Vec<u64> = slice.entries.iter().map(|entry| entry.position.0).collect();
        assert_eq!((listed, slice.next), (due, None), "{before:?}");
    }
    store.close().await;
}
