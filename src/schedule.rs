//! What waits for its time: notifications that are held back are released, and reminders of what is overdue published.
//!
//! The store says when the next one is due; this task sleeps until then, or until it is told of something earlier. Whatever
//! is due goes into the log in one transaction, gets its position there, and takes the way of everything that is published:
//! a stream that resumes cannot miss it.
//!
//! Moments are the wall clock's, and that may jump. So no sleep is longer than a second: whatever the clock says then
//! counts. A clock that was set back makes nothing happen twice: what was released is not held back any more, and windows of
//! reminders are measured on the latest clock that was ever seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::events;
use crate::fanout::Counters;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, Swept};

/// How many are released in one commit.
const STEP: usize = 512;
/// The longest sleep, for the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How often the store is looked at although it told of nothing.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// How often the queue is looked at while it has too much to do.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait after the store could not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Schedule {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last position that is known to be given.
    pub(crate) head: Arc<AtomicU64>,
    /// Releases wait while so much is committed and not yet delivered, so that publishers find room as well.
    pub(crate) max_depth: u64,
}

impl Schedule {
    /// Runs until the hub drains. What falls due then is released by the next start.
    pub(crate) async fn run(self, draining: CancellationToken) {
        // What fell due while no hub ran.
        let mut now_due = true;
        let mut looked = Instant::now();
        loop {
            if now_due || looked.elapsed() >= LOOK_EVERY {
                self.release(&draining).await;
                looked = Instant::now();
            }
            let agenda = self.store.agenda();
            let sleeping = agenda.next().map(|due| wait(Timestamp::now(), due));
            tokio::select! {
                () = draining.cancelled() => return,
                () = agenda.earlier() => {}
                () = sleep(sleeping.unwrap_or(LOOK_EVERY)) => {}
            }
            now_due = agenda.next().is_some_and(|due| due <= Timestamp::now());
        }
    }

    /// Releases everything that is due.
    async fn release(&self, draining: &CancellationToken) {
        let agenda = self.store.agenda();
        while !draining.is_cancelled() {
            let now = Timestamp::now();
            agenda.forget();
            match self.step(now).await {
                Ok(next_due) => {
                    if let Some(due) = next_due {
                        agenda.due(due);
                    }
                    if next_due.is_none_or(|due| due > now) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "what is due could not be released; trying again");
                    agenda.due(now);
                    pause(STORE_PAUSE, draining).await;
                }
            }
            while self.depth() >= self.max_depth && !draining.is_cancelled() {
                pause(QUEUE_PAUSE, draining).await;
            }
        }
    }

    /// One commit's worth of both; when the next is due.
    async fn step(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let released = self.store.release(now, STEP).await?;
        self.metrics.released(released.count);
        if let Some(last) = released.last {
            self.head.fetch_max(last.0, Ordering::AcqRel);
        }
        let swept = remind(&*self.store, &self.metrics, &self.head, now, STEP).await?;
        let next = [released.next_due, swept.next_due];
        Ok(next.into_iter().flatten().min())
    }

    fn depth(&self) -> u64 {
        let fanned = self.counters.fanned.load(Ordering::Acquire);
        self.head.load(Ordering::Acquire).saturating_sub(fanned)
    }
}

/// One step of a sweep over the reminders, whoever wants it: counted, and said in the log.
pub(crate) async fn remind(
    store: &dyn Store,
    metrics: &Metrics,
    head: &AtomicU64,
    now: Timestamp,
    limit: usize,
) -> Result<Swept, StoreError> {
    let swept = store.remind(now, limit).await?;
    if let Some(last) = swept.last {
        head.fetch_max(last.0, Ordering::AcqRel);
    }
    metrics.reminded(swept.reminded.len());
    for (reminded, _) in &swept.reminded {
        tracing::info!(
            event = events::REMINDER_PUBLISHED,
            publisher = %reminded.publisher,
            key = %reminded.key,
            notification = %reminded.notification,
            "what is overdue was published"
        );
    }
    Ok(swept)
}

async fn pause(wait: Duration, draining: &CancellationToken) {
    let _ = draining.run_until_cancelled(sleep(wait)).await;
}

/// How long to sleep until the clock is looked at again.
fn wait(now: Timestamp, due: Timestamp) -> Duration {
    due.since(now).min(LONGEST_SLEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sleep_is_so_long_that_a_clock_that_jumps_would_be_noticed_late() {
        let moment = Timestamp::from_millis;
        assert_eq!(
            wait(moment(5_000), moment(5_300)),
            Duration::from_millis(300)
        );
        assert_eq!(wait(moment(5_000), moment(4_000)), Duration::ZERO);
        assert_eq!(wait(moment(5_000), Timestamp::MAX), LONGEST_SLEEP);
    }
}
