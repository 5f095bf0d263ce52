//! The log: appended to in commit order, handed over, read, pruned.

use std::sync::Arc;
use std::time::Duration;

use campanile::audience::Audience;
use campanile::auth::{Scopes, StoredKey};
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::notification::{Kind, Notification};
use campanile::store::{Aged, Conflict, HANDOVER_COMMITS, PageQuery, Refused, StoreError};

use super::*;

on_every_store!(
    positions_rise_by_one_in_the_order_of_the_calls,
    what_is_committed_is_handed_over_in_order_and_reads_back_as_it_was,
    one_that_conflicts_does_not_sink_its_neighbours,
    an_append_whose_caller_has_gone_is_stored_and_handed_over,
    a_slow_receiver_misses_hand_overs_but_nothing_of_the_log,
    a_position_is_never_given_twice_even_after_the_newest_is_pruned,
    a_viewer_sees_the_union_of_their_keys_each_entry_once,
    a_page_ends_at_its_count_or_its_bytes_and_says_how_far_it_covers,
    what_has_expired_is_on_no_page,
    only_settled_entries_that_are_old_enough_are_pruned,
    pruning_goes_in_steps_and_raises_the_floor_of_its_kind_alone,
    a_user_is_revoked_for_good_and_at_the_latest_moment,
    a_key_is_kept_once_and_revoked_once,
    a_closed_store_says_so,
);

async fn positions_rise_by_one_in_the_order_of_the_calls(place: &dyn Place) {
    let store = place.open().store;
    let calls = (0..100).map(|_| store.append(vec![to_user("42"), to_user("7")]));
    let answers = futures::future::join_all(calls.collect::<Vec<_>>()).await;
    let positions: Vec<u64> = answers
        .into_iter()
        .flat_map(|answer| answer.expect("stored"))
        .map(|placed| placed.expect("no conflict").position.expect("a place").0)
        .collect();
    assert_eq!(positions, (1..=200).collect::<Vec<_>>());
}

async fn what_is_committed_is_handed_over_in_order_and_reads_back_as_it_was(place: &dyn Place) {
    let mut opened = place.open();
    let sent = vec![
        notification(to(&["42", "7"], &["ADMIN", "Chef d'équipe"])),
        Notification {
            expires_at: Some(Timestamp::now().saturating_add(A_MINUTE)),
            body: r#"{"message":"with an end","data":12345678901234567890}"#.into(),
            ..broadcast()
        },
    ];
    stored(&*opened.store, sent.clone()).await;
    let handed = opened.committed.recv().await.expect("a hand-over");
    let read = opened.store.entries(Position::START, 10).await;
    for entries in [handed, read.expect("entries")] {
        assert_eq!(entries.len(), sent.len());
        for (i, (entry, sent)) in entries.iter().zip(&sent).enumerate() {
            assert_eq!(entry.position, Position(i as u64 + 1));
            assert_eq!(
                (entry.id, entry.kind, &entry.audience, &entry.body),
                (sent.id, sent.kind, &sent.audience, &sent.body)
            );
            assert_eq!(
                (entry.created_at, entry.expires_at),
                (sent.created_at, sent.expires_at)
            );
        }
    }
}

async fn one_that_conflicts_does_not_sink_its_neighbours(place: &dyn Place) {
    let mut opened = place.open();
    let first = to_user("42");
    let same_id = Notification {
        audience: to(&["7"], &[]),
        ..first.clone()
    };
    let answers = opened
        .store
        .append(vec![first, same_id, to_user("42")])
        .await
        .expect("the call succeeds");
    let places: Vec<Result<Position, Refused>> = answers
        .into_iter()
        .map(|answer| answer.map(|placed| placed.position.expect("a place")))
        .collect();
    let taken = Conflict("its id is taken".to_owned());
    assert_eq!(
        places,
        [Ok(Position(1)), Err(taken.into()), Ok(Position(2))]
    );
    let handed = opened.committed.recv().await.expect("a hand-over");
    assert_eq!(handed.len(), 2);
    // Nothing of it is left behind.
    let strangers = everything(viewer("7", &[]), 2);
    assert!(seen(&*opened.store, strangers).await.is_empty());
    let counts = opened.store.counts().await.expect("counts");
    assert_eq!(counts.notifications, 2);
}

async fn an_append_whose_caller_has_gone_is_stored_and_handed_over(place: &dyn Place) {
    let mut opened = place.open();
    let sent = to_user("42");
    drop(opened.store.append(vec![sent.clone()]));
    let handed = soon(opened.committed.recv()).await.expect("a hand-over");
    assert_eq!(handed[0].id, sent.id);
    let next = stored(&*opened.store, vec![to_user("42")]).await;
    assert_eq!(next, Position(2));
}

async fn a_slow_receiver_misses_hand_overs_but_nothing_of_the_log(place: &dyn Place) {
    let mut opened = place.open();
    let commits = HANDOVER_COMMITS + 3;
    for _ in 0..commits {
        stored(&*opened.store, vec![to_user("42")]).await;
    }
    for position in 1..=HANDOVER_COMMITS as u64 {
        let handed = opened.committed.try_recv().expect("a hand-over");
        assert_eq!(handed[0].position, Position(position));
    }
    assert!(opened.committed.try_recv().is_err());
    let missed = Position(HANDOVER_COMMITS as u64);
    let read = opened.store.entries(missed, 10).await.expect("entries");
    assert_eq!(read.len(), 3);
    stored(&*opened.store, vec![to_user("42")]).await;
    assert!(opened.committed.recv().await.is_some());
}

async fn a_position_is_never_given_twice_even_after_the_newest_is_pruned(place: &dyn Place) {
    let opened = place.open();
    let epoch = opened.log.epoch.clone();
    stored(&*opened.store, vec![to_user("42"), to_user("42")]).await;
    settled(&*opened.store, 2).await;
    assert_eq!(prune_all(&*opened.store, 10).await, 2);
    opened.store.close().await;

    let opened = place.open();
    assert_eq!(opened.log.epoch, epoch);
    assert_eq!(opened.log.head, Position(2));
    assert_eq!(opened.log.settled, Position(2));
    let next = stored(&*opened.store, vec![to_user("42")]).await;
    assert_eq!(next, Position(3));
}

async fn a_viewer_sees_the_union_of_their_keys_each_entry_once(place: &dyn Place) {
    let store = place.open().store;
    stored(
        &*store,
        vec![
            notification(to(&["42"], &["ADMIN", "BILLING"])),
            notification(to(&["7"], &["ADMIN"])),
            notification(to(&["7"], &[])),
            notification(to(&["ADMIN"], &["42"])),
            broadcast(),
            notification(Audience::everyone()),
        ],
    )
    .await;
    let admin = everything(viewer("42", &["ADMIN", "BILLING", "ADMIN"]), 6);
    assert_eq!(seen(&*store, admin).await, [1, 2, 5, 6]);
    let reader = everything(viewer("42", &[]), 6);
    assert_eq!(seen(&*store, reader).await, [1, 5, 6]);
    let nobody = everything(viewer("9", &["NONE"]), 6);
    assert_eq!(seen(&*store, nobody).await, [5, 6]);
    let many: Vec<String> = (0..32).map(|i| format!("role-{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let with_many_roles = everything(viewer("7", &many), 6);
    assert_eq!(seen(&*store, with_many_roles).await, [2, 3, 5, 6]);
}

async fn a_page_ends_at_its_count_or_its_bytes_and_says_how_far_it_covers(place: &dyn Place) {
    let store = place.open().store;
    let sized = |bytes: usize| Notification {
        body: "x".repeat(bytes).into(),
        ..to_user("42")
    };
    let others = to_user("7");
    stored(
        &*store,
        vec![sized(10), others, sized(1_000), sized(10), sized(10)],
    )
    .await;
    let query = everything(viewer("42", &[]), 5);
    for (after, limit, max_bytes, expected, covers) in [
        (0, 10, usize::MAX, vec![1, 3, 4, 5], 5),
        (0, 4, usize::MAX, vec![1, 3, 4, 5], 5),
        (0, 3, usize::MAX, vec![1, 3, 4], 4),
        (0, 10, 10, vec![1], 1),
        (1, 10, 10, vec![3], 3),
        (3, 10, 20, vec![4, 5], 5),
        (3, 10, 19, vec![4], 4),
        (5, 10, 10, vec![], 5),
        (0, 0, 0, vec![1], 1),
    ] {
        let query = PageQuery {
            after: Position(after),
            limit,
            max_bytes,
            ..query.clone()
        };
        let page = store.page(query.clone()).await.expect("a page");
        let positions: Vec<u64> = page.entries.iter().map(|e| e.entry.position.0).collect();
        assert_eq!(positions, expected, "{query:?}");
        assert_eq!(page.covers, Position(covers), "{query:?}");
    }
    let upto_four = PageQuery {
        upto: Position(4),
        ..query
    };
    assert_eq!(seen(&*store, upto_four).await, [1, 3, 4]);
}

async fn what_has_expired_is_on_no_page(place: &dyn Place) {
    let store = place.open().store;
    let end = Timestamp::now().saturating_add(A_MINUTE);
    let brief = Notification {
        expires_at: Some(end),
        ..to_user("42")
    };
    stored(&*store, vec![brief, to_user("42")]).await;
    let before = everything(viewer("42", &[]), 2);
    let after = PageQuery {
        now: end,
        limit: 1,
        ..before.clone()
    };
    assert_eq!(seen(&*store, before).await, [1, 2]);
    let page = store.page(after).await.expect("a page");
    assert_eq!(page.entries[0].entry.position, Position(2));
    assert_eq!(page.covers, Position(2));
}

/// Prunes whatever may be pruned at all, in one step.
async fn prune_all(store: &dyn Store, limit: usize) -> usize {
    let later = Timestamp::now().saturating_add(A_MINUTE);
    let pruned = store.prune(later, keeping(Duration::ZERO), limit).await;
    let gone = pruned.expect("pruning works").gone;
    gone.total().try_into().expect("a few")
}

async fn only_settled_entries_that_are_old_enough_are_pruned(place: &dyn Place) {
    let store = place.open().store;
    let hour = Duration::from_secs(3600);
    let now = Timestamp::now();
    let aged = |kind: Kind, hours: u32| Notification {
        kind,
        created_at: now.saturating_sub(hour * hours),
        ..notification(Audience::everyone())
    };
    stored(
        &*store,
        vec![
            aged(Kind::Notification, 50),
            aged(Kind::Notification, 49),
            aged(Kind::Broadcast, 3),
            aged(Kind::Broadcast, 1),
            aged(Kind::Notification, 50),
        ],
    )
    .await;
    let retention = Retention {
        notifications: hour * 49,
        broadcasts: hour * 2,
        ..keeping(Duration::ZERO)
    };
    let old = async || store.aged(now, retention).await.expect("counted");
    let prune = async || store.prune(now, retention, 10).await.expect("pruned").gone;
    assert_eq!((old().await.total(), prune().await.total()), (0, 0));
    settled(&*store, 4).await;
    // Exactly as old as it is kept is not older; the fifth is not settled.
    let expected = Aged {
        notifications: 1,
        broadcasts: 1,
        ..Aged::default()
    };
    assert_eq!((old().await, prune().await), (expected, expected));
    assert_eq!(old().await.total(), 0);
    let left = everything(viewer("42", &[]), 5);
    assert_eq!(seen(&*store, left).await, [2, 4, 5]);
    let counts = store.counts().await.expect("counts");
    assert_eq!((counts.notifications, counts.broadcasts), (2, 1));
}

async fn pruning_goes_in_steps_and_raises_the_floor_of_its_kind_alone(place: &dyn Place) {
    let store = place.open().store;
    let told = || notification(to(&["42", "7"], &["ADMIN"]));
    stored(
        &*store,
        vec![told(), broadcast(), told(), broadcast(), told()],
    )
    .await;
    settled(&*store, 5).await;
    let mut starts = Vec::new();
    for _ in 0..4 {
        starts.push(prune_all(&*store, 2).await);
        let start = store
            .start_one(begin(viewer("42", &["ADMIN"]), Some(2), 5))
            .await;
        let start = start.expect("a start");
        starts.push(usize::from(start.broadcasts_missed) * 10 + usize::from(start.gap));
    }
    // Two broadcasts first, then two notifications, then the third: the floors are 4, then 3, then 5.
    assert_eq!(starts, [2, 10, 2, 11, 1, 11, 0, 11]);
    assert!(
        seen(&*store, everything(viewer("42", &["ADMIN"]), 5))
            .await
            .is_empty()
    );
    let counts = store.counts().await.expect("counts");
    assert_eq!((counts.notifications, counts.broadcasts), (0, 0));
}

async fn a_user_is_revoked_for_good_and_at_the_latest_moment(place: &dyn Place) {
    let store = place.open().store;
    let at = Timestamp::from_millis;
    for (user, moment) in [("42", 2_000), ("7", 1_000), ("42", 1_500), ("7", 3_000)] {
        let kept = store.revoke_user(Arc::from(user), at(moment)).await;
        kept.expect("kept");
    }
    store.close().await;
    let mut revoked = place.open().store.revoked_users().await.expect("users");
    revoked.sort();
    let expected = [("42", at(2_000)), ("7", at(3_000))];
    assert_eq!(revoked, expected.map(|(user, at)| (Arc::from(user), at)));
}

async fn a_key_is_kept_once_and_revoked_once(place: &dyn Place) {
    let opened = place.open();
    let key = |name: &str, byte: u8| StoredKey {
        name: Arc::from(name),
        hash: [byte; 32],
        scopes: Scopes {
            publish: true,
            admin: byte == 1,
        },
        created_at: Timestamp::from_millis(1_000),
        revoked_at: None,
    };
    let store = opened.store;
    store.insert_key(key("shop", 1)).await.expect("kept");
    store.insert_key(key("billing", 2)).await.expect("kept");
    let taken = store.insert_key(key("billing", 3)).await;
    assert!(matches!(taken, Err(StoreError::Conflict(name)) if name == "billing"));
    let now = Timestamp::from_millis(2_000);
    for (name, revoked) in [("billing", true), ("billing", false), ("nobody", false)] {
        let answer = store.revoke_key(name.to_owned(), now).await;
        assert_eq!(answer.expect("an answer"), revoked, "{name}");
    }
    // Its name is not free again: what it signed must not look like somebody else's.
    assert!(store.insert_key(key("billing", 4)).await.is_err());
    store.close().await;

    let keys = place.open().store.keys().await.expect("keys");
    let kept: Vec<_> = keys
        .iter()
        .map(|key| (&*key.name, key.hash[0], key.scopes.admin, key.revoked_at))
        .collect();
    assert_eq!(
        kept,
        [("billing", 2, false, Some(now)), ("shop", 1, true, None)]
    );
}

async fn a_closed_store_says_so(place: &dyn Place) {
    let store = place.open().store;
    let (first, second) = (store.close(), store.close());
    soon(futures::future::join(first, second)).await;
    let unavailable = |error: Option<StoreError>| {
        assert!(
            matches!(error, Some(StoreError::Unavailable(_))),
            "{error:?}"
        );
    };
    unavailable(store.append(vec![to_user("42")]).await.err());
    unavailable(store.counts().await.err());
    unavailable(store.ready().await.err());
    store.record(Verdicts {
        settled: Position(1),
        ..Verdicts::default()
    });
    unavailable(store.flush().await.err());
}
