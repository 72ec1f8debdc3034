//! The limits of one query. Each is checked before the memory is taken that it bounds.
//!
//! A client may ask for anything, and the server may be a small machine: a query within these limits
//! holds some thirty megabytes at most.

use std::time::Duration;

use super::error::{QueryError, Result};

/// Moments of one query. Prometheus has the same limit, and Grafana never asks for more.
pub const STEPS: usize = 11_000;
/// Series of one selector. No chart shows as many, and the labels of so many take some megabytes.
pub const SERIES: usize = 10_000;
/// Values that one query holds: moments times series. A value takes 16 bytes, so all take 8 MB.
pub const VALUES: usize = 500_000;
/// Values that a series counts as besides its own: its labels take about as many bytes.
pub const VALUES_PER_SERIES: usize = 32;
/// Seconds of one query. Others wait for their turn, and a person has given up by then.
pub const TIME: Duration = Duration::from_secs(10);
/// Bytes of one expression, and of a form: a variable with a thousand values that is used twice takes
/// half of it.
pub const EXPRESSION_BYTES: usize = 128 * 1024;
/// Operands, arguments and pairs of parentheses of one expression, and so its depth: each of them may
/// be a call on the stack, or a number at each moment. No person writes as many.
pub const PARTS: usize = 100;
/// Milliseconds of a thousand years. A range, an offset or a step is shorter, so that no sum of them
/// and a time overflows.
pub const DURATION_MS: i64 = 1000 * 365 * 86_400_000;
/// Regular expressions of one query. Each has a share of [`PATTERN_BYTES`].
pub const PATTERNS: usize = 20;
/// Bytes of the first regular expression of a query when it is compiled. An alternation of a thousand
/// beginnings of versions takes a third of it, and as much again for a group around it.
pub const PATTERN_BYTES: usize = 1024 * 1024;
/// Selectors (`match[]`) of one request. Each is read on its own.
pub const SELECTORS: usize = 50;

/// Checks the number of moments of a grid.
pub fn check_steps(count: usize) -> Result<()> {
    if count > STEPS {
        return Err(QueryError::BadData(format!(
            "exceeded maximum resolution of {STEPS} points per timeseries. \
             Try decreasing the query resolution (?step=XX)"
        )));
    }
    Ok(())
}

/// Checks the number of series of a selector.
pub fn check_series(count: usize) -> Result<()> {
    if count > SERIES {
        return Err(QueryError::Execution(format!("the query selects more than {SERIES} series")));
    }
    Ok(())
}

/// Checks the number of values of a query.
pub fn check_values(count: usize) -> Result<()> {
    if count > VALUES {
        return Err(QueryError::Execution(format!(
            "the query has to hold more than {VALUES} values: ask for less time, longer steps or \
             fewer series"
        )));
    }
    Ok(())
}

/// The amount that a query holds so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    series: usize,
    values: usize,
}

impl Held {
    /// The same amount before another selector is read: its series are counted from 0.
    #[must_use]
    pub const fn before_next_selector(self) -> Self {
        Self { series: 0, ..self }
    }

    /// Number of series of the selector that is read.
    pub const fn series(self) -> usize {
        self.series
    }

    /// The amount with more series, each with a value at each of some moments.
    ///
    /// # Errors
    /// If it is over a limit. The series must not be made then.
    pub fn with(self, series: usize, moments: usize) -> Result<Self> {
        let values = series.saturating_mul(moments.saturating_add(VALUES_PER_SERIES));
        let held = Self {
            series: self.series.saturating_add(series),
            values: self.values.saturating_add(values),
        };
        check_series(held.series)?;
        check_values(held.values)?;
        Ok(held)
    }

    /// Checks a table of counts that is held only while series are made of it.
    pub fn check_table(self, rows: usize, columns: usize) -> Result<()> {
        check_values(self.values.saturating_add(rows.saturating_mul(columns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_limited_by_selector_and_values_by_query() {
        let half = Held::default().with(SERIES / 2, 1).unwrap();
        assert!(half.with(SERIES / 2 + 1, 1).is_err());
        let all = half.before_next_selector().with(SERIES, 1).unwrap();
        let error = all.before_next_selector().with(1, 10_000).unwrap_err().to_string();
        assert!(error.starts_with("the query has to hold more than 500000 values"), "{error}");
        assert!(Held::default().with(usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn a_table_is_limited_with_what_is_held_beside_it() {
        Held::default().check_table(50, STEPS - 1000).unwrap();
        let held = Held::default().with(1, STEPS).unwrap();
        assert!(held.check_table(50, STEPS - 1000).is_err());
    }
}
