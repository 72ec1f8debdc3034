//! A part of PromQL, evaluated over the counts in storage.
//!
//! An expression is parsed (`parse`) into a plan, which names all series that it needs (`plan`). These
//! are read from the database (`source`). The rest is arithmetic over columns of numbers
//! (`evaluate`). `docs/prometheus-api.md` lists the parts that are supported and the differences from
//! Prometheus.
//!
//! Modules point one way: `discovery` and `federation` → `source` → `parse` → `plan` → `selector` → `matcher` →
//! `series`, and `evaluate` → `plan`. `grouping` stands beside `matcher`; `limits` and `error` are below
//! all of them.

mod discovery;
mod error;
mod evaluate;
mod federation;
mod grouping;
mod limits;
mod matcher;
mod parse;
mod plan;
mod selector;
mod series;
mod source;

use std::sync::Arc;

use jiff::Timestamp;

pub use discovery::Discovery;
pub use error::QueryError;
pub use federation::{Federation, Present};
pub use limits::SERIES as MAX_SERIES;
pub use parse::{duration, expression as parse};
pub use plan::Plan;
pub use series::{Grid, Labels, NAME, Series};

use crate::storage::Database;
use error::Result;
use evaluate::Value;
use limits::Held;
use plan::{Node, Read, Root};
use selector::Selector;

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number at each moment.
    Scalar(Vec<f64>),
    /// Series with a value at each moment where they have one, in the order of the answer.
    Vector(Vec<Series>),
    /// Series with the samples of a range before the moment, on a grid of their own.
    Matrix(Grid, Vec<Series>),
}

/// Evaluates an expression at one moment, in milliseconds since 1970. Of a selector that selects too
/// many series, more than `limit` are read, and not all.
///
/// # Errors
/// See [`QueryError`].
pub async fn query(
    database: &Database,
    now: Timestamp,
    expression: &str,
    time: i64,
    limit: Option<usize>,
) -> Result<Answer> {
    run_in_time(database, now, parse::expression(expression)?, Grid::at(time), limit).await
}

/// Evaluates an expression at each moment of a grid. `limit` is as for [`query`].
///
/// # Errors
/// See [`QueryError`].
pub async fn query_range(
    database: &Database,
    now: Timestamp,
    expression: &str,
    grid: Grid,
    limit: Option<usize>,
) -> Result<Answer> {
    limits::check_steps(grid.count)?;
    let plan = parse::expression(expression)?;
    if matches!(plan.root, Root::Range { .. }) {
        return Err(QueryError::BadData(
            "invalid expression type \"range vector\" for range query, \
             must be Scalar or instant Vector"
                .into(),
        ));
    }
    run_in_time(database, now, plan, grid, limit).await
}

async fn run_in_time(
    database: &Database,
    now: Timestamp,
    plan: Plan,
    grid: Grid,
    limit: Option<usize>,
) -> Result<Answer> {
    tokio::time::timeout(limits::TIME, run(database, now, plan, grid, limit))
        .await
        .unwrap_or(Err(QueryError::Timeout(limits::TIME)))
}

async fn run(
    database: &Database,
    now: Timestamp,
    mut plan: Plan,
    grid: Grid,
    limit: Option<usize>,
) -> Result<Answer> {
    let root = match plan.root {
        Root::Range { selector, range_ms } => {
            let samples = selector.samples_within(grid.start, range_ms)?;
            // The times of the samples contain the offset.
            let selector = Selector { offset_ms: 0, ..selector };
            let wanted = Read { limit, ..selector.into() };
            let mut series =
                source::read(database, now, samples, &wanted, &mut Held::default()).await?;
            series.retain(Series::has_values);
            return Ok(Answer::Matrix(samples, series));
        }
        Root::Node(node) => node,
    };
    if let Node::Read(place) = root {
        plan.reads[place].limit = limit;
    }
    let mut held = Held::default();
    let mut columns = Vec::with_capacity(plan.reads.len());
    for wanted in &plan.reads {
        columns.push(source::read(database, now, grid, wanted, &mut held).await?);
    }
    // The arithmetic may take seconds, in which the threads that serve requests must not wait. It
    // ends early where nobody waits for it any more.
    let awaited = Arc::new(());
    let watched = Arc::downgrade(&awaited);
    let evaluated = tokio::task::spawn_blocking(move || {
        evaluate::evaluate(&root, &mut columns, grid.count, &watched)
    });
    let evaluated = evaluated
        .await
        .unwrap_or_else(|_| Err(QueryError::Execution("the query was cancelled".into())))?;
    drop(awaited);
    Ok(match evaluated {
        Value::Scalar(numbers) => Answer::Scalar(numbers),
        Value::Vector { mut series, ordered } => {
            series.retain(Series::has_values);
            if !ordered || grid.count > 1 {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Answer::Vector(series)
        }
    })
}
