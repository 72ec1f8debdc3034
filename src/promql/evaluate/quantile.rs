//! Quantiles, by Prometheus' rules.

/// The quantile `q` of a histogram: its upper bounds and how many values were not above each.
/// As `histogram_quantile`: interpolated within a bucket, NaN for nothing.
pub fn of_histogram(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
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
    // The same bound twice counts together; a count below the one before it is a fault of
    // rounding.
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

/// The quantile `q` of some values, as the aggregation `quantile`: between two values the share of
/// the way between them.
pub fn of_values(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN first, as Prometheus sorts.
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    #[expect(clippy::cast_precision_loss, reason = "a number of series")]
    let rank = q * (values.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 or more")]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "worked out by hand, and exact")]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn within_a_bucket_by_its_share() {
        let buckets = vec![(INF, 20.0), (1.0, 10.0), (0.5, 0.0)];
        assert_eq!(of_histogram(0.25, buckets.clone()), 0.75);
        // The quantile of a value above the last bound is that bound.
        assert_eq!(of_histogram(0.9, buckets.clone()), 1.0);
        assert_eq!(of_histogram(-1.0, buckets.clone()), -INF);
        assert_eq!(of_histogram(2.0, buckets), INF);
    }

    #[test]
    fn nothing_and_half_a_histogram_have_none() {
        assert!(of_histogram(0.5, Vec::new()).is_nan());
        assert!(of_histogram(0.5, vec![(1.0, 3.0)]).is_nan());
        assert!(of_histogram(0.5, vec![(INF, 3.0)]).is_nan());
        assert!(of_histogram(0.5, vec![(1.0, 0.0), (INF, 0.0)]).is_nan());
        assert!(of_histogram(f64::NAN, vec![(1.0, 1.0), (INF, 1.0)]).is_nan());
    }

    #[test]
    fn of_values_between_two_of_them() {
        assert_eq!(of_values(0.5, vec![4.0, 1.0]), 2.5);
        assert_eq!(of_values(1.0, vec![4.0, 1.0, 2.0]), 4.0);
        assert_eq!(of_values(0.0, vec![4.0]), 4.0);
        assert!(of_values(0.5, Vec::new()).is_nan());
    }
}
