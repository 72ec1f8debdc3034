//! Evaluation of a plan over the series that were read for it. Pure.

mod aggregate;
mod binary;
mod quantile;
mod values;

use std::{collections::BTreeMap, sync::Weak};

pub use values::Value;

use super::{
    error::{QueryError, Result},
    plan::Node,
    series::{Labels, NAME, Series},
};
use crate::{domain, metrics::BUCKET_LABEL};
use values::{sort, without_names};

/// Evaluates a node at `count` moments. `read` are the series of the plan; each is taken once. Stops
/// at the next node when nobody holds `awaited` any more.
pub fn evaluate(
    node: &Node,
    read: &mut [Vec<Series>],
    count: usize,
    awaited: &Weak<()>,
) -> Result<Value> {
    if awaited.strong_count() == 0 {
        return Err(QueryError::Execution("the query was given up".into()));
    }
    let mut value = |node: &Node| evaluate(node, read, count, awaited);
    match node {
        Node::Number(number) => Ok(Value::Scalar(vec![*number; count])),
        Node::Read(place) => Ok(Value::unordered(std::mem::take(&mut read[*place]))),
        Node::Negate(operand) => negate(value(operand)?),
        Node::Scalar(operand) => Ok(Value::Scalar(scalar(&value(operand)?.series()?, count))),
        Node::Sort { operand, descending } => {
            let mut series = value(operand)?.series()?;
            sort(&mut series, *descending);
            Ok(Value::Vector { series, ordered: true })
        }
        Node::HistogramQuantile { quantile, operand } => {
            let (quantiles, series) = (value(quantile)?.numbers()?, value(operand)?.series()?);
            Ok(Value::unordered(histogram_quantile(&quantiles, series)))
        }
        Node::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_deref().map(&mut value).transpose()?;
            let parameter = parameter.map(Value::numbers).transpose()?;
            let series = value(&aggregate.operand)?.series()?;
            aggregate::aggregate(aggregate, parameter.as_deref(), series, count)
        }
        Node::Binary(binary) => {
            binary::operate(binary, value(&binary.left)?, value(&binary.right)?)
        }
    }
}

fn negate(value: Value) -> Result<Value> {
    match value {
        Value::Scalar(numbers) => Ok(Value::Scalar(numbers.into_iter().map(|n| -n).collect())),
        Value::Vector { mut series, .. } => {
            for value in series.iter_mut().flat_map(|series| &mut series.points).flatten() {
                *value = -*value;
            }
            Ok(Value::unordered(without_names(series)?))
        }
    }
}

/// The value at each moment at which exactly one series has one; NaN at all others.
fn scalar(series: &[Series], count: usize) -> Vec<f64> {
    let at = |moment: usize| {
        let mut values = series.iter().filter_map(|series| series.points[moment]);
        match (values.next(), values.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..count).map(at).collect()
}

fn histogram_quantile(quantiles: &[f64], series: Vec<Series>) -> Vec<Series> {
    /// An upper bound, and at each moment the number of values that are not above it.
    type Bucket = (f64, Vec<Option<f64>>);
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for Series { mut labels, points } in series {
        labels.remove(NAME);
        // A series without a bound is not part of a histogram.
        let Some(bound) = labels.remove(BUCKET_LABEL).and_then(|bound| bound.parse().ok()) else {
            continue;
        };
        histograms.entry(labels).or_default().push((bound, points));
    }
    histograms
        .into_iter()
        .map(|(labels, parts)| {
            let at = |(moment, q): (usize, &f64)| {
                let buckets: Vec<(f64, f64)> = parts
                    .iter()
                    .filter_map(|(bound, points)| Some((*bound, points[moment]?)))
                    .collect();
                (!buckets.is_empty()).then(|| domain::histogram_quantile(*q, buckets))
            };
            let points = quantiles.iter().enumerate().map(at).collect();
            Series { labels, points }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_nobody_waits_for_is_not_evaluated() {
        let awaited = Arc::new(());
        let watched = Arc::downgrade(&awaited);
        let one = || evaluate(&Node::Number(1.0), &mut [], 1, &watched);
        assert!(one().is_ok());
        drop(awaited);
        assert!(one().is_err());
    }
}
