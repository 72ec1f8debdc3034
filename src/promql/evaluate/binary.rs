//! Arithmetic and comparison of two operands.

use std::collections::{BTreeMap, btree_map::Entry};

use super::values::{Value, without_names};
use crate::promql::{
    error::{QueryError, Result},
    grouping::Grouping,
    plan::{Binary, Operator},
    series::{Labels, NAME, Series},
};

/// Evaluates an operation at each moment.
pub fn operate(binary: &Binary, left: Value, right: Value) -> Result<Value> {
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let pairs = left.into_iter().zip(right);
            let numbers = pairs.map(|(left, right)| binary.operator.number(left, right));
            Ok(Value::Scalar(numbers.collect()))
        }
        (Value::Vector { series, .. }, Value::Scalar(numbers)) => {
            with_numbers(binary, series, &numbers, false)
        }
        (Value::Scalar(numbers), Value::Vector { series, .. }) => {
            with_numbers(binary, series, &numbers, true)
        }
        (Value::Vector { series: left, .. }, Value::Vector { series: right, .. }) => {
            one_to_one(binary, left, right)
        }
    }
}

impl Operator {
    /// The result of the operator; of a comparison 1 or 0.
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
    /// The result where both sides have a value. A comparison that is true gives `kept`.
    fn value(&self, left: f64, right: f64, kept: f64) -> Option<f64> {
        let number = self.operator.number(left, right);
        if self.operator.compares() && !self.gives_bool {
            (number > 0.0).then_some(kept)
        } else {
            Some(number)
        }
    }

    /// True if a series keeps its name: a comparison selects among series and does not change them.
    const fn keeps_name(&self) -> bool {
        self.operator.compares() && !self.gives_bool
    }
}

/// Evaluates the operation between series and the number at each moment.
fn with_numbers(
    binary: &Binary,
    mut series: Vec<Series>,
    numbers: &[f64],
    numbers_are_left: bool,
) -> Result<Value> {
    for one in &mut series {
        for (point, &number) in one.points.iter_mut().zip(numbers) {
            *point = point.and_then(|value| {
                let (left, right) =
                    if numbers_are_left { (number, value) } else { (value, number) };
                binary.value(left, right, value)
            });
        }
    }
    let series = if binary.keeps_name() { series } else { without_names(series)? };
    Ok(Value::unordered(series))
}

/// The values of a group of series at one moment.
#[derive(Debug, Clone, Copy)]
enum Partner {
    None,
    One(f64),
    Several,
}

/// The values at each moment of each group of series that have the same matching labels.
fn partners(matching: &Grouping, series: Vec<Series>) -> BTreeMap<Labels, Vec<Partner>> {
    let mut groups: BTreeMap<Labels, Vec<Partner>> = BTreeMap::new();
    for Series { labels, points } in series {
        let group = groups
            .entry(matching.apply(&labels))
            .or_insert_with(|| vec![Partner::None; points.len()]);
        for (partner, value) in group.iter_mut().zip(points) {
            if let Some(value) = value {
                *partner = match partner {
                    Partner::None => Partner::One(value),
                    Partner::One(_) | Partner::Several => Partner::Several,
                };
            }
        }
    }
    groups
}

/// Evaluates the operation between each series of the left side and the one of the right side whose
/// labels match.
fn one_to_one(binary: &Binary, left: Vec<Series>, right: Vec<Series>) -> Result<Value> {
    let groups = partners(&binary.matching, right);
    let mut results: BTreeMap<Labels, Series> = BTreeMap::new();
    for series in left {
        let shared = binary.matching.apply(&series.labels);
        let Some(partners) = groups.get(&shared) else {
            continue;
        };
        let mut points = Vec::with_capacity(series.points.len());
        for (value, partner) in series.points.iter().zip(partners) {
            points.push(match (value, partner) {
                (Some(value), Partner::One(partner)) => binary.value(*value, *partner, *value),
                (Some(_), Partner::Several) => return Err(duplicates(&shared, "right")),
                _ => None,
            });
        }
        let mut labels = match binary.matching {
            Grouping::By(_) => shared.clone(),
            Grouping::Without(_) => series
                .labels
                .into_iter()
                .filter(|(label, _)| label == NAME || binary.matching.keeps(label))
                .collect(),
        };
        if !binary.keeps_name() {
            labels.remove(NAME);
        }
        // Two series of the left side may get the same labels, at different moments.
        match results.entry(labels) {
            Entry::Vacant(entry) => {
                let labels = entry.key().clone();
                entry.insert(Series { labels, points });
            }
            Entry::Occupied(mut entry) => {
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
