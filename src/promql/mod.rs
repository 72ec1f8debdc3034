//! A part of PromQL, evaluated over what storage has counted.
//!
//! An expression becomes (`parse`) a plan, which names every series that it needs (`plan`); these
//! are read (`read`); the rest is arithmetic over columns of numbers (`evaluate`). What is understood,
//! and where it differs from Prometheus, stands in `docs/prometheus-api.md`.

mod aggregate;
mod binary;
mod error;
mod evaluate;
mod matcher;
mod parse;
mod plan;
mod quantile;
mod read;
mod selection;
mod selector;
mod series;

use std::time::Duration;

use jiff::Timestamp;

pub use error::QueryError;

pub use parse::duration;
pub use selection::Selection;
pub use series::{Grid, Labels, NAME, Series};

use crate::storage::Database;
use evaluate::Value;
use plan::{Plan, Root};
use selector::Selector;

/// Most moments of one query, as in Prometheus.
pub const MAX_STEPS: usize = 11_000;
/// Most series of one answer.
pub const MAX_SERIES: usize = 10_000;
/// Most values that one query may hold: moments times series.
const MAX_VALUES: usize = 500_000;
/// What a series costs besides its values, in values: its labels.
const VALUES_PER_SERIES: usize = 32;
/// Time for one query.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What an expression came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number at each moment.
    Scalar(Vec<f64>),
    /// Series with a value at each moment where they have one, in the order of the answer.
    Vector(Vec<Series>),
    /// Series with the samples of a range before the moment, on a grid of their own.
    Matrix(Grid, Vec<Series>),
}

/// Evaluates an expression at one moment, in milliseconds since 1970.
///
/// # Errors
/// See [`QueryError`].
pub async fn query(
    database: &Database,
    now: Timestamp,
    expression: &str,
    time: i64,
) -> Result<Answer, QueryError> {
    run_in_time(database, now, parse::expression(expression)?, Grid::at(time)).await
}

/// Evaluates an expression at each moment of a grid.
///
/// # Errors
/// See [`QueryError`].
pub async fn query_range(
    database: &Database,
    now: Timestamp,
    expression: &str,
    grid: Grid,
) -> Result<Answer, QueryError> {
    if grid.count > MAX_STEPS {
        return Err(QueryError::BadData(format!(
            "exceeded maximum resolution of {MAX_STEPS} points per timeseries. \
             Try decreasing the query resolution (?step=XX)"
        )));
    }
    let plan = parse::expression(expression)?;
    if matches!(plan.root, Root::Range { .. }) {
        return Err(QueryError::BadData(
            "invalid expression type \"range vector\" for range query, \
             must be Scalar or instant Vector"
                .into(),
        ));
    }
    run_in_time(database, now, plan, grid).await
}

async fn run_in_time(
    database: &Database,
    now: Timestamp,
    plan: Plan,
    grid: Grid,
) -> Result<Answer, QueryError> {
    tokio::time::timeout(TIME_LIMIT, run(database, now, plan, grid))
        .await
        .unwrap_or(Err(QueryError::Timeout(TIME_LIMIT)))
}

async fn run(
    database: &Database,
    now: Timestamp,
    plan: Plan,
    grid: Grid,
) -> Result<Answer, QueryError> {
    let root = match plan.root {
        Root::Range { selector, range_ms } => {
            let samples = selector.samples_within(grid.start, range_ms)?;
            // The offset is in the samples' own times.
            let selector = Selector { offset_ms: 0, ..selector };
            let mut series = read::read(database, now, samples, &selector.into()).await?;
            series.retain(|series| series.points.iter().any(Option::is_some));
            return Ok(Answer::Matrix(samples, series));
        }
        Root::Node(node) => node,
    };
    let mut columns = Vec::with_capacity(plan.reads.len());
    let mut values = 0;
    for wanted in &plan.reads {
        let series = read::read(database, now, grid, wanted).await?;
        values += series.len() * (grid.count + VALUES_PER_SERIES);
        read::check_size(values)?;
        columns.push(series);
    }
    // Not on a thread that others wait for.
    let evaluated =
        tokio::task::spawn_blocking(move || evaluate::evaluate(&root, &mut columns, grid.count))
            .await;
    let evaluated = evaluated
        .unwrap_or_else(|_| Err(QueryError::Execution("the query was given up".into())))?;
    Ok(match evaluated {
        Value::Scalar(numbers) => Answer::Scalar(numbers),
        Value::Vector { mut series, ordered } => {
            series.retain(|series| series.points.iter().any(Option::is_some));
            if !ordered || grid.count > 1 {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Answer::Vector(series)
        }
    })
}
