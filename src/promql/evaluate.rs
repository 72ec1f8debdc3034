//! What is done with series once they are read. Pure.

use std::collections::{BTreeMap, HashSet};

use super::{
    aggregate::aggregate,
    binary,
    error::QueryError,
    plan::Node,
    quantile,
    series::{Labels, NAME, Series},
};

use crate::metrics::BUCKET_LABEL;

type Result<T> = std::result::Result<T, QueryError>;

/// What a part of an expression comes to.
#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Vec<f64>),
    /// `ordered`: the order of the series is part of the answer.
    Vector {
        series: Vec<Series>,
        ordered: bool,
    },
}

impl Value {
    pub const fn unordered(series: Vec<Series>) -> Self {
        Self::Vector { series, ordered: false }
    }

    fn series(self) -> Result<Vec<Series>> {
        match self {
            Self::Vector { series, .. } => Ok(series),
            Self::Scalar(_) => {
                Err(QueryError::BadData("a number stands where series are needed".into()))
            }
        }
    }

    pub fn numbers(self) -> Result<Vec<f64>> {
        match self {
            Self::Scalar(numbers) => Ok(numbers),
            Self::Vector { .. } => {
                Err(QueryError::BadData("series stand where a number is needed".into()))
            }
        }
    }
}

/// Evaluates an operation at `count` moments; `read` are the series that it needs, each of which it
/// takes once.
pub fn evaluate(node: &Node, read: &mut [Vec<Series>], count: usize) -> Result<Value> {
    let mut part = |node: &Node| evaluate(node, read, count);
    match node {
        Node::Number(number) => Ok(Value::Scalar(vec![*number; count])),
        Node::Read(place) => Ok(Value::unordered(std::mem::take(&mut read[*place]))),
        Node::Negate(of) => match part(of)? {
            Value::Scalar(numbers) => Ok(Value::Scalar(numbers.into_iter().map(|n| -n).collect())),
            Value::Vector { mut series, .. } => {
                for of in &mut series {
                    of.points.iter_mut().flatten().for_each(|value| *value = -*value);
                }
                Ok(Value::unordered(without_names(series)?))
            }
        },
        Node::Scalar(of) => {
            let series = part(of)?.series()?;
            let at = |moment: usize| {
                let mut there = series.iter().filter_map(|of| of.points[moment]);
                match (there.next(), there.next()) {
                    (Some(value), None) => value,
                    _ => f64::NAN,
                }
            };
            Ok(Value::Scalar((0..count).map(at).collect()))
        }
        Node::Sort { of, descending } => {
            let mut series = part(of)?.series()?;
            sort(&mut series, *descending);
            Ok(Value::Vector { series, ordered: true })
        }
        Node::HistogramQuantile { quantile, of } => {
            let (quantiles, series) = (part(quantile)?.numbers()?, part(of)?.series()?);
            Ok(Value::unordered(histogram_quantile(&quantiles, series)))
        }
        Node::Aggregate(of) => {
            let parameter = of.parameter.as_deref().map(&mut part).transpose()?;
            let parameter = parameter.map(Value::numbers).transpose()?;
            aggregate(of, parameter.as_deref(), part(&of.of)?.series()?, count)
        }
        Node::Binary(of) => binary::operate(of, part(&of.left)?, part(&of.right)?),
    }
}

/// Sorts by the value at the first moment, NaN and nothing last.
pub fn sort(series: &mut [Series], descending: bool) {
    let value = |of: &Series| of.points.first().copied().flatten().filter(|v| !v.is_nan());
    series.sort_by(|a, b| match (value(a), value(b)) {
        (Some(a), Some(b)) if descending => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
}

/// Series without their names, which an operation takes away. They must still differ.
pub fn without_names(mut series: Vec<Series>) -> Result<Vec<Series>> {
    series.iter_mut().for_each(|of| drop(of.labels.remove(NAME)));
    let mut seen = HashSet::new();
    if series.iter().all(|of| seen.insert(&of.labels)) {
        Ok(series)
    } else {
        Err(QueryError::Execution("vector cannot contain metrics with the same labelset".into()))
    }
}

fn histogram_quantile(quantiles: &[f64], series: Vec<Series>) -> Vec<Series> {
    /// A bound, and at each moment how many were not above it.
    type Bucket = (f64, Vec<Option<f64>>);
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for Series { mut labels, points } in series {
        labels.remove(NAME);
        // What has no bound is not part of a histogram.
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
                (!buckets.is_empty()).then(|| quantile::of_histogram(*q, buckets))
            };
            let points = quantiles.iter().enumerate().map(at).collect();
            Series { labels, points }
        })
        .collect()
}
