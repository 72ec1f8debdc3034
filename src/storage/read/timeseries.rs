//! Reports by hour or day.

use sqlx::Connection as _;

use super::table::{count, groups_by};
use crate::{
    domain::{Dimension, Hour, Value},
    storage::{Database, Result, json},
};

/// Length of the periods of a time series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Clock hours, UTC.
    Hour,
    /// Days, UTC.
    Day,
}

impl Interval {
    /// Length in hours, which is also the span of its counts.
    #[must_use]
    pub const fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
        }
    }
}

/// Counts of one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// First hour.
    pub hour: Hour,
    /// The value of the dimension; `None` where none was asked for.
    pub value: Option<Value>,
    /// Starts.
    pub starts: u64,
    /// Heartbeats.
    pub heartbeats: u64,
}

impl Database {
    /// Reports by period, and by the values of a dimension if one is given, from the period
    /// that begins at hour `from` to before hour `until`: the first `limit` of them, in the order of
    /// the periods. Periods without a report are left out.
    ///
    /// # Errors
    /// The database's error.
    pub async fn timeseries(
        &self,
        interval: Interval,
        dimension: Option<Dimension>,
        from: Hour,
        until: Hour,
        limit: u32,
    ) -> Result<Vec<Period>> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.begin().await?;
        let profiles = self.profiles_in(&mut snapshot).await?;
        let (groups, values) = groups_by(&profiles, dimension);
        let (span, groups) = (interval.hours(), json::encode(&groups)?);
        let (from, until) = (from.number(), until.number());
        let rows =
            sqlx::query_file!("src/storage/read/timeseries.sql", span, from, until, groups, limit)
                .fetch_all(&mut *snapshot)
                .await?;
        let mut periods: Vec<Period> = rows
            .into_iter()
            .map(|row| Period {
                hour: Hour::new(row.period),
                value: usize::try_from(row.member).ok().and_then(|group| values[group].clone()),
                starts: count(row.starts),
                heartbeats: count(row.heartbeats),
            })
            .collect();
        periods.sort_by(|a, b| (a.hour, &a.value).cmp(&(b.hour, &b.value)));
        Ok(periods)
    }
}
