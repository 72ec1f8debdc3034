//! Instances that reported within a window, out of `activity`.

use jiff::Timestamp;

use super::{Database, Result, stats::count, time};
use crate::domain::Dimension;

/// The windows, in hours: 24 h, 7 d, 30 d.
pub const WINDOWS_HOURS: [i64; 3] = [24, 168, 720];
/// Their names.
pub const WINDOW_NAMES: [&str; 3] = ["24h", "7d", "30d"];

/// How many instances reported within each of [`WINDOWS_HOURS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActiveInstances {
    /// The value of the dimension in the latest report of these instances; empty where no
    /// dimension was asked for.
    pub value: String,
    /// Distinct instances, by window.
    pub instances: [u64; 3],
    /// Those of them that were seen on two or more days, by window.
    pub returning: [u64; 3],
}

impl Database {
    /// When a window that ends now begins: whole hours back from the start of the present
    /// one, so that it is never shorter than its name.
    #[must_use]
    pub fn window_start(now: Timestamp, hours: i64) -> Timestamp {
        time::start_of_hour(time::hour(now) - hours)
    }

    /// Active instances now, by the values of a dimension if one is given, most first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn active(
        &self,
        now: Timestamp,
        by: Option<Dimension>,
    ) -> Result<Vec<ActiveInstances>> {
        let (hour, name) = (time::hour(now), by.map_or("", Dimension::name));
        let rows = sqlx::query!(
            r#"WITH active AS MATERIALIZED (
                   SELECT
                       profile,
                       coalesce(sum(instances) FILTER (WHERE hour >= ?2 - 24), 0) AS a1,
                       coalesce(sum(instances) FILTER (WHERE hour >= ?2 - 168), 0) AS a7,
                       sum(instances) AS a30,
                       coalesce(sum(returning_instances) FILTER (WHERE hour >= ?2 - 24), 0) AS r1,
                       coalesce(sum(returning_instances) FILTER (WHERE hour >= ?2 - 168), 0) AS r7,
                       sum(returning_instances) AS r30
                   FROM activity
                   WHERE hour >= ?2 - 720
                   GROUP BY profile
               )
               SELECT CASE ?1
                          WHEN 'image_version' THEN image_version
                          WHEN 'architecture' THEN architecture
                          WHEN 'os' THEN os
                          WHEN 'container_runtime' THEN container_runtime
                          WHEN 'db_type' THEN db_type
                          WHEN 'telemetry_version' THEN telemetry_version
                          ELSE ''
                      END AS "value!: String",
                      sum(a1) AS "a1!: i64", sum(a7) AS "a7!: i64", sum(a30) AS "a30!: i64",
                      sum(r1) AS "r1!: i64", sum(r7) AS "r7!: i64", sum(r30) AS "r30!: i64"
               FROM active INNER JOIN profiles ON profiles.id = active.profile
               GROUP BY 1
               HAVING sum(a30) > 0
               ORDER BY sum(a30) DESC, 1"#,
            name,
            hour
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ActiveInstances {
                value: row.value,
                instances: [row.a1, row.a7, row.a30].map(count),
                returning: [row.r1, row.r7, row.r30].map(count),
            })
            .collect())
    }
}
