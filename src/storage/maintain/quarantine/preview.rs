//! Reports that a quarantine would take, before it does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::FromRow;

use super::{
    super::{
        import::{has_pruned, sort_on_disk},
        report_changes::indexed,
    },
    match_reports::match_reports,
};
use crate::{
    domain::{Dimension, OTHER, Selection},
    storage::{Result, Writer, profiles},
};

/// Reports that a quarantine would take.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Stored reports.
    pub stored: i64,
    /// Reports that it would take.
    pub reports: i64,
    /// Heartbeats among them.
    pub heartbeats: i64,
    /// Instances that sent them.
    pub instances: i64,
    /// Those of them that sent no other report.
    pub whole_instances: i64,
    /// First and last time of receipt, of those that have one.
    pub times: Option<(Timestamp, Timestamp)>,
    /// True if single reports were pruned: their counts are taken by value and time, in whole hours.
    pub pruned: bool,
    /// Reports by stated value, most reports first, of each dimension.
    pub values: Vec<(Dimension, Vec<(String, i64)>)>,
}

#[derive(Debug, FromRow)]
struct Sums {
    stored: i64,
    reports: i64,
    heartbeats: i64,
    first: Option<i64>,
    last: Option<i64>,
    instances: i64,
    whole: i64,
}

impl Writer {
    /// Finds out which reports a quarantine would take, beside a server.
    ///
    /// # Errors
    /// The database's error.
    pub async fn preview_quarantine(&mut self, selection: &Selection) -> Result<Preview> {
        self.run(async |open| {
            let connection = &mut open.connection;
            sort_on_disk(connection).await?;
            let last = indexed(connection).await?;
            match_reports(connection, selection, 0, last).await?;
            let sums: Sums =
                sqlx::query_as(include_str!("preview.sql")).fetch_one(&mut *connection).await?;
            let by_profile: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT profile, count(*) FROM reports
                 WHERE id IN (SELECT report FROM temp.matched) GROUP BY profile",
            )
            .fetch_all(&mut *connection)
            .await?;
            let unproven: Vec<(String, String, i64)> = sqlx::query_as(
                "SELECT dimension, value, count(*) FROM unproven_values
                 WHERE report IN (SELECT report FROM temp.matched) GROUP BY dimension, value",
            )
            .fetch_all(&mut *connection)
            .await?;
            let all = profiles::after(connection, 0).await?;
            let mut values: Vec<BTreeMap<String, i64>> =
                vec![BTreeMap::new(); Dimension::ALL.len()];
            for (number, reports) in by_profile {
                let Some(profile) = profiles::find(&all, number) else { continue };
                for dimension in Dimension::ALL {
                    let value = profile.get(dimension).to_string();
                    *values[dimension as usize].entry(value).or_default() += reports;
                }
            }
            for (dimension, value, reports) in unproven {
                let Some(dimension) = Dimension::named(&dimension) else { continue };
                let values = &mut values[dimension as usize];
                *values.entry(OTHER.to_owned()).or_default() -= reports;
                *values.entry(value).or_default() += reports;
            }
            let sorted = |values: BTreeMap<String, i64>| {
                let mut values: Vec<_> =
                    values.into_iter().filter(|(_, count)| *count > 0).collect();
                values.sort_by_key(|(_, count)| -count);
                values
            };
            let pruned = has_pruned(&mut *connection).await?;
            let time = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            Ok(Preview {
                stored: sums.stored,
                reports: sums.reports,
                heartbeats: sums.heartbeats,
                instances: sums.instances,
                whole_instances: sums.whole,
                times: time(sums.first).zip(time(sums.last)),
                pruned,
                values: Dimension::ALL.into_iter().zip(values.into_iter().map(sorted)).collect(),
            })
        })
        .await
    }
}
