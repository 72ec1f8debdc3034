//! Aggregations: many series into few.

use std::collections::BTreeMap;

use super::{
    quantile::quantile,
    values::{Value, sort},
};
use crate::promql::{
    error::{QueryError, Result},
    plan::{Aggregate, Aggregation},
    series::{Labels, Series},
};

/// Aggregates at each of `count` moments. `parameter` is the number that some aggregations take.
pub fn aggregate(
    aggregate: &Aggregate,
    parameter: Option<&[f64]>,
    series: Vec<Series>,
    count: usize,
) -> Result<Value> {
    let mut groups: BTreeMap<Labels, Vec<Series>> = BTreeMap::new();
    for series in series {
        groups.entry(aggregate.grouping.apply(&series.labels)).or_default().push(series);
    }
    let aggregation = aggregate.aggregation;
    let parameter = |moment: usize| parameter.map_or(f64::NAN, |numbers| numbers[moment]);
    if matches!(aggregation, Aggregation::TopK | Aggregation::BottomK) {
        let largest = aggregation == Aggregation::TopK;
        let mut kept = Vec::new();
        for mut group in groups.into_values() {
            for moment in 0..count {
                keep_best(&mut group, moment, parameter(moment), largest)?;
            }
            group.retain(Series::has_values);
            sort(&mut group, largest);
            kept.extend(group);
        }
        return Ok(Value::Vector { series: kept, ordered: true });
    }
    let groups = groups.into_iter().map(|(labels, group)| {
        let at = |moment: usize| {
            let values: Vec<f64> =
                group.iter().filter_map(|series| series.points[moment]).collect();
            (!values.is_empty()).then(|| combine(aggregation, values, parameter(moment)))
        };
        Series { labels, points: (0..count).map(at).collect() }
    });
    Ok(Value::unordered(groups.collect()))
}

fn combine(aggregation: Aggregation, values: Vec<f64>, parameter: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of series")]
    let count = values.len() as f64;
    match aggregation {
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Avg => values.iter().sum::<f64>() / count,
        // These two give NaN only where there is nothing else.
        Aggregation::Min => values.into_iter().fold(f64::NAN, f64::min),
        Aggregation::Max => values.into_iter().fold(f64::NAN, f64::max),
        Aggregation::Count => count,
        Aggregation::Quantile => quantile(parameter, values),
        Aggregation::TopK | Aggregation::BottomK => f64::NAN,
    }
}

/// Keeps the largest or smallest `k` values of a moment; NaN counts as the last.
fn keep_best(group: &mut [Series], moment: usize, k: f64, largest: bool) -> Result<()> {
    if k.is_nan() || k.abs() > 9e15 {
        return Err(QueryError::Execution(format!("Scalar value {k} overflows int64")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 or more")]
    let k = k.max(0.0) as usize;
    let mut values: Vec<(f64, usize)> = group
        .iter()
        .enumerate()
        .filter_map(|(place, series)| Some((series.points[moment]?, place)))
        .collect();
    values.sort_by(|(a, _), (b, _)| {
        let by_value = if largest { b.total_cmp(a) } else { a.total_cmp(b) };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    });
    for (_, place) in values.into_iter().skip(k) {
        group[place].points[moment] = None;
    }
    Ok(())
}
