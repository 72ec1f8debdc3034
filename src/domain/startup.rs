use super::histogram_quantile;

/// Upper bounds of the startup-time histogram, in milliseconds, each belonging to its
/// bucket. The last bucket has no bound. The columns of the `rollups` table carry the same
/// numbers; a test holds the two together.
pub const BOUNDS_MS: [u32; BUCKETS - 1] = [
    100, 250, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000,
    20_000, 30_000, 45_000, 60_000, 120_000, 300_000,
];

/// Number of buckets, the unbounded one included.
pub const BUCKETS: usize = 21;

/// Startup times of many starts: their sum and their histogram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupTimes {
    /// Sum in milliseconds.
    pub sum_ms: u64,
    /// How many fell into each bucket of [`BOUNDS_MS`], not cumulative.
    pub buckets: [u64; BUCKETS],
}

impl StartupTimes {
    /// How many starts told their time.
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
        assert_eq!(of(&[(20, 3)], 3_000_000).quantile_ms(0.5), Some(300_000.0));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(StartupTimes::default().quantile_ms(0.5), None);
        assert_eq!(StartupTimes::default().mean_ms(), None);
    }

    #[test]
    fn the_tables_have_the_same_bounds() {
        let schema = include_str!("../../migrations/0001_initial.sql");
        let mut lower = 0;
        for bound in BOUNDS_MS {
            let column = format!("startup_ms BETWEEN {lower} AND {bound} AS up_to_{bound}");
            assert!(schema.contains(&column), "{column}");
            lower = bound + 1;
        }
        assert!(schema.contains("startup_ms > 300000 AS above_300000"));
        assert_eq!(schema.matches("    startup_ms BETWEEN ").count(), BUCKETS - 1);
    }
}
