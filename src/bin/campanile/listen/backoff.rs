//! How long to wait before the next connection: full jitter on an exponential bound, which spreads out those who lost
//! the same hub at the same instant, but never less than what the hub asked for.

use std::time::Duration;

/// The bound after the first failure; it doubles with each.
const FIRST_BOUND: Duration = Duration::from_secs(1);

/// The bound that it stops at.
const LAST_BOUND: Duration = Duration::from_secs(30);

/// What the hub may ask for; `Retry-After` could be years.
const MAX_ASKED: Duration = Duration::from_hours(1);

/// How often it failed, and what the hub asked for.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    retry: Duration,
    retry_after: Duration,
}

impl Backoff {
    /// The stream is up: the next failure is the first again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The stream's `retry:`, which holds until another comes.
    pub(super) fn retry(&mut self, retry: Option<Duration>) {
        self.retry = retry.unwrap_or(self.retry).min(MAX_ASKED);
    }

    /// A `Retry-After`, which holds for one wait.
    pub(super) fn asked_to_wait(&mut self, retry_after: Option<Duration>) {
        self.retry_after = retry_after.unwrap_or_default().min(MAX_ASKED);
    }

    /// The wait before the next connection, with `random` from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let bound = FIRST_BOUND * 2_u32.saturating_pow(self.failures.min(16));
        let jitter = bound.min(LAST_BOUND).mul_f64(random.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        let asked = self.retry.max(std::mem::take(&mut self.retry_after));
        jitter.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_half_a_minute_and_starts_over_after_a_success() {
        let mut backoff = Backoff::default();
        let mut bounds = || -> Vec<u64> { (0..8).map(|_| backoff.next(1.0).as_secs()).collect() };
        assert_eq!(bounds(), [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(bounds(), [30; 8]);
        backoff.succeeded();
        assert_eq!(backoff.next(0.5), Duration::from_millis(500));
        assert_eq!(backoff.next(0.0), Duration::ZERO);
    }

    #[test]
    fn what_the_hub_asked_for_is_the_least() {
        let mut backoff = Backoff::default();
        backoff.retry(Some(Duration::from_secs(4)));
        backoff.retry(None);
        assert_eq!(backoff.next(0.0), Duration::from_secs(4));
        backoff.asked_to_wait(Some(Duration::from_secs(7)));
        assert_eq!(backoff.next(0.0), Duration::from_secs(7));
        assert_eq!(backoff.next(0.0), Duration::from_secs(4));
        backoff.asked_to_wait(Some(Duration::MAX));
        assert_eq!(backoff.next(1.0), MAX_ASKED);
    }
}
