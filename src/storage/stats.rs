//! Answers over the whole history, out of the rollups.

use std::{collections::HashMap, sync::Arc};

use sqlx::SqliteConnection;

use super::{Database, Result, time};
use crate::domain::{BUCKETS, Dimension, Profile, StartupTimes};

/// What all reports together come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Reports of a start.
    pub starts: u64,
    /// Reports of a container that is still running.
    pub heartbeats: u64,
    /// Distinct instance ids.
    pub instances: u64,
    /// Ids seen on two or more days.
    pub returning_instances: u64,
    /// Startup times of all starts.
    pub startup: StartupTimes,
}

/// How many starts reported one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// The value.
    pub value: String,
    /// Starts.
    pub starts: u64,
}

/// Startup times of the starts that reported one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupBreakdown {
    /// The value; empty where no dimension was asked for.
    pub value: String,
    /// Their startup times.
    pub startup: StartupTimes,
}

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
    /// Length in hours, which is also the `span` of its rollups.
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
    /// Its first hour, in hours since 1970.
    pub hour: i64,
    /// The value of the dimension; empty where none was asked for.
    pub value: String,
    /// Starts.
    pub starts: u64,
    /// Heartbeats.
    pub heartbeats: u64,
}

impl Period {
    /// When the period began.
    #[must_use]
    pub fn time(&self) -> jiff::Timestamp {
        time::start_of_hour(self.hour)
    }
}

impl Database {
    /// Counts over everything that was ever reported.
    ///
    /// # Errors
    /// What the database says.
    pub async fn totals(&self) -> Result<Totals> {
        let mut snapshot = self.readers.begin().await?;
        Ok(totals(&mut snapshot).await?)
    }

    /// Starts by the values of a dimension, most first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn breakdown(&self, dimension: Dimension) -> Result<Vec<Breakdown>> {
        let mut connection = self.readers.acquire().await?;
        Ok(breakdown(&mut connection, dimension).await?)
    }

    /// Totals and some breakdowns that agree with each other.
    ///
    /// # Errors
    /// What the database says.
    pub async fn summary<const N: usize>(
        &self,
        dimensions: [Dimension; N],
    ) -> Result<(Totals, [Vec<Breakdown>; N])> {
        let mut snapshot = self.readers.begin().await?;
        let totals = totals(&mut snapshot).await?;
        let mut breakdowns = [const { Vec::new() }; N];
        for (counts, dimension) in breakdowns.iter_mut().zip(dimensions) {
            *counts = breakdown(&mut snapshot, dimension).await?;
        }
        Ok((totals, breakdowns))
    }

    /// Starts of each profile, of all time.
    ///
    /// # Errors
    /// What the database says.
    pub async fn starts_by_profile(&self) -> Result<Vec<(Arc<Profile>, u64)>> {
        let rows = sqlx::query!(
            r#"SELECT profile AS "profile!", sum(starts) AS "starts!: i64" FROM rollups
               WHERE span = 0 OR span = 1 AND period >= (SELECT hour FROM running)
               GROUP BY profile HAVING sum(starts) > 0"#
        )
        .fetch_all(&self.readers)
        .await?;
        let starts: HashMap<i64, u64> =
            rows.into_iter().map(|row| (row.profile, count(row.starts))).collect();
        let profiles = self.profiles().await?;
        Ok(profiles
            .iter()
            .filter_map(|(number, profile)| Some((Arc::clone(profile), *starts.get(number)?)))
            .collect())
    }

    /// Startup times by the values of a dimension, or of all starts together; of all time, or
    /// of the days from `since` to before `until` (in hours since 1970).
    ///
    /// # Errors
    /// What the database says.
    pub async fn startup(
        &self,
        by: Option<Dimension>,
        days: Option<(i64, i64)>,
    ) -> Result<Vec<StartupBreakdown>> {
        let (span, from, to) = match days {
            None => (0, 0, 1),
            Some((since, until)) => (24, since, until),
        };
        let mut connection = self.readers.acquire().await?;
        Ok(startup_times(&mut connection, by, span, from, to).await?)
    }

    /// Reports by period, and by the values of a dimension if one is given, from the period
    /// that begins at hour `from` to before hour `to`: the first `limit` rows. Periods without a
    /// report are left out.
    ///
    /// # Errors
    /// What the database says.
    pub async fn timeseries(
        &self,
        interval: Interval,
        by: Option<Dimension>,
        from: i64,
        to: i64,
        limit: u32,
    ) -> Result<Vec<Period>> {
        let (span, name) = (interval.hours(), by.map_or("", Dimension::name));
        let rows = sqlx::query!(
            r#"SELECT period AS "period!: i64",
                      CASE ?1
                          WHEN 'image_version' THEN image_version
                          WHEN 'architecture' THEN architecture
                          WHEN 'os' THEN os
                          WHEN 'container_runtime' THEN container_runtime
                          WHEN 'db_type' THEN db_type
                          WHEN 'telemetry_version' THEN telemetry_version
                          ELSE ''
                      END AS "value!: String",
                      sum(starts) AS "starts!: i64",
                      sum(heartbeats) AS "heartbeats!: i64"
               FROM (
                   SELECT period, profile, starts, heartbeats FROM rollups
                   WHERE span = ?2 AND period >= ?3 AND period < ?4
                   UNION ALL
                   SELECT period - period % ?2, profile, starts, heartbeats FROM rollups
                   WHERE ?2 <> 1 AND span = 1 AND period >= (SELECT hour FROM running)
                       AND period >= ?3 AND period < ?4
               ) AS counts
               INNER JOIN profiles ON profiles.id = counts.profile
               GROUP BY 1, 2
               ORDER BY 1, 2
               LIMIT ?5"#,
            name,
            span,
            from,
            to,
            limit
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Period {
                hour: row.period,
                value: row.value,
                starts: count(row.starts),
                heartbeats: count(row.heartbeats),
            })
            .collect())
    }
}

async fn totals(snapshot: &mut SqliteConnection) -> sqlx::Result<Totals> {
    let row = sqlx::query!(
        r#"SELECT instances AS "instances!: i64", returning_instances AS "returning!: i64",
                  coalesce(sum(starts), 0) AS "starts!: i64",
                  coalesce(sum(heartbeats), 0) AS "heartbeats!: i64"
           FROM totals LEFT JOIN rollups
               ON span = 0 OR span = 1 AND period >= (SELECT hour FROM running)"#
    )
    .fetch_one(&mut *snapshot)
    .await?;
    let startup = startup_times(snapshot, None, 0, 0, 1).await?;
    Ok(Totals {
        starts: count(row.starts),
        heartbeats: count(row.heartbeats),
        instances: count(row.instances),
        returning_instances: count(row.returning),
        startup: startup.into_iter().next().map(|all| all.startup).unwrap_or_default(),
    })
}

async fn breakdown(
    connection: &mut SqliteConnection,
    dimension: Dimension,
) -> sqlx::Result<Vec<Breakdown>> {
    let name = dimension.name();
    let rows = sqlx::query!(
        r#"SELECT CASE ?1
                      WHEN 'image_version' THEN image_version
                      WHEN 'architecture' THEN architecture
                      WHEN 'os' THEN os
                      WHEN 'container_runtime' THEN container_runtime
                      WHEN 'db_type' THEN db_type
                      ELSE telemetry_version
                  END AS "value!: String",
                  sum(starts) AS "starts!: i64"
           FROM rollups INNER JOIN profiles ON profiles.id = rollups.profile
           WHERE span = 0 OR span = 1 AND period >= (SELECT hour FROM running)
           GROUP BY 1
           HAVING sum(starts) > 0
           ORDER BY 2 DESC, 1"#,
        name
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Breakdown { value: row.value, starts: count(row.starts) })
        .collect())
}

async fn startup_times(
    connection: &mut SqliteConnection,
    by: Option<Dimension>,
    span: i64,
    from: i64,
    to: i64,
) -> sqlx::Result<Vec<StartupBreakdown>> {
    let name = by.map_or("", Dimension::name);
    let rows = sqlx::query_file!("src/storage/sql/startup_times.sql", name, span, from, to)
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|row| {
            let buckets: [u64; BUCKETS] = serde_json::from_str(&row.buckets)
                .map_err(|error| sqlx::Error::Decode(error.into()))?;
            let startup = StartupTimes { sum_ms: count(row.sum_ms), buckets };
            Ok(StartupBreakdown { value: row.value, startup })
        })
        .collect()
}

/// A count, which the database stores as a signed number.
pub(super) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
