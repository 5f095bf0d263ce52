//! Every family that the hub exports, in the order of a notification's path: its name, its type, what it means.
//!
//! Names and labels are a promise to whoever has built a dashboard or an alert on them; the ones under `deploy/` are
//! held to this list by a test.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::exposition::{Exposition, Scaled, Type};
use super::{Answers, Crowded, Metrics, Refused, Shut};
use crate::clock::Timestamp;
use crate::fanout::Counters;
use crate::registry::Registry;
use crate::store::{Commits, Counts, OutboxCounts};
use crate::stream::End;

const NANOSECONDS: u64 = 1_000_000_000;
const MILLISECONDS: u64 = 1_000;

/// Everything that is told, as it is at one moment.
pub(crate) struct Snapshot<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) counters: &'a Counters,
    pub(crate) commits: &'a Commits,
    pub(crate) registry: &'a Registry,
    /// None if the store does not answer.
    pub(crate) stored: Option<Stored>,
    pub(crate) depth: u64,
    pub(crate) unwritten: usize,
    pub(crate) draining: bool,
    pub(crate) started: Timestamp,
    pub(crate) now: Timestamp,
}

/// What the store was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) counts: Counts,
    pub(crate) outbox: OutboxCounts,
    /// When the entry was accepted that has waited longest for the fan-out.
    pub(crate) oldest_queued: Option<Timestamp>,
}

/// The whole text.
pub(crate) fn render(snapshot: &Snapshot<'_>) -> String {
    let mut text = Exposition::default();
    process(&mut text, snapshot);
    requests(&mut text, snapshot.metrics);
    publishing(&mut text, snapshot);
    storing(&mut text, snapshot);
    queue(&mut text, snapshot);
    streams(&mut text, snapshot);
    owed(&mut text, snapshot);
    claims(&mut text, snapshot.metrics);
    webhooks(&mut text, snapshot);
    text.finish()
}

fn process(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    text.family(
        "campanile_build_info",
        Type::Gauge,
        "Always 1; the version that runs is its label.",
    )
    .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    gauge(
        text,
        "campanile_process_start_time_seconds",
        "When the hub started, in seconds since 1970.",
        Scaled(snapshot.started.as_millis(), MILLISECONDS),
    );
    let store = snapshot.stored.is_some();
    gauge(
        text,
        "campanile_ready",
        "1 if traffic should come here: the store answers and the hub is not stopping.",
        u8::from(store && !snapshot.draining),
    );
    gauge(
        text,
        "campanile_store_ready",
        "1 if the store answers, for reading and for writing.",
        u8::from(store),
    );
}

fn requests(text: &mut Exposition, metrics: &Metrics) {
    let mut crowded = text.family(
        "campanile_connections_refused_total",
        Type::Counter,
        "Connections that were refused or closed before a request was read, by reason.",
    );
    for (reason, label) in Crowded::ALL {
        let refused = &metrics.crowded[reason as usize];
        crowded.sample(&[("reason", &label)], refused.get());
    }
    let mut requests = text.family(
        "campanile_http_requests_total",
        Type::Counter,
        "Requests answered, by the route's pattern and the class of the status; a stream when it is opened.",
    );
    for (route, answers) in metrics.routes().iter() {
        for (class, answered) in Answers::CLASSES.iter().zip(&answers.0) {
            requests.sample(&[("route", route), ("status", class)], answered.get());
        }
    }
}

fn publishing(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    let (metrics, commits) = (snapshot.metrics, snapshot.commits);
    let mut publishes = text.family(
        "campanile_publishes_total",
        Type::Counter,
        "Accepted from publishers, by kind; one that is scheduled when it is released.",
    );
    publishes.sample(&[("kind", &"notification")], commits.notifications());
    publishes.sample(&[("kind", &"broadcast")], commits.broadcasts());
    publishes.sample(&[("kind", &"ephemeral")], metrics.ephemeral.get());
    let mut refused = text.family(
        "campanile_publishes_refused_total",
        Type::Counter,
        "Drafts that could be read and were not accepted, by reason. Nothing of them was stored.",
    );
    for (reason, label) in Refused::ALL {
        refused.sample(
            &[("reason", &label)],
            metrics.refused[reason as usize].get(),
        );
    }
    counter(
        text,
        "campanile_duplicates_total",
        "Drafts that had been published before under the same key, and were answered as then.",
        metrics.duplicates.get(),
    );
    counter(
        text,
        "campanile_throttled_total",
        "Drafts that came within the window of the one before, and were passed over.",
        metrics.throttled.get(),
    );
    known(
        text,
        "campanile_scheduled",
        "Notifications that are held back until their time.",
        snapshot.stored.map(|stored| stored.counts.scheduled),
    );
    counter(
        text,
        "campanile_released_total",
        "Notifications that were held back and then released.",
        metrics.released.get(),
    );
    counter(
        text,
        "campanile_reminders_published_total",
        "Notifications that reminded of something overdue.",
        metrics.reminded.get(),
    );
    counter(
        text,
        "campanile_cancelled_total",
        "Notifications that were cancelled before anybody had them.",
        metrics.cancelled.get(),
    );
}

fn storing(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    let commits = snapshot.commits;
    text.histogram(
        "campanile_commit_duration_seconds",
        commits.durations(),
        NANOSECONDS,
        "How long commits that changed anything took, fsync included.",
    );
    text.histogram(
        "campanile_commit_notifications",
        commits.sizes(),
        1,
        "How many notifications and broadcasts shared a commit; none in one that only wrote verdicts or marks.",
    );
    counter(
        text,
        "campanile_commits_failed_total",
        "Commits that the disk or the database refused. Their publishers were told 503.",
        commits.failed(),
    );
    let mut entries = text.family(
        "campanile_log_entries",
        Type::Gauge,
        "What the log keeps, by kind.",
    );
    if let Some(Stored { counts, .. }) = snapshot.stored {
        entries.sample(&[("kind", &"notification")], counts.notifications);
        entries.sample(&[("kind", &"broadcast")], counts.broadcasts);
    }
    counter(
        text,
        "campanile_pruned_rows_total",
        "Entries and read marks deleted because they were old.",
        snapshot.metrics.pruned.get(),
    );
}

fn queue(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    gauge(
        text,
        "campanile_queue_depth",
        "Entries committed and not yet through the fan-out.",
        snapshot.depth,
    );
    let oldest = |moment: Option<Timestamp>| age(moment, snapshot.now);
    known(
        text,
        "campanile_queue_oldest_age_seconds",
        "How long ago the oldest of them was accepted; 0 if there is none.",
        snapshot.stored.map(|stored| oldest(stored.oldest_queued)),
    );
    gauge(
        text,
        "campanile_verdicts_unwritten",
        "Verdicts on recipients that wait for a commit.",
        snapshot.unwritten,
    );
}

fn streams(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    let (counters, registry) = (snapshot.counters, snapshot.registry);
    counter(
        text,
        "campanile_deliveries_total",
        "Events of notifications handed to streams, live or read from the log.",
        counters.delivered.load(Ordering::Relaxed),
    );
    gauge(
        text,
        "campanile_streams_open",
        "Open streams.",
        registry.total(),
    );
    gauge(
        text,
        "campanile_streams_behind",
        "Open streams that have not been written everything yet, each as its last heartbeat found it.",
        counters.behind.load(Ordering::Relaxed),
    );
    gauge(
        text,
        "campanile_users_connected",
        "Users who hold at least one stream.",
        registry.users(),
    );
    counter(
        text,
        "campanile_streams_opened_total",
        "Streams opened.",
        counters.opened.get(),
    );
    let mut ended = text.family(
        "campanile_streams_ended_total",
        Type::Counter,
        "Streams ended, by reason: the word that said bye; the client's leaving; what the hub cut.",
    );
    for (end, label) in End::ALL {
        ended.sample(&[("reason", &label)], counters.ended(end));
    }
    let mut refused = text.family(
        "campanile_streams_refused_total",
        Type::Counter,
        "Streams asked for and not opened, by reason. All of them pass.",
    );
    for (reason, label) in Shut::ALL {
        let refusals = &snapshot.metrics.shut[reason as usize];
        refused.sample(&[("reason", &label)], refusals.get());
    }
}

fn owed(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    let counts = snapshot.stored.map(|stored| stored.counts);
    known(
        text,
        "campanile_owed_recipients",
        "Recipients who have not taken a notification, and are asked after again.",
        counts.map(|counts| counts.owed),
    );
    known(
        text,
        "campanile_owed_oldest_age_seconds",
        "How long ago the oldest notification that is still owed was accepted; 0 if none is.",
        counts.map(|counts| age(counts.oldest_owed, snapshot.now)),
    );
    known(
        text,
        "campanile_failed_recipients",
        "Recipients who did not take a notification; it is theirs when they come back.",
        counts.map(|counts| counts.failed),
    );
    counter(
        text,
        "campanile_retries_total",
        "Times that a recipient was asked after again.",
        snapshot.metrics.retries.get(),
    );
    counter(
        text,
        "campanile_recipients_failed_total",
        "Recipients given up after the last time.",
        snapshot.metrics.failed.get(),
    );
}

fn claims(text: &mut Exposition, metrics: &Metrics) {
    counter(
        text,
        "campanile_claim_conflicts_total",
        "Claims on work that somebody else had taken first.",
        metrics.claim_conflicts.get(),
    );
    counter(
        text,
        "campanile_leases_reclaimed_total",
        "Claims that had lapsed and were taken back.",
        metrics.leases_reclaimed.get(),
    );
}

fn webhooks(text: &mut Exposition, snapshot: &Snapshot<'_>) {
    let metrics = snapshot.metrics;
    let mut attempts = text.family(
        "campanile_webhook_attempts_total",
        Type::Counter,
        "Webhooks sent, each try counted, by outcome: sent if the answer was 2xx.",
    );
    attempts.sample(&[("outcome", &"sent")], metrics.webhooks_delivered.get());
    attempts.sample(&[("outcome", &"failed")], metrics.webhooks_refused.get());
    counter(
        text,
        "campanile_webhooks_failed_total",
        "Webhooks given up after the last try.",
        metrics.webhooks_failed.get(),
    );
    let outbox = snapshot.stored.map(|stored| stored.outbox);
    known(
        text,
        "campanile_webhooks_waiting",
        "Webhooks that wait to be sent, or to be tried again.",
        outbox.map(|outbox| outbox.waiting),
    );
    let mut endpoints = text.family(
        "campanile_webhook_endpoints",
        Type::Gauge,
        "Webhook endpoints, by whether they get anything.",
    );
    if let Some(outbox) = outbox {
        endpoints.sample(&[("state", &"enabled")], outbox.enabled);
        endpoints.sample(&[("state", &"disabled")], outbox.disabled);
    }
}

fn age(moment: Option<Timestamp>, now: Timestamp) -> Scaled {
    let age = moment.map_or(Duration::ZERO, |moment| now.since(moment));
    Scaled(
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        MILLISECONDS,
    )
}

fn counter(text: &mut Exposition, name: &'static str, help: &str, value: u64) {
    text.family(name, Type::Counter, help).value(value);
}

fn gauge(text: &mut Exposition, name: &'static str, help: &str, value: impl Display) {
    text.family(name, Type::Gauge, help).value(value);
}

/// A gauge that has no sample while its value is not known.
fn known(text: &mut Exposition, name: &'static str, help: &str, value: Option<impl Display>) {
    let family = text.family(name, Type::Gauge, help);
    if let Some(value) = value {
        family.value(value);
    }
}
