//! Arithmetic and comparison.

use std::collections::BTreeMap;

use super::{
    error::QueryError,
    evaluate::{Value, without_names},
    plan::{Binary, Grouping, Operator},
    series::{Labels, NAME, Series},
};

type Result<T> = std::result::Result<T, QueryError>;

/// Works on two parts at each moment.
pub fn operate(of: &Binary, left: Value, right: Value) -> Result<Value> {
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let both = left.into_iter().zip(right);
            Ok(Value::Scalar(both.map(|(left, right)| of.operator.number(left, right)).collect()))
        }
        (Value::Vector { series, .. }, Value::Scalar(numbers)) => {
            with_numbers(of, series, &numbers, false)
        }
        (Value::Scalar(numbers), Value::Vector { series, .. }) => {
            with_numbers(of, series, &numbers, true)
        }
        (Value::Vector { series: left, .. }, Value::Vector { series: right, .. }) => {
            one_to_one(of, left, right)
        }
    }
}

impl Operator {
    pub const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }

    /// The result; of a comparison 1 or 0.
    #[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
    fn number(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
            Self::Power => left.powf(right),
            Self::Equal => f64::from(left == right),
            Self::NotEqual => f64::from(left != right),
            Self::Greater => f64::from(left > right),
            Self::Less => f64::from(left < right),
            Self::GreaterOrEqual => f64::from(left >= right),
            Self::LessOrEqual => f64::from(left <= right),
        }
    }
}

impl Binary {
    /// The result where both sides are there; `kept` is what a comparison leaves.
    fn value(&self, left: f64, right: f64, kept: f64) -> Option<f64> {
        let number = self.operator.number(left, right);
        if self.operator.compares() && !self.gives_bool {
            (number > 0.0).then_some(kept)
        } else {
            Some(number)
        }
    }

    /// Whether a series keeps its name: what a comparison leaves is the series itself.
    const fn keeps_name(&self) -> bool {
        self.operator.compares() && !self.gives_bool
    }
}

fn with_numbers(
    of: &Binary,
    mut series: Vec<Series>,
    numbers: &[f64],
    numbers_are_left: bool,
) -> Result<Value> {
    for one in &mut series {
        for (point, &number) in one.points.iter_mut().zip(numbers) {
            *point = point.and_then(|value| {
                let (left, right) =
                    if numbers_are_left { (number, value) } else { (value, number) };
                of.value(left, right, value)
            });
        }
    }
    let series = if of.keeps_name() { series } else { without_names(series)? };
    Ok(Value::unordered(series))
}

/// What a group of series has at one moment.
#[derive(Debug, Clone, Copy)]
enum There {
    Nothing,
    One(f64),
    Several,
}

/// What each group of the series that share the matching labels has at each moment.
fn by_shared_labels(of: &Binary, series: Vec<Series>) -> BTreeMap<Labels, Vec<There>> {
    let mut groups: BTreeMap<Labels, Vec<There>> = BTreeMap::new();
    for Series { labels, points } in series {
        let group = groups
            .entry(of.matching.apply(&labels))
            .or_insert_with(|| vec![There::Nothing; points.len()]);
        for (there, value) in group.iter_mut().zip(points) {
            if let Some(value) = value {
                *there = match there {
                    There::Nothing => There::One(value),
                    There::One(_) | There::Several => There::Several,
                };
            }
        }
    }
    groups
}

/// Each series of the left side with the one of the right side whose labels match.
fn one_to_one(of: &Binary, left: Vec<Series>, right: Vec<Series>) -> Result<Value> {
    let partners = by_shared_labels(of, right);
    let mut results: BTreeMap<Labels, Series> = BTreeMap::new();
    for series in left {
        let shared = of.matching.apply(&series.labels);
        let Some(partners) = partners.get(&shared) else {
            continue;
        };
        let mut points = Vec::with_capacity(series.points.len());
        for (value, partner) in series.points.iter().zip(partners) {
            points.push(match (value, partner) {
                (Some(value), There::One(partner)) => of.value(*value, *partner, *value),
                (Some(_), There::Several) => return Err(duplicates(&shared, "right")),
                _ => None,
            });
        }
        let mut labels = match of.matching {
            Grouping::By(_) => shared.clone(),
            Grouping::Without(_) => series
                .labels
                .into_iter()
                .filter(|(label, _)| label == NAME || of.matching.keeps(label))
                .collect(),
        };
        if !of.keeps_name() {
            labels.remove(NAME);
        }
        // Two series of the left side may come to the same labels, at different moments.
        match results.entry(labels) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                let labels = entry.key().clone();
                entry.insert(Series { labels, points });
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                for (known, point) in entry.get_mut().points.iter_mut().zip(points) {
                    if known.is_some() && point.is_some() {
                        return Err(duplicates(&shared, "left"));
                    }
                    *known = known.or(point);
                }
            }
        }
    }
    Ok(Value::unordered(results.into_values().collect()))
}

fn duplicates(labels: &Labels, side: &str) -> QueryError {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    QueryError::Execution(format!(
        "found duplicate series for the match group {{{}}} on the {side} hand-side of the \
         operation; many-to-many matching not allowed: matching labels must be unique on one side",
        labels.join(", ")
    ))
}
