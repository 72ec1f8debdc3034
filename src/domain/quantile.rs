//! The quantile of a histogram, by the rules of Prometheus.

/// The quantile `q` of a histogram, interpolated within a bucket as `histogram_quantile` does; NaN
/// where there is none. A bucket is its upper bound and the number of values that are not above it.
#[must_use]
pub fn histogram_quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Buckets with the same bound are one. A count below the one before it comes from rounding.
    buckets.dedup_by(|later, kept| {
        let same = later.0.total_cmp(&kept.0).is_eq();
        if same {
            kept.1 += later.1;
        }
        same
    });
    for bucket in 1..buckets.len() {
        buckets[bucket].1 = buckets[bucket].1.max(buckets[bucket - 1].1);
    }
    let Some(&(f64::INFINITY, all)) = buckets.last() else {
        return f64::NAN;
    };
    if buckets.len() < 2 || all == 0.0 || all.is_nan() {
        return f64::NAN;
    }
    let rank = q * all;
    let bounded = buckets.len() - 1;
    let place = buckets[..bounded].iter().position(|&(_, count)| count >= rank);
    let Some(place) = place else {
        return buckets[bounded - 1].0;
    };
    let (upper, count) = buckets[place];
    if place == 0 && upper <= 0.0 {
        return upper;
    }
    let (lower, below) = if place == 0 { (0.0, 0.0) } else { buckets[place - 1] };
    lower + (upper - lower) * ((rank - below) / (count - below))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "worked out by hand, and exact")]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn within_a_bucket_by_its_share() {
        let buckets = vec![(INF, 20.0), (1.0, 10.0), (0.5, 0.0)];
        assert_eq!(histogram_quantile(0.25, buckets.clone()), 0.75);
        // The quantile of a value above the last bound is that bound.
        assert_eq!(histogram_quantile(0.9, buckets.clone()), 1.0);
        assert_eq!(histogram_quantile(-1.0, buckets.clone()), -INF);
        assert_eq!(histogram_quantile(2.0, buckets), INF);
    }

    #[test]
    fn nothing_and_half_a_histogram_have_none() {
        for (q, buckets) in [
            (0.5, Vec::new()),
            (0.5, vec![(1.0, 3.0)]),
            (0.5, vec![(INF, 3.0)]),
            (0.5, vec![(1.0, 0.0), (INF, 0.0)]),
            (f64::NAN, vec![(1.0, 1.0), (INF, 1.0)]),
        ] {
            assert!(histogram_quantile(q, buckets.clone()).is_nan(), "{q} of {buckets:?}");
        }
    }
}
