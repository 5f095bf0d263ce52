//! Asks again after those who did not take a notification.
//!
//! A recipient that no stream took it for is owed. After each wait of the schedule the store counts an attempt and, after
//! the last, says that it failed. Asking never sends: the streams' own cursors do, and whoever sent it said so to the
//! store, in whose rows alone the question is answered. So a retry cannot double anything, and it holds up nothing: it is
//! a task of its own beside the queue. Whoever asks claims the rows first, under a lease, as all timed work does.
//!
//! Nothing is asked in the first while after a start, or while draining, because clients are on their way back then.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::diagnosis::LEASE;
use crate::events;
use crate::metrics::Metrics;
use crate::store::{Asked, Claim, Nobody, Reclaimed, RetrySchedule, Store, StoreError};

/// How many recipients one claim takes.
const CLAIM: usize = 10;
/// How many claims share a commit: a thousand recipients are asked after in some ten commits.
const CLAIMS_AT_A_TIME: usize = 32;
/// How often lapsed leases are looked for.
const RECLAIM_EVERY: Duration = Duration::from_mins(1);
/// How many of those who have failed in one round the log names; the others it only counts.
const MAX_NAMED: usize = 100;
/// How long to wait after the store could not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Retry {
    pub(crate) store: Arc<dyn Store>,
    /// The wait before each attempt.
    pub(crate) delays: Arc<[Duration]>,
    /// How long after the start nothing is asked.
    pub(crate) start_grace: Duration,
    /// Told when somebody is owed something new.
    pub(crate) owing: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    /// What it has claimed and the store could not settle: it is settled before anything else is claimed, and not left to
    /// its lease.
    pub(crate) claimed: Vec<Vec<Claim>>,
}

impl Retry {
    /// Runs until the hub drains.
    pub(crate) async fn run(mut self, draining: CancellationToken) {
        let grace_ends = Instant::now() + self.start_grace;
        // Those owed by an earlier run are due as soon as asking begins.
        let mut ask_at = Some(grace_ends);
        // Not before that: a claim that an earlier run left may have no attempt left, and failing is for those who have had
        // the time to come back.
        let mut reclaim = interval_at(grace_ends, RECLAIM_EVERY);
        reclaim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = self.owing.notified() => {
                    let first = self.delays.first().copied().unwrap_or_default();
                    let due = (Instant::now() + first).max(grace_ends);
                    ask_at = Some(ask_at.map_or(due, |at| at.min(due)));
                }
                () = sleep_until(ask_at.unwrap_or(grace_ends)), if ask_at.is_some() => {
                    ask_at = self.ask(&draining).await;
                }
                _ = reclaim.tick() => {
                    if self.reclaim().await {
                        let now = Instant::now().max(grace_ends);
                        ask_at = Some(ask_at.map_or(now, |at| at.min(now)));
                    }
                }
            }
        }
    }

    /// Asks after everybody who is due; when the next one is.
    async fn ask(&mut self, draining: &CancellationToken) -> Option<Instant> {
        while !draining.is_cancelled() {
            let now = Timestamp::now();
            match self.round(now).await {
                Ok(due) => {
                    let due = due?;
                    if due > now {
                        return Some(Instant::now() + due.since(now));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "owed notifications could not be asked after; trying again");
                    return Some(Instant::now() + STORE_PAUSE);
                }
            }
        }
        None
    }

    /// Claims, and settles what was claimed; when the next one is due.
    async fn round(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut failure = None;
        if self.claimed.is_empty() {
            let claims = (0..CLAIMS_AT_A_TIME).map(|_| self.store.claim(now, CLAIM));
            for claims in join_all(claims).await {
                match claims {
                    Ok(claims) if claims.is_empty() => {}
                    Ok(claims) => self.claimed.push(claims),
                    Err(error) => failure = Some(error),
                }
            }
        }
        let mut claimed = std::mem::take(&mut self.claimed);
        if claimed.is_empty() {
            // Nobody is due; it still says who is next.
            claimed.push(Vec::new());
        }
        let settling = claimed
            .iter()
            .map(|claims| self.store.settle(now, claims.clone(), self.schedule()));
        let outcomes = join_all(settling).await;
        let mut settled = Vec::with_capacity(claimed.len());
        for (claims, outcome) in claimed.into_iter().zip(outcomes) {
            match outcome {
                Ok(asked) => settled.push(asked),
                Err(error) => {
                    failure = Some(error);
                    if !claims.is_empty() {
                        self.claimed.push(claims);
                    }
                }
            }
        }
        settled.iter().for_each(|asked| self.note(asked));
        name(&settled);
        match failure {
            Some(error) => Err(error),
            None => Ok(settled.last().and_then(|asked| asked.next_due)),
        }
    }

    /// Takes back what somebody claimed and never settled; whether there is something to ask after.
    async fn reclaim(&self) -> bool {
        let reclaimed = self
            .store
            .reclaim(Timestamp::now(), LEASE, self.schedule())
            .await;
        match reclaimed {
            Ok(Reclaimed { back: 0, failed: 0 }) => false,
            Ok(Reclaimed { back, failed }) => {
                self.metrics.leases_reclaimed(back + failed);
                tracing::warn!(
                    event = events::LEASES_RECLAIMED,
                    count = back + failed,
                    failed,
                    "claims that nobody settled were taken back"
                );
                back > 0
            }
            Err(error) => {
                tracing::warn!(%error, "lapsed claims could not be looked for; trying again later");
                false
            }
        }
    }

    fn schedule(&self) -> RetrySchedule {
        RetrySchedule {
            delays: Arc::clone(&self.delays),
        }
    }

    /// Counts what came of it, and says in the log what is worth somebody's while.
    fn note(&self, asked: &Asked) {
        self.metrics
            .asked(asked.still_owed + asked.failed, asked.failed);
        self.metrics.claim_conflicts(asked.conflicts);
        if asked.aborted > 0 {
            tracing::debug!(
                event = events::ABORTED_STATUS_CHANGED,
                count = asked.aborted,
                "owed no more when it came to the act"
            );
        }
        if asked.conflicts > 0 {
            tracing::warn!(
                event = events::CLAIM_CONFLICT,
                count = asked.conflicts,
                "claimed by another meanwhile"
            );
        }
    }
}

/// Says who was asked after in vain for the last time.
fn name(settled: &[Asked]) {
    let failed: Vec<&Nobody> = settled
        .iter()
        .flat_map(|asked| &asked.nobody_took)
        .collect();
    for nobody in failed.iter().take(MAX_NAMED) {
        tracing::info!(
            event = events::RECIPIENT_FAILED,
            notification = %nobody.notification,
            recipient = %nobody.recipient,
            "nobody took a notification"
        );
    }
    let others = failed.len().saturating_sub(MAX_NAMED);
    if others > 0 {
        tracing::info!(
            event = events::RECIPIENTS_FAILED,
            recipients = others,
            "nobody took a notification, and these are not named"
        );
    }
}
