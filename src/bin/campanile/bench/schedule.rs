//! When what is published is due.

use std::time::Duration;

use super::tally::Tally;

/// When to publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As long as fewer requests' worth of deliveries than this are outstanding.
    Saturated { window: u64 },
    /// So many messages a second, whatever comes back.
    Rated { per_second: f64 },
}

/// What is published, and how much at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publishing {
    pub(super) pace: Pace,
    pub(super) batch: u64,
}

/// When the next request is due.
pub(super) struct Schedule {
    pace: Pace,
    batch: u64,
    begun: u64,
    /// What would be due then or later is not published, however late it is when somebody looks.
    end: Option<u64>,
    sent: u64,
}

pub(super) enum Due {
    /// It was at this moment.
    Now(u64),
    In(Duration),
    /// When more has arrived; after the end, never.
    Later,
}

impl Schedule {
    pub(super) fn new(publishing: Publishing, begun: u64) -> Self {
        let Publishing { pace, batch } = publishing;
        Self {
            pace,
            batch,
            begun,
            end: None,
            sent: 0,
        }
    }

    pub(super) fn until(self, end: u64) -> Self {
        Self {
            end: Some(end),
            ..self
        }
    }

    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    /// Another request has been sent.
    pub(super) fn advance(&mut self) {
        self.sent += 1;
    }

    pub(super) fn due(&self, now: u64, tally: &Tally, streams: usize) -> Due {
        match self.paced(now, tally, streams) {
            Due::Now(moment) if self.end.is_some_and(|end| moment >= end) => Due::Later,
            due => due,
        }
    }

    fn paced(&self, now: u64, tally: &Tally, streams: usize) -> Due {
        match self.pace {
            Pace::Saturated { window } => {
                let outstanding = tally.due.saturating_sub(tally.arrived) as f64;
                let worth = tally.audience().mean_size(streams) * self.batch as f64;
                if outstanding < window as f64 * worth {
                    Due::Now(now)
                } else {
                    Due::Later
                }
            }
            Pace::Rated { per_second } => {
                // The clock starts when it was due, so that a request that had to wait counts against the server.
                let after = (self.sent * self.batch) as f64 / per_second * 1e9;
                let moment = self.begun + after.round() as u64;
                match moment.checked_sub(now).filter(|wait| *wait > 0) {
                    Some(wait) => Due::In(Duration::from_nanos(wait)),
                    None => Due::Now(moment),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Audience;
    use super::*;

    #[test]
    fn at_a_rate_it_is_so_many_in_that_time_and_no_more_however_late_somebody_looks() {
        let publishing = Publishing {
            pace: Pace::Rated { per_second: 50.0 },
            batch: 1,
        };
        let begun = 7;
        let late = begun + 9_000_000_000;
        let tally = Tally::new(Audience::Everyone, 30, begun);
        let mut schedule = Schedule::new(publishing, begun).until(begun + 1_000_000_000);
        let mut moments = Vec::new();
        while let Due::Now(moment) = schedule.due(late, &tally, 30) {
            moments.push(moment);
            schedule.advance();
        }
        let expected: Vec<u64> = (0..50).map(|n| begun + n * 20_000_000).collect();
        assert_eq!(moments, expected);
    }
}
