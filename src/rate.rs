//! How often somebody may do something: so many times in a minute, counted for each name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

/// The window that is counted in.
const WINDOW: Duration = Duration::from_secs(60);
/// When so many names are being counted, those whose window is over are forgotten.
const MAX_NAMES: usize = 10_000;

/// A count for each name in fixed windows of a minute.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limit: u32,
    names: DashMap<Arc<str>, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    taken: u32,
}

impl RateLimit {
    pub(crate) fn per_minute(limit: u32) -> Self {
        Self {
            limit,
            names: DashMap::new(),
        }
    }

    /// Counts one for `name`; if it has had its share, how long until there is more.
    pub(crate) fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let over = |window: &Window| now.saturating_duration_since(window.since) >= WINDOW;
        if self.names.len() >= MAX_NAMES {
            self.names.retain(|_, window| !over(window));
            if self.names.len() >= MAX_NAMES {
                return Err(WINDOW);
            }
        }
        let mut window = self.names.entry(name.into()).or_insert(Window {
            since: now,
            taken: 0,
        });
        if over(&window) {
            *window = Window {
                since: now,
                taken: 0,
            };
        }
        if window.taken >= self.limit {
            return Err(WINDOW.saturating_sub(now.saturating_duration_since(window.since)));
        }
        window.taken += 1;
        Ok(())
    }
}
