//! How many streams are opened at a time. After a restart all of them come back within a second, each with questions to the
//! store; without a bound they would be in front of everybody else who asks it something, probes and inboxes included.
//!
//! So a few are at it, and a line waits in the order in which it came. Waiting costs a connection and nothing else, while
//! whoever is sent away comes again and has to be heard and sent away once more: a hub that is short of time would spend it
//! on that. So the line is long. It has an end all the same: whoever finds it full is told to come back in a while, each in
//! another one (`retry:`).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many are opened at a time: enough for each step to have work and for commits to be shared (each stream has what was
/// decided before it written first); few enough that a publisher's request, and whatever else the store is asked, gets its turn
/// between them. With 10,000 coming back at once, 64 bring them back as soon as 1,024 do, and what is live meanwhile takes
/// half as long (99 %: 67 ms beside 171 ms on one core).
pub(super) const AT_A_TIME: usize = 64;
/// How many wait in line: what a small machine opens in half a minute, after which proxies would lose patience.
const IN_LINE: usize = 32_768;

/// The line, and its head.
#[derive(Debug)]
pub(super) struct Openings {
    line: Arc<Semaphore>,
    head: Arc<Semaphore>,
}

/// A place at the head of the line, for as long as the stream is being opened.
#[derive(Debug)]
pub(crate) struct Turn {
    _line: OwnedSemaphorePermit,
    _head: OwnedSemaphorePermit,
}

/// A turn that was taken before anything is known of who wants a stream, in the extensions of their request. Whoever is long in
/// coming to use it loses it, so that nobody can keep the others waiting.
#[derive(Clone, Debug)]
pub(crate) struct TakenTurn(Arc<Mutex<Option<Turn>>>);

impl TakenTurn {
    pub(crate) fn new(turn: Turn) -> Self {
        Self(Arc::new(Mutex::new(Some(turn))))
    }

    /// The turn, if it is still theirs. Dropped, it goes to the next in line.
    pub(crate) fn take(&self) -> Option<Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Openings {
    pub(super) fn new() -> Self {
        Self {
            line: Arc::new(Semaphore::new(AT_A_TIME + IN_LINE)),
            head: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Waits for a turn; none if the line is full.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let line = Arc::clone(&self.line).try_acquire_owned().ok()?;
        let head = Arc::clone(&self.head).acquire_owned().await.ok()?;
        Some(Turn {
            _line: line,
            _head: head,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_few_are_at_it_a_line_waits_in_its_order_and_no_more_than_that() {
        // Else tokio answers "not yet" in a semaphore's name to whoever asks too often without a pause.
        tokio::task::unconstrained(they_wait()).await;
    }

    async fn they_wait() {
        let openings = Openings::new();
        let mut at_it = Vec::new();
        for _ in 0..AT_A_TIME {
            at_it.push(openings.turn().await.expect("a turn"));
        }
        let mut line: Vec<_> = (0..IN_LINE).map(|_| Box::pin(openings.turn())).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        assert!(openings.turn().await.is_none(), "the line has an end");
        // Whoever gives up makes room in the line ...
        drop(line.pop());
        let mut last = Box::pin(openings.turn());
        assert!((&mut last).now_or_never().is_none());
        // ... and a turn goes to who has waited longest.
        drop(at_it.pop());
        assert!((&mut last).now_or_never().is_none());
        assert!((&mut line[1]).now_or_never().is_none());
        assert!((&mut line[0]).now_or_never().flatten().is_some());
    }
}
