//! How often somebody may do something, counted for each name, and how often the log speaks of it.
//!
//! A name has a burst to use up, which refills evenly (GCRA, by the crate `governor`). A name that has all of it back is as
//! good as one that never came, so those are forgotten when there are many.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// When so many names are being counted, those that have all of their burst back are forgotten; if none has, whoever is
/// new waits.
const MAX_NAMES: usize = 10_000;
/// How long whoever is new waits then.
const CROWDED: Duration = Duration::from_secs(60);

/// A burst and a rate for each name.
#[derive(Debug)]
pub(crate) struct RateLimit {
    burst: NonZeroU32,
    clock: MonotonicClock,
    limiter: Limiter,
}

type Limiter =
    RateLimiter<Arc<str>, DashMapStateStore<Arc<str>>, MonotonicClock, NoOpMiddleware<Instant>>;

/// Why there is no more at the moment, or ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverRate {
    /// So much will have come back in this time.
    Wait(Duration),
    /// It is more at once than a whole burst, which is this much.
    MoreThan(u32),
}

impl RateLimit {
    /// So many in a minute, all of them at once if need be. At least one.
    pub(crate) fn per_minute(limit: u32) -> Self {
        let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
        Self::new(Quota::per_minute(limit))
    }

    /// So many in a second, and `burst` at once. At least one of each.
    pub(crate) fn per_second(limit: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self::new(Quota::per_second(at_least_one(limit)).allow_burst(at_least_one(burst)))
    }

    fn new(quota: Quota) -> Self {
        Self {
            burst: quota.burst_size(),
            clock: MonotonicClock,
            limiter: RateLimiter::new(quota, DashMapStateStore::default(), MonotonicClock),
        }
    }

    /// Takes so many for `name`, all of them or none.
    pub(crate) fn take(&self, name: &Arc<str>, many: usize) -> Result<(), OverRate> {
        let Some(many) = NonZeroU32::new(u32::try_from(many).unwrap_or(u32::MAX)) else {
            return Ok(());
        };
        if self.limiter.len() >= MAX_NAMES {
            self.limiter.retain_recent();
            if self.limiter.len() >= MAX_NAMES {
                return Err(OverRate::Wait(CROWDED));
            }
        }
        match self.limiter.check_key_n(name, many) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(OverRate::Wait(until.wait_time_from(self.clock.now()))),
            Err(_) => Err(OverRate::MoreThan(self.burst.get())),
        }
    }
}

/// Says something once in a while, however often it happens.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    const PAUSE: Duration = Duration::from_secs(60);

    /// Whether it may be said now.
    pub(crate) fn now(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < Self::PAUSE) {
            return false;
        }
        *last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_had_whole_or_not_at_all_and_each_name_has_its_own() {
        let limit = RateLimit::per_second(1, 5);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        assert_eq!(limit.take(&ann, 0), Ok(()));
        assert_eq!(limit.take(&ann, 6), Err(OverRate::MoreThan(5)));
        assert_eq!(limit.take(&ann, 3), Ok(()));
        let refused = limit.take(&ann, 4);
        assert!(
            matches!(refused, Err(OverRate::Wait(wait)) if wait <= Duration::from_secs(2)),
            "{refused:?}"
        );
        assert_eq!(limit.take(&ann, 2), Ok(()));
        assert_eq!(limit.take(&bob, 5), Ok(()));
    }

    #[test]
    fn names_beyond_the_bound_wait_until_others_are_forgotten() {
        let limit = RateLimit::per_minute(1);
        for number in 0..MAX_NAMES {
            assert_eq!(limit.take(&number.to_string().into(), 1), Ok(()));
        }
        assert_eq!(
            limit.take(&"one more".into(), 1),
            Err(OverRate::Wait(CROWDED))
        );
        let quick = RateLimit::per_second(u32::MAX, 1);
        for number in 0..2 * MAX_NAMES {
            assert_eq!(quick.take(&number.to_string().into(), 1), Ok(()));
        }
        assert!(quick.limiter.len() <= MAX_NAMES);
    }
}
