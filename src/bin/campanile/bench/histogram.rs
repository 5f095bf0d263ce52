//! How long things took, without keeping each: buckets that are less than one in a hundred wide, from a nanosecond to
//! centuries.

/// So many buckets between a power of two and the next.
const PER_OCTAVE: usize = 128;
const OCTAVE_BITS: usize = PER_OCTAVE.ilog2() as usize;
const BUCKETS: usize = (u64::BITS as usize - OCTAVE_BITS + 1) * PER_OCTAVE;

/// Durations in nanoseconds.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            max: 0,
        }
    }

    pub(super) fn add(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The duration that so large a share did not exceed, in microseconds; zero of nothing.
    pub(super) fn micros(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut counted = 0;
        let reached = self.buckets.iter().position(|count| {
            counted += count;
            counted >= rank
        });
        let nanos = reached.map_or(0, |bucket| highest(bucket).min(self.max));
        nanos as f64 / 1e3
    }

    pub(super) fn max_micros(&self) -> f64 {
        self.max as f64 / 1e3
    }
}

fn bucket(nanos: u64) -> usize {
    let octave = (nanos | 1).ilog2() as usize;
    match octave.checked_sub(OCTAVE_BITS) {
        None => nanos as usize,
        Some(shift) => shift * PER_OCTAVE + (nanos >> shift) as usize,
    }
}

/// The longest duration of a bucket: what is told is never better than what was.
fn highest(bucket: usize) -> u64 {
    let shift = (bucket / PER_OCTAVE).saturating_sub(1);
    let mantissa = (bucket - shift * PER_OCTAVE) as u64;
    (mantissa << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_in_it_and_is_narrow() {
        for exponent in 0..u64::BITS {
            for nanos in [1_u64 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                let top = highest(bucket(nanos));
                assert!(top >= nanos && top - nanos <= nanos / 100, "{nanos}: {top}");
                assert!(top == u64::MAX || bucket(top + 1) == bucket(nanos) + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn shares_are_of_all_and_the_last_is_the_longest() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.micros(0.5), 0.0);
        for millis in 1..=1_000 {
            histogram.add(millis * 1_000_000);
        }
        let near = |share, millis: f64| (histogram.micros(share) / 1e3 / millis - 1.0).abs() < 0.01;
        assert!(near(0.5, 500.0) && near(0.99, 990.0) && near(0.001, 1.0));
        assert_eq!(histogram.micros(1.0), histogram.max_micros());
        assert_eq!(histogram.max_micros(), 1e6);
    }
}
