//! The outbox: one webhook for each notification and endpoint, in by the transaction that decided, out under a lease.

use std::collections::HashSet;
use std::time::Duration;

use campanile::audience::Recipient;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::store::{
    EndpointChange, Reclaimed, ReclaimedWebhooks, SettledWebhook, Unacknowledged, WebhookClaim,
    WebhookOutcome, WebhookQuery, WebhookState, WebhooksOf,
};
use campanile::webhooks::{Attempt, Endpoint, Filter, On, Schedule, Secret};
use uuid::Uuid;

use super::*;

on_every_store!(
    a_verdict_that_is_given_twice_makes_one_webhook,
    the_last_of_several_verdicts_makes_it_whoever_gives_it,
    two_who_claim_at_once_get_different_ones_and_no_two_for_one_endpoint,
    a_claim_holds_once_and_is_taken_back_until_no_try_is_left,
    what_waits_for_an_endpoint_that_is_disabled_fails_and_is_not_claimed,
    history_goes_once_it_is_old_and_what_it_tells_of_is_gone,
);

const LEASE: Duration = Duration::from_mins(10);

fn schedule() -> Schedule {
    Schedule {
        delays: [Duration::ZERO; 2].into(),
        disable_after: Duration::from_hours(24),
    }
}

fn later() -> Timestamp {
    Timestamp::now().saturating_add(A_MINUTE)
}

async fn endpoint(store: &dyn Store, on: On) -> Uuid {
    let endpoint = Endpoint {
        id: Uuid::now_v7(),
        url: "https://hooks.example/".to_owned(),
        on,
        filter: Filter::default(),
        secret: Secret::random(),
        old_secret: None,
        created_at: Timestamp::now(),
        failing_since: None,
        disabled: None,
    };
    let id = endpoint.id;
    assert_eq!(store.insert_endpoint(endpoint).await.ok(), Some(true));
    id
}

async fn waiting(store: &dyn Store) -> u64 {
    store.outbox_counts().await.expect("counts").waiting
}

async fn claimed(store: &dyn Store, busy: &[Uuid]) -> Vec<WebhookClaim> {
    let claimed = store.claim_webhooks(later(), 10, busy.to_vec()).await;
    claimed.expect("claimed").claims
}

fn refused() -> Attempt {
    Attempt {
        at: Timestamp::now(),
        status: Some(500),
        error: Some("answered 500".to_owned()),
        ..Attempt::default()
    }
}

/// So many notifications that everybody took.
async fn taken(store: &dyn Store, notifications: usize) -> Position {
    let mut last = Position::START;
    for _ in 0..notifications {
        last = stored(store, vec![to_user("ann")]).await;
    }
    decided(
        store,
        Verdicts {
            settled: last,
            ..Verdicts::default()
        },
    )
    .await;
    last
}

fn owed(position: Position, user: &str) -> (Position, Recipient, Missed) {
    (position, Recipient::User(user.into()), Missed::NoStream)
}

async fn a_verdict_that_is_given_twice_makes_one_webhook(place: &dyn Place) {
    let store = place.open().store;
    endpoint(&*store, On::Always).await;
    let position = taken(&*store, 1).await;
    assert_eq!(waiting(&*store).await, 1);
    // A connection breaks, and the user comes back.
    let ann = || Recipient::User("ann".into());
    decided(
        &*store,
        Verdicts {
            unacknowledged: vec![Unacknowledged {
                recipients: vec![ann()],
                after: Position::START,
                upto: position,
                owed: Vec::new(),
            }],
            ..Verdicts::default()
        },
    )
    .await;
    assert_eq!(store.counts().await.expect("counts").owed, 1);
    decided(
        &*store,
        Verdicts {
            sent: vec![(position, ann())],
            ..Verdicts::default()
        },
    )
    .await;
    assert_eq!(store.counts().await.expect("counts").owed, 0);
    assert_eq!(waiting(&*store).await, 1);
}

async fn the_last_of_several_verdicts_makes_it_whoever_gives_it(place: &dyn Place) {
    let store = place.open().store;
    endpoint(&*store, On::Undelivered).await;
    let both = notification(to(&["ann", "bob"], &[]));
    let position = stored(&*store, vec![both]).await;
    decided(
        &*store,
        Verdicts {
            settled: position,
            owed: vec![owed(position, "ann"), owed(position, "bob")],
            ..Verdicts::default()
        },
    )
    .await;
    let claims = store.claim(later(), 1).await.expect("claimed");
    let once = RetrySchedule {
        delays: [Duration::ZERO; 1].into(),
    };
    let asked = store.settle(later(), claims, once.clone()).await;
    assert_eq!(asked.expect("settled").failed, 1);
    assert_eq!(waiting(&*store).await, 0, "one is owed still");
    // The other one's last attempt was left by somebody who died over it.
    store.claim(later(), 1).await.expect("claimed");
    let after = later().saturating_add(LEASE);
    let reclaimed = store.reclaim(after, LEASE, once).await;
    assert_eq!(reclaimed.ok(), Some(Reclaimed { back: 0, failed: 1 }));
    assert_eq!(waiting(&*store).await, 1);
}

async fn two_who_claim_at_once_get_different_ones_and_no_two_for_one_endpoint(place: &dyn Place) {
    let store = place.open().store;
    let mut endpoints = HashSet::new();
    for _ in 0..12 {
        endpoints.insert(endpoint(&*store, On::Always).await);
    }
    taken(&*store, 3).await;
    let claims = (0..3).map(|_| store.claim_webhooks(later(), 10, Vec::new()));
    let claims: Vec<Vec<WebhookClaim>> = futures::future::join_all(claims.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(|claimed| claimed.expect("claimed").claims)
        .collect();
    for claims in &claims {
        let distinct: HashSet<Uuid> = claims.iter().map(|claim| claim.endpoint).collect();
        assert_eq!((claims.len(), distinct.len()), (10, 10));
    }
    let all: HashSet<Uuid> = claims.iter().flatten().map(|claim| claim.id).collect();
    assert_eq!(all.len(), 30);
    let busy: Vec<Uuid> = endpoints.into_iter().collect();
    assert_eq!(claimed(&*store, &busy).await, []);
    assert_eq!(claimed(&*store, &[]).await.len(), 6, "the rest");
}

async fn a_claim_holds_once_and_is_taken_back_until_no_try_is_left(place: &dyn Place) {
    let store = place.open().store;
    endpoint(&*store, On::Always).await;
    taken(&*store, 1).await;
    let settle = |claim| store.settle_webhook(claim, refused(), schedule());
    let reclaim = |now| store.reclaim_webhooks(now, LEASE, schedule());
    let first = claimed(&*store, &[]).await[0];
    assert_eq!(first.attempt, 1);
    assert_eq!(claimed(&*store, &[]).await, []);
    assert!(
        store
            .begin_webhook(later(), first)
            .await
            .expect("begun")
            .is_some()
    );
    let SettledWebhook { outcome, .. } = settle(first).await.expect("settled");
    assert!(matches!(outcome, WebhookOutcome::Waiting(_)), "{outcome:?}");
    let twice = settle(first).await.expect("an answer").outcome;
    assert_eq!(twice, WebhookOutcome::Conflict);
    assert!(
        store
            .begin_webhook(later(), first)
            .await
            .expect("an answer")
            .is_none()
    );

    let second = claimed(&*store, &[]).await[0];
    assert_eq!((second.id, second.attempt), (first.id, 2));
    store.begin_webhook(later(), second).await.expect("begun");
    assert_eq!(
        reclaim(later()).await.ok(),
        Some(ReclaimedWebhooks::default())
    );
    let lapsed = || later().saturating_add(LEASE);
    let back = ReclaimedWebhooks {
        back: 1,
        failed: 0,
        begun: vec![first.id],
    };
    assert_eq!(reclaim(lapsed()).await.ok(), Some(back));
    let third = store.claim_webhooks(lapsed(), 10, Vec::new()).await;
    let third = third.expect("claimed").claims[0];
    let failed = ReclaimedWebhooks {
        failed: 1,
        ..ReclaimedWebhooks::default()
    };
    assert_eq!(
        reclaim(lapsed().saturating_add(LEASE)).await.ok(),
        Some(failed)
    );
    let late = settle(third).await.expect("an answer").outcome;
    assert_eq!(late, WebhookOutcome::Conflict);
    let query = WebhookQuery {
        of: WebhooksOf::Id(first.id),
        state: None,
        before: None,
        limit: 1,
    };
    let webhook = store.webhooks(query).await.expect("webhooks").remove(0);
    assert_eq!((webhook.state, webhook.attempts), (WebhookState::Failed, 3));
}

async fn what_waits_for_an_endpoint_that_is_disabled_fails_and_is_not_claimed(place: &dyn Place) {
    let store = place.open().store;
    let id = endpoint(&*store, On::Always).await;
    taken(&*store, 2).await;
    let on_its_way = claimed(&*store, &[]).await[0];
    let disable = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    let disabled = store.change_endpoint(id, disable, Timestamp::now()).await;
    let disabled = disabled.expect("changed").expect("it is there").disabled;
    assert!(disabled.is_some_and(|disabled| disabled.told));
    assert_eq!(waiting(&*store).await, 1, "what is claimed is its sender's");
    assert!(
        store
            .begin_webhook(later(), on_its_way)
            .await
            .expect("an answer")
            .is_none()
    );
    assert_eq!(waiting(&*store).await, 0);
    taken(&*store, 1).await;
    assert_eq!(
        (waiting(&*store).await, claimed(&*store, &[]).await),
        (0, Vec::new())
    );
}

async fn history_goes_once_it_is_old_and_what_it_tells_of_is_gone(place: &dyn Place) {
    let store = place.open().store;
    endpoint(&*store, On::Always).await;
    taken(&*store, 2).await;
    let claim = claimed(&*store, &[]).await[0];
    store.begin_webhook(later(), claim).await.expect("begun");
    let sent = Attempt {
        status: Some(204),
        ..Attempt::default()
    };
    let settled = store.settle_webhook(claim, sent, schedule()).await;
    assert_eq!(settled.expect("settled").outcome, WebhookOutcome::Sent);

    let tomorrow = Timestamp::now().saturating_add(Duration::from_hours(24));
    let gone = |retention| {
        let pruning = store.prune(tomorrow, retention, 100);
        async { pruning.await.expect("pruned").gone }
    };
    let entries_stay = Retention {
        notifications: Duration::from_hours(48),
        ..keeping(A_MINUTE)
    };
    assert_eq!(
        gone(entries_stay).await.total(),
        0,
        "it stands for there being no second one"
    );
    let counted = store.aged(tomorrow, keeping(A_MINUTE)).await;
    assert_eq!(counted.expect("counted").notifications, 2);
    let all = gone(keeping(A_MINUTE)).await;
    assert_eq!((all.notifications, all.webhooks), (2, 1));
    // What waits still is sent, though nothing else is left of what it tells of.
    let counted = store.aged(tomorrow, keeping(A_MINUTE)).await;
    assert_eq!(counted.expect("counted").total(), 0);
    let claim = claimed(&*store, &[]).await[0];
    let outgoing = store.begin_webhook(later(), claim).await.expect("begun");
    assert!(outgoing.is_some_and(|outgoing| outgoing.data.contains("hello")));
}
