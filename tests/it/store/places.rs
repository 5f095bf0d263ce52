//! Where a stream begins, what it has missed, and what its place settles.

use campanile::audience::Recipient;
use campanile::log::Position;
use campanile::notification::Notification;
use campanile::store::Start;

use super::*;

on_every_store!(
    a_stream_begins_at_its_cursor_or_else_the_users_mark_or_else_the_head,
    more_than_the_replay_limit_behind_is_a_gap,
    what_is_owed_counts_up_to_where_the_stream_goes_on,
    a_cursor_settles_what_a_crash_had_re_opened,
    a_mark_settles_it_too,
    a_place_that_was_told_before_what_is_owed_was_sent_settles_nothing,
    a_cursor_settles_nothing_that_was_simply_owed,
    streams_that_begin_together_are_answered_each_in_its_place_and_their_visits_are_kept,
);

async fn started(store: &dyn Store, query: StartQuery) -> Start {
    store.start_one(query).await.expect("a start")
}

async fn a_stream_begins_at_its_cursor_or_else_the_users_mark_or_else_the_head(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, (0..5).map(|_| broadcast()).collect()).await;
    let first = started(&*store, begin(viewer("42", &[]), None, 5)).await;
    assert_eq!((first.place, first.gap), (Position(5), false));
    // That was a visit: who has been here goes on from there.
    stored(&*store, vec![broadcast()]).await;
    let second = started(&*store, begin(viewer("42", &[]), None, 6)).await;
    assert_eq!(second.place, Position(5));
    decided(
        &*store,
        Verdicts {
            marks: vec![("7".into(), Position(2))],
            ..Verdicts::default()
        },
    )
    .await;
    for (cursor, head, expected) in [
        (None, 5, 2),
        (Some(3), 5, 3),
        (Some(0), 5, 0),
        (Some(5), 5, 5),
        // Never past what the fan-out had seen when the stream was registered.
        (None, 1, 1),
        (Some(4), 3, 3),
    ] {
        let start = started(&*store, begin(viewer("7", &[]), cursor, head)).await;
        assert_eq!(start.place, Position(expected), "{cursor:?} of {head}");
        assert!(!start.gap && !start.broadcasts_missed && !start.owes);
    }
}

async fn more_than_the_replay_limit_behind_is_a_gap(place: &dyn Place) {
    let store = place.open().store;
    // Only every other one is this viewer's, and one of them in two ways.
    let log = (0..10).map(|i| match i {
        3 => notification(to(&["42"], &["ADMIN"])),
        i if i % 2 == 1 => to_user("42"),
        _ => to_user("7"),
    });
    stored(&*store, log.collect()).await;
    let me = || viewer("42", &["ADMIN"]);
    for (cursor, replay_limit, gap) in [(0, 5, false), (0, 4, true), (2, 4, false), (10, 0, false)]
    {
        let query = StartQuery {
            replay_limit,
            ..begin(me(), Some(cursor), 10)
        };
        let start = started(&*store, query).await;
        assert_eq!(start.gap, gap, "{cursor} and {replay_limit}");
        assert_eq!(start.place, Position(cursor));
    }
}

async fn what_is_owed_counts_up_to_where_the_stream_goes_on(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, (0..3).map(|_| to_user("42")).collect()).await;
    decided(&*store, owed_at(3, "42")).await;
    let query = |cursor, replay_limit| StartQuery {
        replay_limit,
        ..begin(viewer("42", &[]), cursor, 3)
    };
    // On a first visit it lies behind; from 2 it comes with the replay; from 3 it lies behind, and after a gap too.
    assert!(started(&*store, query(None, 10)).await.owes);
    assert!(!started(&*store, query(Some(2), 10)).await.owes);
    assert!(started(&*store, query(Some(3), 10)).await.owes);
    assert!(started(&*store, query(Some(0), 1)).await.owes);
    let another = begin(viewer("7", &["42"]), None, 3);
    assert!(!started(&*store, another).await.owes);
}

fn owed_at(position: u64, name: &str) -> Verdicts {
    Verdicts {
        settled: Position(position),
        owed: vec![(
            Position(position),
            Recipient::User(name.into()),
            Missed::NoStream,
        )],
        ..Verdicts::default()
    }
}

/// Three entries that were committed, but not settled when the process died; what follows it owes them again.
async fn after_a_crash(place: &dyn Place) -> Arc<dyn Store> {
    let told = || -> Notification { notification(to(&["42"], &["ADMIN"])) };
    let store = place.open().store;
    stored(&*store, vec![told(), told(), told()]).await;
    store.close().await;

    let opened = place.open();
    assert_eq!(
        (opened.log.settled, opened.log.head),
        (Position(0), Position(3))
    );
    let mut again = Verdicts {
        settled: Position(3),
        ..Verdicts::default()
    };
    for position in (1..=3).map(Position) {
        let missed = Missed::NoStream;
        again
            .owed
            .push((position, Recipient::User("42".into()), missed));
        again
            .owed
            .push((position, Recipient::Role("ADMIN".into()), missed));
    }
    decided(&*opened.store, again).await;
    opened.store
}

async fn a_cursor_settles_what_a_crash_had_re_opened(place: &dyn Place) {
    let store = after_a_crash(place).await;
    let counts = async || store.counts().await.expect("counts").owed;
    assert_eq!(counts().await, 6);
    // Without the role the role's stay open.
    let start = started(&*store, begin(viewer("42", &[]), Some(2), 3)).await;
    assert!(!start.owes);
    assert_eq!(counts().await, 4);
    started(&*store, begin(viewer("7", &["ADMIN"]), Some(3), 3)).await;
    assert_eq!(counts().await, 1);
    let open = store.owed(everything(viewer("42", &[]), 3)).await;
    let open = open.expect("a page").entries;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].entry.position, Position(3));
}

async fn a_mark_settles_it_too(place: &dyn Place) {
    let store = after_a_crash(place).await;
    for mark in [1, 2] {
        let marks = vec![("42".into(), Position(mark))];
        decided(
            &*store,
            Verdicts {
                marks,
                ..Verdicts::default()
            },
        )
        .await;
    }
    let start = started(&*store, begin(viewer("42", &[]), None, 3)).await;
    assert_eq!((start.place, start.owes), (Position(2), false));
    let open = store.owed(everything(viewer("42", &[]), 3)).await;
    assert_eq!(open.expect("a page").entries.len(), 1);
}

async fn a_place_that_was_told_before_what_is_owed_was_sent_settles_nothing(place: &dyn Place) {
    let store = after_a_crash(place).await;
    // A first visit is told the head, and breaks off before anything else is sent: what is open may never have reached
    // them, however they come back.
    for cursor in [None, None, Some(3)] {
        let start = started(&*store, begin(viewer("42", &[]), cursor, 3)).await;
        assert!(start.owes);
    }
    let open = store.owed(everything(viewer("42", &[]), 3)).await;
    assert_eq!(open.expect("a page").entries.len(), 3);
}

async fn a_cursor_settles_nothing_that_was_simply_owed(place: &dyn Place) {
    let store = after_a_crash(place).await;
    stored(&*store, vec![to_user("42")]).await;
    decided(&*store, owed_at(4, "42")).await;
    let start = started(&*store, begin(viewer("42", &[]), Some(4), 4)).await;
    assert!(start.owes);
    let open = store.owed(everything(viewer("42", &[]), 4)).await;
    let open = open.expect("a page").entries;
    assert_eq!(open[0].entry.position, Position(4));
}

async fn streams_that_begin_together_are_answered_each_in_its_place_and_their_visits_are_kept(
    place: &dyn Place,
) {
    {
        let store = after_a_crash(place).await;
        let crew = |name: &str, cursor, head| begin(viewer(name, &["ADMIN"]), cursor, head);
        let starts = store
            .start(vec![
                // Twice the same first visit, one that settles what a crash had re-opened, and one that only looks.
                crew("9", None, 1),
                crew("9", None, 3),
                begin(viewer("42", &[]), Some(3), 3),
                crew("8", Some(2), 3),
            ])
            .await;
        let begun: Vec<(u64, bool)> = starts
            .into_iter()
            .map(|start| start.expect("a start"))
            .map(|start| (start.place.0, start.owes))
            .collect();
        assert_eq!(begun, [(1, false), (3, false), (3, false), (2, false)]);
        assert!(store.start(Vec::new()).await.is_empty());
        store.close().await;
    }
    let store = place.open().store;
    for (name, expected) in [("9", 1), ("42", 3), ("8", 2)] {
        let again = started(&*store, begin(viewer(name, &[]), None, 3)).await;
        assert_eq!(again.place, Position(expected), "{name}");
    }
}
