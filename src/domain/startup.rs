//! The histogram of startup times.

use super::{histogram_quantile, report::MAX_STARTUP_MS};

/// Upper bounds of the histogram's buckets, in milliseconds, each belonging to its bucket. The last
/// bucket has no bound here; its key in the database is [`MAX_STARTUP_MS`], which no startup time
/// exceeds.
pub const BOUNDS_MS: &[u32] = &[
    100, 250, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000,
    20_000, 30_000, 45_000, 60_000, 120_000, 300_000,
];

/// Number of buckets, the unbounded one included.
pub const BUCKETS: usize = BOUNDS_MS.len() + 1;

const _: () = {
    let mut place = 1;
    while place < BOUNDS_MS.len() {
        assert!(BOUNDS_MS[place - 1] < BOUNDS_MS[place], "the bounds ascend");
        place += 1;
    }
};

/// Startup times of many starts: their sum and their histogram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupTimes {
    /// Sum in milliseconds.
    pub sum_ms: u64,
    /// Starts of each bucket of [`BOUNDS_MS`], not cumulative.
    pub buckets: [u64; BUCKETS],
}

impl StartupTimes {
    /// Upper bounds of all buckets, in milliseconds: [`BOUNDS_MS`], and the longest time.
    pub fn bucket_bounds_ms() -> impl Iterator<Item = i64> {
        BOUNDS_MS.iter().map(|&bound| i64::from(bound)).chain([MAX_STARTUP_MS])
    }

    /// The bucket of a startup time.
    #[must_use]
    pub fn bucket(startup_ms: i64) -> usize {
        BOUNDS_MS.partition_point(|&bound| i64::from(bound) < startup_ms)
    }

    /// Upper bound of the bucket of a startup time, in milliseconds.
    #[must_use]
    pub fn up_to_ms(startup_ms: i64) -> i64 {
        BOUNDS_MS.get(Self::bucket(startup_ms)).map_or(MAX_STARTUP_MS, |&bound| i64::from(bound))
    }

    /// Adds starts of one bucket, which is named by its place, and the sum of their times.
    pub fn add(&mut self, bucket: usize, starts: u64, sum_ms: u64) {
        self.buckets[bucket] += starts;
        self.sum_ms += sum_ms;
    }

    /// The startup times of these starts and others.
    #[must_use]
    pub fn plus(mut self, others: &Self) -> Self {
        self.sum_ms += others.sum_ms;
        for (starts, others) in self.buckets.iter_mut().zip(others.buckets) {
            *starts += others;
        }
        self
    }

    /// Takes away the startup times of some of the starts.
    pub fn subtract(&mut self, some: &Self) {
        self.sum_ms = self.sum_ms.saturating_sub(some.sum_ms);
        for (starts, some) in self.buckets.iter_mut().zip(some.buckets) {
            *starts = starts.saturating_sub(some);
        }
    }

    /// Starts that stated their time.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean in milliseconds; `None` where there is nothing to average.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts needs no 53rd bit")]
    pub fn mean_ms(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_ms as f64 / count as f64)
    }

    /// The time in milliseconds that a share `q` (0 to 1) of the starts did not exceed; see
    /// [`histogram_quantile`]. `None` where there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate, exact to a bucket")]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let bounds = BOUNDS_MS.iter().map(|&bound| f64::from(bound)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().scan(0, |count, inside| {
            *count += inside;
            Some(*count as f64)
        });
        let quantile = histogram_quantile(q, bounds.zip(counts).collect());
        (!quantile.is_nan()).then_some(quantile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[(usize, u64)], sum_ms: u64) -> StartupTimes {
        let mut times = StartupTimes { sum_ms, ..StartupTimes::default() };
        for &(bucket, count) in counts {
            times.buckets[bucket] = count;
        }
        times
    }

    #[test]
    fn quantiles_are_those_of_histogram_quantile() {
        // Ten up to 100 ms and ten from 1000 to 1500 ms: worked out by hand.
        let times = of(&[(0, 10), (5, 10)], 13_000);
        assert_eq!(times.count(), 20);
        assert_eq!(times.mean_ms(), Some(650.0));
        assert_eq!(times.quantile_ms(0.25), Some(50.0));
        assert_eq!(times.quantile_ms(0.5), Some(100.0));
        assert_eq!(times.quantile_ms(0.75), Some(1250.0));
        assert_eq!(times.quantile_ms(1.0), Some(1500.0));
        // The first bucket is not empty at 0, so nothing is below it.
        assert_eq!(times.quantile_ms(0.0), Some(0.0));
    }

    #[test]
    fn beyond_the_last_bound_is_the_last_bound() {
        assert_eq!(of(&[(BUCKETS - 1, 3)], 3_000_000).quantile_ms(0.5), Some(300_000.0));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(StartupTimes::default().quantile_ms(0.5), None);
        assert_eq!(StartupTimes::default().mean_ms(), None);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for (bucket, bound) in StartupTimes::bucket_bounds_ms().enumerate() {
            assert_eq!(StartupTimes::bucket(bound), bucket);
            assert_eq!(StartupTimes::bucket(bound + 1), (bucket + 1).min(BUCKETS - 1));
            assert_eq!(StartupTimes::up_to_ms(bound), bound);
            assert_eq!(StartupTimes::up_to_ms(bound - 1), bound);
        }
        assert_eq!(StartupTimes::bucket(0), 0);
    }
}
