//! What is claimed is done by one, and what nobody settles is taken back.

use std::collections::HashSet;
use std::time::Duration;

use campanile::audience::Recipient;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::store::{Asked, Claim, Reclaimed, Unacknowledged};

use super::*;

on_every_store!(
    two_who_claim_at_once_get_different_ones,
    what_is_claimed_is_not_due_until_it_is_settled,
    one_that_was_sent_meanwhile_is_left_as_it_is,
    what_was_not_acknowledged_is_owed_again_and_a_later_place_settles_it,
);

const LEASE: Duration = Duration::from_mins(10);

fn schedule() -> RetrySchedule {
    RetrySchedule {
        delays: [Duration::ZERO; 3].into(),
    }
}

fn later() -> Timestamp {
    Timestamp::now().saturating_add(A_MINUTE)
}

/// So many users, each owed one notification.
async fn owing(store: &dyn Store, users: usize) {
    for user in 0..users {
        let user = format!("u{user}");
        let position = stored(store, vec![to_user(&user)]).await;
        decided(
            store,
            Verdicts {
                settled: position,
                owed: vec![(position, Recipient::User(user.into()), Missed::NoStream)],
                ..Verdicts::default()
            },
        )
        .await;
    }
}

async fn claimed(store: &dyn Store, limit: usize) -> Vec<Claim> {
    store.claim(later(), limit).await.expect("claimed")
}

async fn settled(store: &dyn Store, claims: Vec<Claim>) -> Asked {
    let asked = store.settle(later(), claims, schedule()).await;
    asked.expect("settled")
}

async fn reclaimed(store: &dyn Store, now: Timestamp) -> Reclaimed {
    let reclaimed = store.reclaim(now, LEASE, schedule()).await;
    reclaimed.expect("an answer")
}

async fn two_who_claim_at_once_get_different_ones(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 40).await;
    let claims = (0..8).map(|_| store.claim(later(), 10)).collect::<Vec<_>>();
    let claims: Vec<Claim> = futures::future::join_all(claims)
        .await
        .into_iter()
        .flat_map(|claims| claims.expect("claimed"))
        .collect();
    let positions: HashSet<Position> = claims.iter().map(|claim| claim.position).collect();
    assert_eq!((claims.len(), positions.len()), (40, 40));
    assert!(claims.iter().all(|claim| claim.attempt == 1));
}

async fn what_is_claimed_is_not_due_until_it_is_settled(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 2).await;
    let first = claimed(&*store, 1).await;
    assert_eq!(first.len(), 1);
    let second = claimed(&*store, 10).await;
    assert_eq!(second.len(), 1);
    assert!(claimed(&*store, 10).await.is_empty());
    assert_eq!(settled(&*store, first.clone()).await.still_owed, 1);
    let again = claimed(&*store, 10).await;
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    assert_eq!(again[0].position, first[0].position);

    // Settled twice, or under an attempt that is past, it is nobody's word.
    let stale = settled(&*store, first).await;
    assert_eq!((stale.conflicts, stale.still_owed), (1, 0));
    assert_eq!(settled(&*store, again.clone()).await.still_owed, 1);
    assert_eq!(settled(&*store, again).await.conflicts, 1);
}

async fn one_that_was_sent_meanwhile_is_left_as_it_is(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 1).await;
    let claims = claimed(&*store, 10).await;
    decided(
        &*store,
        Verdicts {
            sent: vec![(Position(1), Recipient::User("u0".into()))],
            ..Verdicts::default()
        },
    )
    .await;
    let asked = settled(&*store, claims).await;
    assert_eq!((asked.aborted, asked.failed, asked.still_owed), (1, 0, 0));
    let counts = store.counts().await.expect("counts");
    assert_eq!((counts.owed, counts.failed), (0, 0));
    assert_eq!(
        reclaimed(&*store, later().saturating_add(LEASE)).await,
        Reclaimed::default()
    );
}

async fn what_was_not_acknowledged_is_owed_again_and_a_later_place_settles_it(place: &dyn Place) {
    let store = place.open().store;
    stored(
        &*store,
        vec![
            to_user("42"),
            to_user("42"),
            broadcast(),
            to_user("42"),
            to_user("7"),
        ],
    )
    .await;
    let broken = |after, upto| Verdicts {
        settled: Position(5),
        unacknowledged: vec![Unacknowledged {
            recipients: vec![Recipient::User("42".into())],
            after: Position(after),
            upto: Position(upto),
            owed: Vec::new(),
        }],
        ..Verdicts::default()
    };
    decided(&*store, broken(1, 4)).await;
    let open = store
        .owed(everything(viewer("42", &[]), 5))
        .await
        .expect("a page");
    let positions: Vec<u64> = open.entries.iter().map(|e| e.entry.position.0).collect();
    assert_eq!(
        positions,
        [2, 4],
        "no broadcast, nothing that was acknowledged"
    );
    assert_eq!(store.counts().await.expect("counts").owed, 2);
    // The client comes back with a place between.
    store
        .start_one(begin(viewer("42", &[]), Some(3), 5))
        .await
        .expect("a start");
    assert_eq!(store.counts().await.expect("counts").owed, 1);
    let start = store
        .start_one(begin(viewer("42", &[]), Some(5), 5))
        .await
        .expect("a start");
    assert!(!start.owes);
    assert_eq!(store.counts().await.expect("counts").owed, 0);
    // Once more, on rows that are there.
    decided(&*store, broken(0, 5)).await;
    assert_eq!(store.counts().await.expect("counts").owed, 3);
}

#[tokio::test]
async fn a_lease_that_lapsed_is_taken_back_while_attempts_are_left() {
    let place = Directory::new();
    let store = place.open().store;
    owing(&*store, 1).await;
    let now = later();
    assert_eq!(claimed(&*store, 1).await.len(), 1);
    assert_eq!(reclaimed(&*store, now).await, Reclaimed::default());
    let mut then = now;
    for attempt in 2..=3 {
        then = then.saturating_add(LEASE).saturating_add(A_MINUTE);
        assert_eq!(
            reclaimed(&*store, then).await,
            Reclaimed { back: 1, failed: 0 }
        );
        let claims = store.claim(then, 1).await.expect("claimed");
        assert_eq!(claims[0].attempt, attempt);
    }
    then = then.saturating_add(LEASE).saturating_add(A_MINUTE);
    assert_eq!(
        reclaimed(&*store, then).await,
        Reclaimed { back: 0, failed: 1 }
    );
    assert_eq!(store.counts().await.expect("counts").failed, 1);
}

#[tokio::test]
async fn what_an_earlier_run_had_claimed_is_free_at_once() {
    let place = Directory::new();
    let store = place.open().store;
    owing(&*store, 3).await;
    let stale = claimed(&*store, 2).await;
    store.close().await;
    let store = place.open().store;
    assert_eq!(claimed(&*store, 10).await.len(), 1);
    assert_eq!(
        reclaimed(&*store, Timestamp::now()).await,
        Reclaimed { back: 2, failed: 0 }
    );
    // Its word does not count any more.
    assert_eq!(settled(&*store, stale).await.conflicts, 2);
    assert_eq!(claimed(&*store, 10).await.len(), 2);
}

#[tokio::test]
async fn two_that_serve_one_file_do_nothing_twice() {
    let place = Directory::new();
    let shared = || SqliteOptions {
        shared: true,
        ..SqliteOptions::default()
    };
    let stores = [
        place.open_with(shared()).store,
        place.open_with(shared()).store,
    ];
    owing(&*stores[0], 60).await;
    let claims = (0..12)
        .map(|i| stores[i % 2].claim(later(), 10))
        .collect::<Vec<_>>();
    let claims: Vec<Claim> = futures::future::join_all(claims)
        .await
        .into_iter()
        .flat_map(|claims| claims.expect("claimed"))
        .collect();
    let positions: HashSet<Position> = claims.iter().map(|claim| claim.position).collect();
    assert_eq!((claims.len(), positions.len()), (60, 60));
    // Neither takes from the other what has not lapsed.
    for store in &stores {
        assert_eq!(reclaimed(&**store, later()).await, Reclaimed::default());
    }
}
