//! A walk over the history of each instance: the rows of `temp.history`, which `sort_history.sql` or
//! `recount/history.sql` makes. The table is not part of the schema, so this query cannot be checked against it when
//! compiled; the tests run it.

use sqlx::SqliteConnection;

use crate::storage::bundle::Bundle;

/// Reports that are read together.
const ROWS: i64 = 5_000;

/// One report in the history of its instance.
#[derive(Debug)]
pub struct Report<'a> {
    pub instance: &'a [u8],
    pub received_at: i64,
    pub id: i64,
    pub profile: i64,
    /// Where single reports were pruned: when its instance was first seen, in seconds since 1970.
    pub first_seen: Option<i64>,
    /// Where single reports were pruned: the number of days on which its instance was seen.
    pub days_seen: Option<i64>,
}

/// The walk: instance after instance, and the reports of each by time and number.
#[derive(Debug)]
pub struct History {
    /// Instance, time and number of the last report that was read.
    last: (Vec<u8>, i64, i64),
    bundle: Option<Vec<u8>>,
}

impl History {
    pub const fn new() -> Self {
        Self { last: (Vec::new(), i64::MIN, i64::MIN), bundle: None }
    }

    /// The next reports; none after the last one.
    pub async fn next(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Vec<Report<'_>>> {
        self.bundle = sqlx::query_scalar(
            "SELECT CAST(string_agg(report, '') AS BLOB) FROM (
                 SELECT
                     concat(
                         octet_length(instance), ':', instance, received_at, ' ', id, ' ',
                         profile, ' ', first_seen, ' ', days_seen, ' '
                     ) AS report
                 FROM temp.history
                 WHERE (instance, received_at, id) > (?, ?, ?)
                 ORDER BY instance, received_at, id LIMIT ?
             )",
        )
        .bind(&self.last.0)
        .bind(self.last.1)
        .bind(self.last.2)
        .bind(ROWS)
        .fetch_one(connection)
        .await?;
        let mut bundle = Bundle::new(self.bundle.as_deref());
        let mut reports = Vec::new();
        while !bundle.is_empty() {
            reports.push(Report {
                instance: bundle.bytes()?.unwrap_or_default(),
                received_at: bundle.some_number()?,
                id: bundle.some_number()?,
                profile: bundle.some_number()?,
                first_seen: bundle.number()?,
                days_seen: bundle.number()?,
            });
        }
        if let Some(last) = reports.last() {
            self.last = (last.instance.to_vec(), last.received_at, last.id);
        }
        Ok(reports)
    }
}
