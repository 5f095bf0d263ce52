//! Asks again after those who did not take a notification.
//!
//! A recipient that no stream took it for is owed. After each wait of the schedule the store counts an attempt and, after
//! the last, says that it failed. Asking never sends: the streams' own cursors do, and whoever sent it said so to the
//! store, in whose rows alone the question is answered. So a retry cannot double anything, and it holds up nothing: it is
//! a task of its own beside the queue.
//!
//! Nothing is asked in the first while after a start, or while draining, because clients are on their way back then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::events;
use crate::metrics::Metrics;
use crate::store::{Asked, RetrySchedule, Store};

/// The most recipients asked in one commit, so that publishing never waits long for it.
const ASK_AT_A_TIME: usize = 1_000;
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
}

impl Retry {
    /// Runs until the hub drains.
    pub(crate) async fn run(self, draining: CancellationToken) {
        let grace_ends = Instant::now() + self.start_grace;
        // Those owed by an earlier run are due as soon as asking begins.
        let mut ask_at = Some(grace_ends);
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
            }
        }
    }

    /// Asks after everybody who is due; when the next one is.
    async fn ask(&self, draining: &CancellationToken) -> Option<Instant> {
        while !draining.is_cancelled() {
            let now = Timestamp::now();
            let schedule = RetrySchedule {
                delays: Arc::clone(&self.delays),
            };
            match self.store.ask_again(now, schedule, ASK_AT_A_TIME).await {
                Ok(asked) => {
                    self.note(&asked);
                    let due = asked.next_due?;
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

    /// Says who was asked in vain for the last time.
    fn note(&self, asked: &Asked) {
        let took_none = asked.still_owed + asked.failed;
        self.metrics.asked(took_none, asked.failed);
        for missed in &asked.missed {
            tracing::info!(
                event = events::RECIPIENT_FAILED,
                notification = %missed.notification,
                recipient = missed.recipient,
                "nobody took a notification"
            );
        }
        let others = asked.failed.saturating_sub(asked.missed.len());
        if others > 0 {
            tracing::info!(
                event = events::RECIPIENTS_FAILED,
                recipients = others,
                "nobody took a notification, and these are not named"
            );
        }
    }
}
