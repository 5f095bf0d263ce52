//! Inboxes: who has how much unread, what a mark does, and that marks do not pile up.

use std::time::Duration;

use campanile::audience::{Audience, Recipient};
use campanile::clock::Timestamp;
use campanile::inbox::Unread;
use campanile::log::Position;
use campanile::notification::Notification;
use campanile::store::{Asked, Marked, Nobody};
use futures::StreamExt;

use super::*;

on_every_store!(
    an_inbox_begins_with_the_first_stream_but_for_what_is_by_name,
    a_stream_begins_with_what_is_unread,
    a_mark_counts_once_and_a_raised_watermark_covers_it,
    nothing_past_the_head_is_marked,
    whoever_was_asked_again_and_has_read_it_has_it,
    what_has_expired_is_not_unread,
    single_marks_are_bounded_and_the_oldest_give_way_to_the_watermark,
    read_marks_are_pruned_with_their_entry_within_the_step,
);

async fn unread(store: &dyn Store, viewer: Viewer) -> Unread {
    let unread = store.unread(viewer, Timestamp::now()).await;
    unread.expect("a count")
}

const fn exactly(unread: usize) -> Unread {
    Unread::counted(unread)
}

async fn read(store: &dyn Store, viewer: Viewer, read: &Notification) -> Marked {
    let marked = store.mark_read(viewer, read.id, Timestamp::now()).await;
    marked.expect("an answer")
}

async fn read_all(store: &dyn Store, user: &str, upto: Option<u64>) -> Marked {
    let upto = upto.map(Position);
    let marked = store.mark_all_read(user.into(), upto, Timestamp::now());
    marked.await.expect("an answer")
}

async fn an_inbox_begins_with_the_first_stream_but_for_what_is_by_name(place: &dyn Place) {
    let store = place.open().store;
    let all = || {
        vec![
            notification(to(&["42"], &["ADMIN"])),
            notification(to(&["7"], &["ADMIN"])),
            notification(Audience::everyone()),
            broadcast(),
        ]
    };
    stored(&*store, all()).await;
    let me = || viewer("42", &["ADMIN"]);
    assert_eq!(unread(&*store, me()).await, exactly(1));
    // The first stream with a cursor counts from the head all the same, but goes on from its cursor.
    let start = store
        .start_one(begin(me(), Some(1), 4))
        .await
        .expect("a start");
    assert_eq!((start.place, start.unread), (Position(1), exactly(1)));
    stored(&*store, all()).await;
    assert_eq!(unread(&*store, me()).await, exactly(4));
    store.close().await;

    let store = place.open().store;
    let again = store
        .start_one(begin(me(), None, 8))
        .await
        .expect("a start");
    assert_eq!((again.place, again.unread), (Position(1), exactly(4)));
}

async fn a_stream_begins_with_what_is_unread(place: &dyn Place) {
    let store = place.open().store;
    let mine: Vec<Notification> = (0..3).map(|_| to_user("42")).collect();
    stored(&*store, mine.clone()).await;
    let me = || viewer("42", &[]);
    assert_eq!(read(&*store, me(), &mine[1]).await, Marked::Changed);
    for cursor in [None, Some(0), Some(3)] {
        let start = store
            .start_one(begin(me(), cursor, 3))
            .await
            .expect("a start");
        assert_eq!(start.unread, exactly(2), "{cursor:?}");
    }
}

async fn a_mark_counts_once_and_a_raised_watermark_covers_it(place: &dyn Place) {
    let store = place.open().store;
    let mine: Vec<Notification> = (0..6).map(|_| to_user("42")).collect();
    stored(&*store, mine.clone()).await;
    let me = || viewer("42", &[]);
    for i in [4, 1] {
        assert_eq!(read(&*store, me(), &mine[i]).await, Marked::Changed);
        assert_eq!(read(&*store, me(), &mine[i]).await, Marked::Unchanged);
    }
    assert_eq!(unread(&*store, me()).await, exactly(4));
    assert_eq!(read_all(&*store, "42", Some(3)).await, Marked::Changed);
    assert_eq!(unread(&*store, me()).await, exactly(2));
    assert_eq!(read_all(&*store, "42", Some(2)).await, Marked::Unchanged);
    assert_eq!(read(&*store, me(), &mine[0]).await, Marked::Unchanged);
    assert_eq!(unread(&*store, me()).await, exactly(2));
    assert_eq!(read_all(&*store, "42", None).await, Marked::Changed);
    assert_eq!(unread(&*store, me()).await, exactly(0));
    // Nobody else has read anything.
    assert_eq!(
        read(&*store, viewer("7", &["42"]), &mine[0]).await,
        Marked::Unknown
    );
}

async fn nothing_past_the_head_is_marked(place: &dyn Place) {
    let store = place.open().store;
    assert_eq!(read_all(&*store, "42", Some(1)).await, Marked::Unknown);
    assert_eq!(read_all(&*store, "42", None).await, Marked::Unchanged);
    stored(&*store, vec![to_user("42")]).await;
    assert_eq!(read_all(&*store, "42", Some(2)).await, Marked::Unknown);
    assert_eq!(unread(&*store, viewer("42", &[])).await, exactly(1));
}

async fn whoever_was_asked_again_and_has_read_it_has_it(place: &dyn Place) {
    let store = place.open().store;
    let told = notification(to(&["42", "7", "9"], &["42"]));
    stored(&*store, vec![told.clone()]).await;
    // Read before anybody found out that it is owed: one by itself, one by a watermark.
    assert_eq!(
        read(&*store, viewer("42", &[]), &told).await,
        Marked::Changed
    );
    assert_eq!(read_all(&*store, "7", None).await, Marked::Changed);
    let recipients = ["42", "7", "9"].map(|name| Recipient::User(name.into()));
    let role = Recipient::Role("42".into());
    let owed = recipients.into_iter().chain([role]);
    let verdicts = Verdicts {
        settled: Position(1),
        owed: owed
            .map(|recipient| (Position(1), recipient, Missed::NoStream))
            .collect(),
        ..Verdicts::default()
    };
    decided(&*store, verdicts).await;
    let later = Timestamp::now().saturating_add(A_MINUTE);
    let mut asked = ask(&*store, later, RetrySchedule { delays: [].into() }, 10).await;
    asked
        .nobody_took
        .sort_by_key(|nobody| nobody.recipient.to_string());
    let nobody = |recipient| Nobody {
        notification: told.id,
        recipient,
    };
    let expected = Asked {
        read: 2,
        failed: 2,
        nobody_took: vec![
            nobody(Recipient::Role("42".into())),
            nobody(Recipient::User("9".into())),
        ],
        ..Asked::default()
    };
    assert_eq!(asked, expected);
    // Whoever reads it after it has failed has it as well.
    assert_eq!(
        read(&*store, viewer("9", &[]), &told).await,
        Marked::Changed
    );
    let counts = store.counts().await.expect("counts");
    assert_eq!((counts.owed, counts.failed), (0, 1));
}

async fn what_has_expired_is_not_unread(place: &dyn Place) {
    let store = place.open().store;
    let end = Timestamp::now().saturating_add(A_MINUTE);
    let brief = || Notification {
        expires_at: Some(end),
        ..to_user("42")
    };
    stored(&*store, vec![brief(), to_user("42"), brief()]).await;
    assert_eq!(unread(&*store, viewer("42", &[])).await, exactly(3));
    let later = store.unread(viewer("42", &[]), end).await;
    assert_eq!(later.expect("a count"), exactly(1));
}

async fn single_marks_are_bounded_and_the_oldest_give_way_to_the_watermark(place: &dyn Place) {
    const BOUND: usize = 5_000;
    let store = place.open().store;
    let mine: Vec<Notification> = (0..BOUND + 4).map(|_| to_user("42")).collect();
    for some in mine.chunks(1_000) {
        stored(&*store, some.to_vec()).await;
    }
    // The first stays unread while all the others are read one by one; the last but one makes one too many.
    let me = || viewer("42", &[]);
    let marks = mine[1..=BOUND].iter().map(|one| read(&*store, me(), one));
    let marks: Vec<Marked> = futures::stream::iter(marks)
        .buffer_unordered(200)
        .collect()
        .await;
    assert!(marks.iter().all(|marked| *marked == Marked::Changed));
    assert_eq!(unread(&*store, me()).await, exactly(4));
    assert_eq!(read(&*store, me(), &mine[BOUND + 1]).await, Marked::Changed);
    assert_eq!(unread(&*store, me()).await, exactly(2));
    assert_eq!(read(&*store, me(), &mine[1]).await, Marked::Unchanged);
    // The watermark lies past more single marks than one step deletes.
    assert_eq!(read_all(&*store, "42", None).await, Marked::Changed);
    assert_eq!(unread(&*store, me()).await, exactly(0));
}

async fn read_marks_are_pruned_with_their_entry_within_the_step(place: &dyn Place) {
    let store = place.open().store;
    let users: Vec<String> = (0..10).map(|i| format!("user-{i}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let told = notification(to(&names, &[]));
    stored(&*store, vec![told.clone(), to_user("42")]).await;
    for name in &names {
        assert_eq!(
            read(&*store, viewer(name, &[]), &told).await,
            Marked::Changed
        );
    }
    settled(&*store, 2).await;
    let later = Timestamp::now().saturating_add(A_MINUTE);
    // Ten marks and two entries, four at a time, and then there is nothing left.
    for expected in [4, 4, 4, 0] {
        let pruned = store.prune(later, keeping(Duration::ZERO), 4).await;
        let pruned = pruned.expect("pruned");
        assert_eq!(pruned.gone.total() + pruned.read_marks, expected);
    }
    assert_eq!(unread(&*store, viewer("42", &[])).await, exactly(0));
}
