//! What became of each recipient: no row means sent, and a row says the rest.

use std::time::Duration;

use campanile::audience::Recipient;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::notification::Notification;
use campanile::store::{Asked, Counts, Nobody, PageQuery, RetrySchedule};

use super::*;

on_every_store!(
    what_is_settled_without_a_row_was_sent,
    who_is_owed_is_asked_three_times_and_has_then_failed,
    who_has_failed_is_sent_it_on_return,
    verdicts_hold_in_the_order_in_which_they_were_given,
    what_has_expired_is_not_asked_for,
    only_those_who_are_due_are_asked_the_longest_due_first,
    verdicts_survive_a_restart_and_never_go_back,
    the_oldest_owed_is_the_one_accepted_first,
);

fn user(name: &str) -> Recipient {
    Recipient::User(name.into())
}

fn owed(position: u64, recipient: Recipient) -> Verdicts {
    Verdicts {
        settled: Position(position),
        owed: vec![(Position(position), recipient, Missed::NoStream)],
        ..Verdicts::default()
    }
}

fn sent(position: u64, recipient: Recipient) -> Verdicts {
    Verdicts {
        sent: vec![(Position(position), recipient)],
        ..Verdicts::default()
    }
}

fn schedule() -> RetrySchedule {
    RetrySchedule {
        delays: [1, 5, 25].map(Duration::from_secs).into(),
    }
}

/// Long enough from now that whoever was first owed just now is due.
fn when_due() -> Timestamp {
    Timestamp::now().saturating_add(A_MINUTE)
}

async fn asked(store: &dyn Store, now: Timestamp) -> Asked {
    ask(store, now, schedule(), 100).await
}

/// Positions owed to, or failed for, a user.
async fn open(store: &dyn Store, name: &str) -> Vec<u64> {
    let page = store.owed(everything(viewer(name, &[]), 100)).await;
    let page = page.expect("a page");
    assert!(page.entries.iter().all(|entry| entry.undecided));
    page.entries.iter().map(|e| e.entry.position.0).collect()
}

async fn counts(store: &dyn Store) -> Counts {
    store.counts().await.expect("counts")
}

async fn what_is_settled_without_a_row_was_sent(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![to_user("42"), to_user("42")]).await;
    settled(&*store, 1).await;
    let page = store.page(everything(viewer("42", &[]), 2)).await;
    let undecided: Vec<bool> = page
        .expect("a page")
        .entries
        .iter()
        .map(|entry| entry.undecided)
        .collect();
    assert_eq!(undecided, [false, true]);
    assert!(open(&*store, "42").await.is_empty());
    decided(&*store, sent(1, user("42"))).await;
    assert_eq!(counts(&*store).await.owed, 0);
}

async fn who_is_owed_is_asked_three_times_and_has_then_failed(place: &dyn Place) {
    let store = place.open().store;
    let told = to_user("42");
    let notification = told.id;
    stored(&*store, vec![told]).await;
    decided(&*store, owed(1, user("42"))).await;
    assert_eq!(open(&*store, "42").await, [1]);
    let first = when_due();
    let second = first.saturating_add(Duration::from_secs(5));
    let third = second.saturating_add(Duration::from_secs(25));
    let still = |next_due| Asked {
        still_owed: 1,
        next_due: Some(next_due),
        ..Asked::default()
    };
    assert_eq!(asked(&*store, first).await, still(second));
    // Before its time nobody is asked.
    let nobody = Asked {
        next_due: Some(second),
        ..Asked::default()
    };
    assert_eq!(asked(&*store, first).await, nobody);
    assert_eq!(asked(&*store, second).await, still(third));
    let failed = Asked {
        failed: 1,
        nobody_took: vec![Nobody {
            notification,
            recipient: user("42"),
        }],
        ..Asked::default()
    };
    assert_eq!(asked(&*store, third).await, failed);
    assert_eq!(asked(&*store, third).await, Asked::default());
    let counts = counts(&*store).await;
    assert_eq!((counts.owed, counts.failed), (0, 1));
    assert_eq!(counts.oldest_owed, None);
}

async fn who_has_failed_is_sent_it_on_return(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![to_user("42")]).await;
    decided(&*store, owed(1, user("42"))).await;
    let at_once = RetrySchedule { delays: [].into() };
    assert_eq!(ask(&*store, when_due(), at_once, 10).await.failed, 1);
    // Owed once more changes nothing: its row is there.
    decided(&*store, owed(1, user("42"))).await;
    assert_eq!(counts(&*store).await.failed, 1);
    assert_eq!(open(&*store, "42").await, [1]);
    let start = store.start_one(begin(viewer("42", &[]), None, 1)).await;
    assert!(start.expect("a start").owes);

    decided(&*store, sent(1, user("42"))).await;
    assert!(open(&*store, "42").await.is_empty());
    assert_eq!(
        (counts(&*store).await.failed, counts(&*store).await.owed),
        (0, 0)
    );
    let start = store.start_one(begin(viewer("42", &[]), None, 1)).await;
    assert!(!start.expect("a start").owes);
}

async fn verdicts_hold_in_the_order_in_which_they_were_given(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![to_user("42"), to_user("42"), to_user("42")]).await;
    // In one commit or in several, the outcome is the same.
    for (position, in_one_commit) in [(1, true), (2, false)] {
        store.record(sent(position, user("42")));
        if !in_one_commit {
            store.flush().await.expect("written");
        }
        decided(&*store, owed(position, user("42"))).await;
    }
    assert_eq!(open(&*store, "42").await, [1, 2]);
    store.record(owed(3, user("42")));
    decided(&*store, sent(3, user("42"))).await;
    assert_eq!(open(&*store, "42").await, [1, 2]);
    assert_eq!(counts(&*store).await.owed, 2);
}

async fn what_has_expired_is_not_asked_for(place: &dyn Place) {
    let store = place.open().store;
    let brief = Notification {
        expires_at: Some(when_due()),
        ..to_user("42")
    };
    stored(&*store, vec![brief]).await;
    decided(&*store, owed(1, user("42"))).await;
    let later = when_due().saturating_add(A_MINUTE);
    let before = store.start_one(begin(viewer("42", &[]), None, 1)).await;
    assert!(before.expect("a start").owes);
    let late = StartQuery {
        now: later,
        ..begin(viewer("42", &[]), None, 1)
    };
    assert!(!store.start_one(late).await.expect("a start").owes);
    let page = PageQuery {
        now: later,
        ..everything(viewer("42", &[]), 1)
    };
    assert!(store.owed(page).await.expect("a page").entries.is_empty());
    let expired = Asked {
        expired: 1,
        ..Asked::default()
    };
    assert_eq!(asked(&*store, later).await, expired);
    assert_eq!(asked(&*store, later).await, Asked::default());
    assert_eq!(
        (counts(&*store).await.owed, counts(&*store).await.failed),
        (0, 0)
    );
}

async fn only_those_who_are_due_are_asked_the_longest_due_first(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![notification(to(&["a", "b", "c"], &["R"]))]).await;
    let everybody = Verdicts {
        settled: Position(1),
        owed: ["a", "b", "c"]
            .map(|name| (Position(1), user(name), Missed::NotTaken))
            .into(),
        ..Verdicts::default()
    };
    decided(&*store, everybody).await;
    let now = when_due();
    let two = ask(&*store, now, schedule(), 2).await;
    assert_eq!(two.still_owed, 2);
    // The one that was left out is due still, and before the others.
    assert!(two.next_due.is_some_and(|due| due <= now));
    assert_eq!(asked(&*store, now).await.still_owed, 1);
    let role = Recipient::Role("R".into());
    decided(&*store, owed(1, role.clone())).await;
    assert_eq!(counts(&*store).await.owed, 4);
    // A role's debt is nobody's by name.
    assert!(open(&*store, "R").await.is_empty());
    decided(&*store, sent(1, role)).await;
    assert_eq!(counts(&*store).await.owed, 3);
}

async fn verdicts_survive_a_restart_and_never_go_back(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![to_user("42"), to_user("42"), to_user("42")]).await;
    store.record(Verdicts {
        settled: Position(2),
        owed: vec![(Position(2), user("42"), Missed::NoStream)],
        marks: vec![("42".into(), Position(1)), ("7".into(), Position(3))],
        ..Verdicts::default()
    });
    store.record(Verdicts {
        settled: Position(1),
        marks: vec![("7".into(), Position(2))],
        ..Verdicts::default()
    });
    store.flush().await.expect("written");
    // Not flushed, but closing writes what waits.
    store.record(Verdicts {
        marks: vec![("7".into(), Position(1)), ("42".into(), Position(2))],
        ..Verdicts::default()
    });
    store.close().await;

    let opened = place.open();
    assert_eq!(opened.log.head, Position(3));
    assert_eq!(opened.log.settled, Position(2));
    assert_eq!(open(&*opened.store, "42").await, [2]);
    for (name, mark) in [("42", 2), ("7", 3)] {
        let start = opened
            .store
            .start_one(begin(viewer(name, &[]), None, 3))
            .await;
        assert_eq!(start.expect("a start").place, Position(mark), "{name}");
    }
}

async fn the_oldest_owed_is_the_one_accepted_first(place: &dyn Place) {
    let store = place.open().store;
    let accepted = |millis| Notification {
        created_at: Timestamp::from_millis(millis),
        ..to_user("42")
    };
    stored(
        &*store,
        vec![accepted(1_000), accepted(2_000), accepted(3_000)],
    )
    .await;
    decided(&*store, owed(3, user("42"))).await;
    decided(&*store, owed(2, user("42"))).await;
    assert_eq!(
        counts(&*store).await.oldest_owed,
        Some(Timestamp::from_millis(2_000))
    );
    decided(&*store, sent(2, user("42"))).await;
    assert_eq!(
        counts(&*store).await.oldest_owed,
        Some(Timestamp::from_millis(3_000))
    );
}
