//! A distribution in fixed buckets.
//!
//! Each bucket counts what fell into it alone, so that an observation is two additions; that Prometheus wants each
//! bucket to hold the ones below it as well, and a count, is arithmetic for whoever asks. So the count and the last
//! bucket are one number and cannot differ, however much is observed meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

/// A distribution of whole numbers.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Up to and including each of these, rising.
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, rising, each included in its bucket.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Takes one value in.
    pub(crate) fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Each bound with how many were at or below it; how many there were in all; their sum.
    pub(crate) fn cumulative(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let sum = self.sum.load(Ordering::Relaxed);
        let mut count = 0;
        let mut up_to = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(&mut up_to).collect();
        let all = up_to.last().unwrap_or(0);
        (buckets, all, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.observe(value);
        }
        let (buckets, count, sum) = histogram.cumulative();
        assert_eq!(buckets, [(1, 2), (10, 4), (100, 5)]);
        assert_eq!((count, sum), (6, 1_024));
    }
}
