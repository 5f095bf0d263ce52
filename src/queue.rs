//! The one task that takes the log's entries through the fan-out, in position order.
//!
//! What the store hands over in memory is a cache of the log: an entry that is not the next position makes the queue
//! read on from the log instead, and every few seconds it looks there anyway. So there is one order, the log's, and
//! nothing that was committed can be missing from it.
//!
//! What is passed on without being stored comes in beside the log, and goes out after what its publisher had been told of
//! before, and before what was stored afterwards: it carries the head of the log at the moment of its publishing.
//!
//! The queue knows nothing of who is connected or of what was taken: that is the fan-out's matter, and asking after those
//! who did not take it is [`crate::retry`]'s.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::fanout::{Fanout, Outgoing, Passing};
use crate::log::{Epoch, Position};
use crate::notification::Entry;
use crate::store::{Store, StoreError};

/// The most entries in one batch to the fan-out.
const BATCH: usize = 1_024;
/// The recipients after which a batch is closed: each may become a verdict that the store has to write.
const BATCH_RECIPIENTS: usize = 8_192;
/// The most ephemeral ones that wait for their turn here, and in the channel before.
pub(crate) const MAX_PASSING: usize = 1_024;
/// How long to wait after the store could not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Queue {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fanout: Fanout,
    pub(crate) epoch: Epoch,
    pub(crate) committed: mpsc::Receiver<Vec<Entry>>,
    /// Ephemeral ones, each with the head of the log when it was published.
    pub(crate) passing: mpsc::Receiver<(Position, Passing)>,
    /// Those that wait until the log has come as far.
    pub(crate) waiting: VecDeque<(Position, Passing)>,
    /// The wait between two notifications; none by default.
    pub(crate) pace: Duration,
    /// How often the log is looked at in any case.
    pub(crate) safety_look: Duration,
    /// Everything up to here is settled.
    pub(crate) place: Position,
    /// Comes after the last commit.
    pub(crate) stop: CancellationToken,
}

impl Queue {
    /// Takes up what an earlier run left in the log. Cursors that clients bring are measured against where the fan-out
    /// stands, so nobody is let in before this is done.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        // Nobody is there to be spared.
        let pace = std::mem::take(&mut self.pace);
        let caught_up = self.read_on(None).await;
        self.pace = pace;
        self.fanout.idle().await;
        caught_up
    }

    /// Runs until it is told to stop; then takes the rest of the log through.
    pub(crate) async fn run(mut self) {
        let mut look = interval(self.safety_look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(entries) = self.committed.recv() => self.take(entries).await,
                Some(passing) = self.passing.recv() => self.pass(passing).await,
                () = self.stop.cancelled() => break,
                _ = look.tick() => self.catch_up(None).await,
            }
        }
        self.catch_up(None).await;
        self.pass_on().await;
        self.fanout.idle().await;
    }

    /// Takes an ephemeral one through once everything that came before it has gone.
    async fn pass(&mut self, passing: (Position, Passing)) {
        let after = passing.0;
        self.waiting.push_back(passing);
        if after > self.place {
            self.catch_up(Some(after.next())).await;
        }
        self.pass_on().await;
    }

    /// Hands over the ephemeral ones whose turn it is.
    async fn pass_on(&mut self) {
        while let Some(passing) = self.passing_before(self.place.next()) {
            self.fanout.pass(passing).await;
        }
    }

    /// The next ephemeral one, if it was published before the entry at this position.
    fn passing_before(&mut self, position: Position) -> Option<Passing> {
        self.collect();
        let (_, passing) = self.waiting.pop_front_if(|(after, _)| *after < position)?;
        Some(passing)
    }

    /// Looks at what is in the channel, within the bound.
    fn collect(&mut self) {
        while self.waiting.len() < MAX_PASSING
            && let Ok(passing) = self.passing.try_recv()
        {
            self.waiting.push_back(passing);
        }
    }

    /// Takes what was handed over, and whatever else has been, through the fan-out.
    async fn take(&mut self, mut entries: Vec<Entry>) {
        while entries.len() < BATCH {
            match self.committed.try_recv() {
                Ok(more) => entries.extend(more),
                Err(_) => break,
            }
        }
        let mut batch = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.position <= self.place {
                continue;
            }
            if entry.position != self.place.next() {
                self.send(std::mem::take(&mut batch)).await;
                self.catch_up(Some(entry.position)).await;
                if entry.position <= self.place {
                    continue;
                }
                if entry.position != self.place.next() {
                    // The log could not be read: the next look goes on from where this ended.
                    return;
                }
            }
            self.place = entry.position;
            batch.push(entry);
        }
        self.send(batch).await;
    }

    /// Reads on from the log; if it cannot be read, the next look goes on from where this ended.
    async fn catch_up(&mut self, until: Option<Position>) {
        if let Err(error) = self.read_on(until).await {
            tracing::warn!(%error, "the log could not be read; looking again");
            sleep(STORE_PAUSE).await;
        }
    }

    /// Reads on from the log, to its head or up to the place before `until`.
    async fn read_on(&mut self, until: Option<Position>) -> Result<(), StoreError> {
        loop {
            let entries = self.store.entries(self.place, BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.position) else {
                return Ok(());
            };
            self.place = last;
            self.send(entries).await;
            if until.is_some_and(|until| last.next() >= until) {
                return Ok(());
            }
        }
    }

    /// Hands entries over, and before each the ephemeral ones that were published before it.
    async fn send(&mut self, entries: Vec<Entry>) {
        let (mut batch, mut recipients) = (Vec::new(), 0);
        for entry in entries {
            while let Some(passing) = self.passing_before(entry.position) {
                self.deliver(&mut batch).await;
                self.fanout.pass(passing).await;
            }
            recipients += entry.audience.recipients().len();
            batch.push(Arc::new(Outgoing::new(&entry, &self.epoch)));
            if recipients >= BATCH_RECIPIENTS || !self.pace.is_zero() {
                self.deliver(&mut batch).await;
                recipients = 0;
                self.rest().await;
            }
        }
        self.deliver(&mut batch).await;
        self.pass_on().await;
    }

    async fn deliver(&self, batch: &mut Vec<Arc<Outgoing>>) {
        if !batch.is_empty() {
            self.fanout.deliver(std::mem::take(batch)).await;
        }
    }

    /// The pause between two notifications, if there is one.
    async fn rest(&self) {
        if self.pace.is_zero() {
            return;
        }
        tokio::select! {
            () = sleep(self.pace) => {}
            // What is left is sent without a pause rather than not at all.
            () = self.stop.cancelled() => {}
        }
    }
}
