//! What the store says about itself, and claims that are taken back by hand.

use std::time::Duration;

use campanile::audience::Recipient;
use campanile::clock::Timestamp;
use campanile::diagnosis::{
    Addressee, Check, Counts, Diagnosis, DiagnosisQuery, Facts, LEASE, Severity,
};
use campanile::log::Position;
use campanile::waiting::{OwedState, Unlock, Unlocked, WaitingQuery};

use super::*;

on_every_store!(
    a_store_without_a_care_is_fine_however_deep_one_looks,
    what_was_claimed_half_an_hour_ago_is_an_alert_until_it_is_released,
    a_dry_run_changes_nothing,
    what_has_no_attempt_left_is_released_by_force_alone_and_begins_anew,
    a_claim_that_is_young_is_left_to_whoever_has_it,
    eleven_that_fail_within_a_day_are_an_alert_and_ten_are_not,
    what_says_the_same_to_the_same_within_a_minute_is_likely_a_double,
    what_waits_is_listed_page_by_page,
    an_entry_that_has_no_verdict_yet_is_in_the_queue,
    what_should_have_been_released_a_minute_ago_is_an_alert,
);

const MAX_ATTEMPTS: usize = 3;

fn schedule(attempts: usize) -> RetrySchedule {
    RetrySchedule {
        delays: vec![Duration::ZERO; attempts].into(),
    }
}

fn later() -> Timestamp {
    Timestamp::now().saturating_add(A_MINUTE)
}

fn minutes_later(minutes: u64) -> Timestamp {
    later().saturating_add(Duration::from_mins(minutes))
}

/// So many users, each owed one notification that says something else.
async fn owing(store: &dyn Store, users: usize) {
    let body = |user| format!(r#"{{"message":"to {user}"}}"#).into();
    let notifications = (0..users).map(|user| Notification {
        body: body(user),
        ..to_user(&format!("u{user}"))
    });
    let last = stored(store, notifications.collect()).await;
    let owed = (0..users).map(|user| {
        let recipient = Recipient::User(format!("u{user}").into());
        let before = (users - 1 - user) as u64;
        (Position(last.0 - before), recipient, Missed::NoStream)
    });
    let verdicts = Verdicts {
        settled: last,
        owed: owed.collect(),
        ..Verdicts::default()
    };
    decided(store, verdicts).await;
}

async fn facts(store: &dyn Store, now: Timestamp) -> Facts {
    let query = DiagnosisQuery {
        now,
        lease: LEASE,
        deep: None,
    };
    store.diagnose(query).await.expect("a diagnosis")
}

/// How much one of the checks matters; all others must be fine.
#[track_caller]
fn severity(facts: Facts, check: Check) -> Severity {
    let diagnosis = Diagnosis::of(facts, true);
    let mut severity = Severity::Fine;
    for finding in &diagnosis.findings {
        if finding.check == check {
            severity = finding.severity;
        } else {
            assert_eq!(finding.severity, Severity::Fine, "{finding:?}");
        }
    }
    assert_eq!(diagnosis.severity, severity);
    severity
}

async fn unlock(store: &dyn Store, now: Timestamp, force: bool, execute: bool) -> Unlocked {
    let unlock = Unlock {
        now,
        older_than: LEASE,
        max_attempts: MAX_ATTEMPTS,
        force,
        execute,
    };
    store.unlock(unlock).await.expect("an answer")
}

async fn a_store_without_a_care_is_fine_however_deep_one_looks(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 3).await;
    let asked = ask(&*store, later(), schedule(1), 1).await;
    assert_eq!(asked.failed, 1);
    let query = DiagnosisQuery {
        now: later(),
        lease: LEASE,
        deep: Some(A_MINUTE),
    };
    let facts = store.diagnose(query).await.expect("a diagnosis");
    let deep = facts.deep.clone().expect("it was a deep look");
    assert!(deep.finished && deep.damage.is_empty(), "{deep:?}");
    let counts = Counts {
        pending: 2,
        failed: 1,
        notifications: 3,
        oldest_owed_at: facts.counts.oldest_owed_at,
        ..Counts::default()
    };
    assert_eq!(facts.counts, counts);
    assert!(counts.oldest_owed_at.is_some());
    let diagnosis = Diagnosis::of(facts, true);
    assert_eq!(diagnosis.severity, Severity::Fine, "{diagnosis:?}");
}

async fn what_was_claimed_half_an_hour_ago_is_an_alert_until_it_is_released(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 3).await;
    let since = later();
    let claims = store.claim(since, 2).await.expect("claimed");
    let after = |minutes| since.saturating_add(Duration::from_mins(minutes));
    for (minutes, expected) in [
        (9, Severity::Fine),
        (11, Severity::Advice),
        (30, Severity::Advice),
        (31, Severity::Alert),
    ] {
        let facts = facts(&*store, after(minutes)).await;
        assert_eq!(
            severity(facts, Check::Stuck),
            expected,
            "{minutes} min later"
        );
    }
    let stuck = facts(&*store, after(31)).await.stuck;
    assert_eq!((stuck.count, stuck.first.len()), (2, 2));
    let first = &stuck.first[0];
    assert_eq!((first.since, first.attempts), (since, 1));
    assert!(
        claims
            .iter()
            .any(|claim| claim.notification == first.notification_id
                && Addressee::from(claim.recipient.clone()) == first.recipient)
    );

    let released = unlock(&*store, after(31), false, true).await;
    assert_eq!((released.executed, released.released), (true, 2));
    let facts = facts(&*store, after(31)).await;
    assert_eq!((facts.counts.pending, facts.counts.processing), (3, 0));
    assert_eq!(severity(facts, Check::Stuck), Severity::Fine);
    // They are due, and the word of whoever had them does not count any more.
    let stale = store
        .settle(after(31), claims, schedule(MAX_ATTEMPTS))
        .await;
    assert_eq!(stale.expect("settled").conflicts, 2);
    let again = store.claim(after(31), 10).await.expect("claimed");
    assert_eq!(again.iter().filter(|claim| claim.attempt == 2).count(), 2);
}

async fn a_dry_run_changes_nothing(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 2).await;
    let claims = store.claim(later(), 1).await.expect("claimed");
    let now = minutes_later(31);
    let before = facts(&*store, now).await;
    let would = unlock(&*store, now, true, false).await;
    assert_eq!((would.executed, would.released, would.kept), (false, 1, 0));
    assert_eq!(
        would.claims[0].notification_id, claims[0].notification,
        "{would:?}"
    );
    assert_eq!(facts(&*store, now).await, before);
    let settled = store.settle(now, claims, schedule(MAX_ATTEMPTS)).await;
    assert_eq!(settled.expect("settled").still_owed, 1);
}

async fn what_has_no_attempt_left_is_released_by_force_alone_and_begins_anew(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 1).await;
    for _ in 1..MAX_ATTEMPTS {
        let asked = ask(&*store, later(), schedule(MAX_ATTEMPTS), 1).await;
        assert_eq!(asked.still_owed, 1);
    }
    let last = store.claim(later(), 1).await.expect("claimed");
    assert_eq!(last[0].attempt as usize, MAX_ATTEMPTS);
    let now = minutes_later(11);
    let kept = unlock(&*store, now, false, true).await;
    assert_eq!((kept.released, kept.kept), (0, 1));
    assert!(!kept.claims[0].released);
    assert!(store.claim(now, 1).await.expect("claimed").is_empty());

    let forced = unlock(&*store, now, true, true).await;
    assert_eq!((forced.released, forced.kept), (1, 0));
    let again = store.claim(now, 1).await.expect("claimed");
    assert_eq!((again.len(), again[0].attempt), (1, 1));
}

async fn a_claim_that_is_young_is_left_to_whoever_has_it(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 1).await;
    let claims = store.claim(later(), 1).await.expect("claimed");
    let found = unlock(&*store, minutes_later(5), true, true).await;
    assert_eq!((found.released, found.kept, found.claims.len()), (0, 0, 0));
    let settled = store.settle(later(), claims, schedule(MAX_ATTEMPTS)).await;
    assert_eq!(settled.expect("settled").still_owed, 1);
}

async fn eleven_that_fail_within_a_day_are_an_alert_and_ten_are_not(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 11).await;
    assert_eq!(ask(&*store, later(), schedule(1), 10).await.failed, 10);
    let ten = facts(&*store, later()).await;
    assert_eq!(ten.failed.count, 10);
    assert_eq!(severity(ten, Check::Failed), Severity::Fine);
    assert_eq!(ask(&*store, later(), schedule(1), 10).await.failed, 1);
    let eleven = facts(&*store, later()).await;
    assert_eq!((eleven.failed.count, eleven.failed.first.len()), (11, 11));
    let reason = eleven.failed.first[0].reason.as_deref();
    assert_eq!(reason, Some("no stream was open"));
    assert_eq!(severity(eleven, Check::Failed), Severity::Alert);
    let tomorrow = facts(&*store, minutes_later(25 * 60)).await;
    assert_eq!((tomorrow.failed.count, tomorrow.counts.failed), (0, 11));
    assert_eq!(severity(tomorrow, Check::Failed), Severity::Fine);
}

async fn what_says_the_same_to_the_same_within_a_minute_is_likely_a_double(place: &dyn Place) {
    let store = place.open().store;
    let now = Timestamp::now();
    let at = |seconds, user: &str| Notification {
        created_at: now.saturating_add(Duration::from_secs(seconds)),
        ..to_user(user)
    };
    stored(&*store, vec![at(0, "42"), at(0, "7"), at(61, "42")]).await;
    settled(&*store, 3).await;
    let apart = facts(&*store, later()).await;
    assert_eq!((apart.doubles.count, apart.compared), (0, 3));
    assert_eq!(severity(apart, Check::Doubles), Severity::Fine);

    let twice = at(70, "42");
    stored(&*store, vec![twice.clone()]).await;
    settled(&*store, 4).await;
    let found = facts(&*store, later()).await;
    assert_eq!((found.doubles.count, found.compared), (1, 4));
    let double = &found.doubles.first[0];
    assert_eq!((double.times, &*double.publisher), (2, "key:tests"));
    assert_eq!(double.last_at, twice.created_at);
    assert_eq!(severity(found, Check::Doubles), Severity::Advice);
}

async fn what_waits_is_listed_page_by_page(place: &dyn Place) {
    let store = place.open().store;
    owing(&*store, 5).await;
    store.claim(later(), 1).await.expect("claimed");
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let query = WaitingQuery { after, limit: 2 };
        let page = store.waiting(query).await.expect("a page");
        let counts = (page.counts.pending, page.counts.processing);
        assert_eq!(counts, (4, 1));
        assert!(page.oldest_claim.is_some() && page.oldest_failed.is_none());
        pages.push(page.owed);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let owed: Vec<_> = pages.into_iter().flatten().collect();
    for (user, owed) in owed.iter().enumerate() {
        let recipient = Addressee::User(format!("u{user}").into());
        assert_eq!(owed.recipient, recipient);
        let claimed = owed.state == OwedState::Processing;
        assert_eq!(
            (owed.owner.is_some(), owed.next_at.is_none()),
            (claimed, claimed)
        );
    }
}

async fn an_entry_that_has_no_verdict_yet_is_in_the_queue(place: &dyn Place) {
    let store = place.open().store;
    stored(&*store, vec![to_user("42"), to_user("7")]).await;
    settled(&*store, 1).await;
    let young = facts(&*store, Timestamp::now()).await;
    assert_eq!(
        (young.queue.depth(), young.queue.oldest_at.is_some()),
        (1, true)
    );
    assert_eq!(severity(young, Check::Queue), Severity::Fine);
    let old = facts(&*store, minutes_later(5)).await;
    assert_eq!(severity(old, Check::Queue), Severity::Advice);
    settled(&*store, 2).await;
    let through = facts(&*store, minutes_later(5)).await;
    assert_eq!((through.queue.depth(), through.queue.oldest_at), (0, None));
    assert_eq!(severity(through, Check::Queue), Severity::Fine);
}

async fn what_should_have_been_released_a_minute_ago_is_an_alert(place: &dyn Place) {
    let store = place.open().store;
    let due = later();
    let held_back = Notification {
        deliver_at: Some(due),
        ..to_user("42")
    };
    store.append(vec![held_back]).await.expect("it is stored");
    let at = |seconds| due.saturating_add(Duration::from_secs(seconds));
    let in_time = facts(&*store, at(59)).await;
    assert_eq!((in_time.counts.scheduled, in_time.overdue.count), (1, 0));
    assert_eq!(severity(in_time, Check::Schedule), Severity::Fine);
    let late = facts(&*store, at(61)).await;
    assert_eq!((late.overdue.count, late.overdue.since), (1, Some(due)));
    assert_eq!(severity(late, Check::Schedule), Severity::Alert);
    assert_eq!(store.release(at(62), 10).await.expect("released").count, 1);
    let released = facts(&*store, at(63)).await;
    assert_eq!(released.counts.scheduled, 0);
    assert_eq!(severity(released, Check::Schedule), Severity::Fine);
}
