//! The newest release's startup time beside that of the one before.

use super::{Value, is_release, newer_release};

/// Measured starts that each of the two releases needs.
const ENOUGH: u64 = 20;

/// Starts of one bucket: their number, and the sum of their times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSum {
    /// Number of starts.
    pub starts: u64,
    /// Sum of their times in milliseconds.
    pub sum_ms: u64,
}

/// Startup time of the newest release, as a multiple of that of the release before it. Releases with
/// fewer than 20 measured starts are left out. `None` where there are not two.
///
/// `versions` have their buckets in the order of the bounds.
#[must_use]
pub fn slowdown(versions: &[(Value, Vec<BucketSum>)]) -> Option<f64> {
    let starts = |buckets: &[BucketSum]| buckets.iter().map(|bucket| bucket.starts).sum::<u64>();
    let enough = versions
        .iter()
        .filter(|(version, buckets)| is_release(version) && starts(buckets) >= ENOUGH);
    let mut releases: Vec<_> = enough.collect();
    let newest = take_newest(&mut releases)?;
    let before = take_newest(&mut releases)?;
    Some(middle_mean(newest)? / middle_mean(before)?)
}

/// Takes the newest release out of some.
fn take_newest<'a>(releases: &mut Vec<&'a (Value, Vec<BucketSum>)>) -> Option<&'a [BucketSum]> {
    let names = releases.iter().map(|(version, _)| version.to_string());
    let newest = names.fold(None, newer_release)?;
    let place = releases.iter().position(|(version, _)| **version == *newest)?;
    Some(&releases.swap_remove(place).1)
}

/// Mean of the middle half of some starts: a start that took minutes does not move it, and it has the
/// exact times within a bucket, which a median of buckets has not.
#[expect(clippy::cast_precision_loss, reason = "counts and sums far below 2^52")]
fn middle_mean(buckets: &[BucketSum]) -> Option<f64> {
    let all: f64 = buckets.iter().map(|bucket| bucket.starts as f64).sum();
    let (first, last) = (all / 4.0, all * 3.0 / 4.0);
    let (mut before, mut sum) = (0.0, 0.0);
    for bucket in buckets.iter().filter(|bucket| bucket.starts > 0) {
        let starts = bucket.starts as f64;
        let inside = (last.min(before + starts) - first.max(before)).max(0.0);
        sum += inside * (bucket.sum_ms as f64 / starts);
        before += starts;
    }
    (sum > 0.0).then(|| sum / (last - first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Dimension;

    fn version(name: &str, buckets: &[(u64, u64)]) -> (Value, Vec<BucketSum>) {
        let name = Value::parse(Dimension::ImageVersion, Some(name.to_owned())).unwrap();
        let sum = |&(starts, ms)| BucketSum { starts, sum_ms: starts * ms };
        (name, buckets.iter().map(sum).collect())
    }

    #[test]
    fn the_newest_two_releases_are_compared() {
        let versions = [
            version("v11.0.0", &[(20, 2000)]),
            version("v9.9.9", &[(50, 9000)]),
            version("v11.1.0", &[(40, 2500)]),
            version("v11.2.0", &[(19, 9000)]),
            version("nightly", &[(99, 9000)]),
            version("v11.3.0-rc1", &[(99, 9000)]),
        ];
        assert_eq!(slowdown(&versions), Some(1.25));
    }

    #[test]
    fn two_releases_are_needed() {
        assert_eq!(slowdown(&[]), None);
        assert_eq!(slowdown(&[version("v11.0.0", &[(20, 2000)])]), None);
        assert_eq!(
            slowdown(&[version("v11.0.0", &[(20, 0)]), version("v11.1.0", &[(20, 5)])]),
            None
        );
    }

    #[test]
    fn the_middle_half_counts() {
        let mean = |buckets: &[(u64, u64)]| middle_mean(&version("v1.0", buckets).1);
        assert_eq!(mean(&[(20, 2000)]), Some(2000.0));
        // A quarter on either side, whatever its times.
        assert_eq!(mean(&[(5, 0), (10, 3000), (5, 300_000)]), Some(3000.0));
        assert_eq!(mean(&[(5, 2900), (10, 3000), (5, 86_400_000)]), Some(3000.0));
        // The median is at the bound between the two.
        assert_eq!(mean(&[(10, 2000), (10, 3000)]), Some(2500.0));
    }
}
