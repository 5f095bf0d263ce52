//! Deletes what is older than it is kept, in steps small enough that no publisher notices.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::config;
use crate::fanout::{Fanout, KeptSince};
use crate::metrics::Metrics;
use crate::store::{Pruned, Retention, Store, StoreError};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);
/// The most that is deleted in one commit.
const STEP: usize = 100;
/// The least wait between two steps, in which publishers have the store to themselves ...
const PAUSE: Duration = Duration::from_millis(25);
/// ... or so many times as long as the step took, if that is more: on a slow disk they have most of it as well.
const PAUSE_SHARE: u32 = 2;

impl From<&config::Retention> for Retention {
    fn from(kept: &config::Retention) -> Self {
        Self {
            notifications: kept.notifications,
            broadcasts: kept.broadcasts,
            idempotency: kept.idempotency,
            audit: kept.audit,
            webhooks: kept.webhooks,
        }
    }
}

/// One step.
///
/// # Errors
/// If the store cannot do it.
pub(crate) async fn step(
    store: &dyn Store,
    fanout: &Fanout,
    metrics: &Metrics,
    kept: Retention,
) -> Result<Pruned, StoreError> {
    let now = Timestamp::now();
    // First, so that streams are not sent from memory what is gone from the store, whatever becomes of this call.
    let forget = KeptSince {
        notifications: now.saturating_sub(kept.notifications),
        broadcasts: now.saturating_sub(kept.broadcasts),
    };
    fanout.forget(forget).await;
    let pruned = store.prune(now, kept, STEP).await?;
    metrics.pruned(&pruned);
    Ok(pruned)
}

/// Runs until `stop`.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    fanout: Fanout,
    retention: Retention,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        loop {
            let begun = Instant::now();
            match step(&*store, &fanout, &metrics, retention).await {
                Ok(pruned) if pruned.more => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is old could not be deleted; trying again later");
                    break;
                }
            }
            let pause = PAUSE.max(begun.elapsed() * PAUSE_SHARE);
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}
