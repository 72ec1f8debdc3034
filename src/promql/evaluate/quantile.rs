//! The aggregation `quantile`, by the rules of Prometheus.

/// The quantile `q` of some values, interpolated between the two that are next to it.
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
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

    #[test]
    fn between_two_values() {
        assert_eq!(quantile(0.5, vec![4.0, 1.0]), 2.5);
        assert_eq!(quantile(1.0, vec![4.0, 1.0, 2.0]), 4.0);
        assert_eq!(quantile(0.0, vec![4.0]), 4.0);
        assert!(quantile(0.5, Vec::new()).is_nan());
    }
}
