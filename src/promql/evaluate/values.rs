//! Values of the parts of an expression.

use std::collections::HashSet;

use crate::promql::{
    error::{QueryError, Result},
    series::{NAME, Series},
};

/// The value of a part of an expression.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number at each moment.
    Scalar(Vec<f64>),
    /// Series; `ordered` if their order is part of the answer.
    Vector { series: Vec<Series>, ordered: bool },
}

impl Value {
    pub const fn unordered(series: Vec<Series>) -> Self {
        Self::Vector { series, ordered: false }
    }

    pub fn series(self) -> Result<Vec<Series>> {
        match self {
            Self::Vector { series, .. } => Ok(series),
            Self::Scalar(_) => Err(QueryError::BadData("expected series, got a number".into())),
        }
    }

    pub fn numbers(self) -> Result<Vec<f64>> {
        match self {
            Self::Scalar(numbers) => Ok(numbers),
            Self::Vector { .. } => Err(QueryError::BadData("expected a number, got series".into())),
        }
    }
}

/// Sorts series by their value at the first moment; NaN and nothing come last.
pub fn sort(series: &mut [Series], descending: bool) {
    let first = |series: &Series| series.points.first().copied().flatten().filter(|v| !v.is_nan());
    series.sort_by(|a, b| match (first(a), first(b)) {
        (Some(a), Some(b)) if descending => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
}

/// Series without their names, which an operation drops. Their other labels must still differ.
pub fn without_names(mut series: Vec<Series>) -> Result<Vec<Series>> {
    for one in &mut series {
        one.labels.remove(NAME);
    }
    let mut seen = HashSet::new();
    if series.iter().all(|one| seen.insert(&one.labels)) {
        Ok(series)
    } else {
        Err(QueryError::Execution("vector cannot contain metrics with the same labelset".into()))
    }
}
