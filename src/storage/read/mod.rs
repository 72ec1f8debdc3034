//! Reading: the answers out of the database, one file a question, over `table` and `stretches`.

mod active;
mod activity_at;
mod adoptions;
mod all_time;
mod calendar;
mod export;
mod instances_at;
mod listed;
mod newest_reports;
mod numbers_of_time;
mod outages;
mod packed;
mod profiles;
mod public_numbers;
mod samples;
mod starts_at;
mod startup;
mod stretches;
mod table;
mod timeseries;
mod values;

pub use active::ActiveInstances;
pub use activity_at::Activity;
pub(super) use activity_at::ActivityNow;
pub use adoptions::Adoption;
pub use all_time::{Breakdown, Totals};
pub use calendar::{CohortCount, WindowCount};
pub use newest_reports::{ReportFilter, StoredReport};
pub use outages::Silence;
pub use startup::StartupBreakdown;
pub use table::{Groups, Table, groups_by};
pub use timeseries::{Interval, Period};
pub use values::{ListedValue, ValueState};

#[cfg(test)]
mod tests {
    use sqlx::Row as _;
    use tempfile::TempDir;

    use crate::storage::Database;

    /// Rows of a time are found by the key. A walk over all of them gives the same answer, ten times
    /// slower over a year.
    #[tokio::test]
    async fn the_rows_of_a_time_are_found_by_their_key() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        for (statement, table) in [
            (include_str!("starts_at.sql"), "rollups"),
            (include_str!("startup.sql"), "startup_times"),
            (include_str!("timeseries.sql"), "rollups"),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = sqlx::query(explain)
                .fetch_all(&mut *database.reader().await.unwrap())
                .await
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
            let search =
                format!("SEARCH {table} USING PRIMARY KEY (span=? AND period>? AND period<?)");
            assert!(plan.contains(&search), "{plan:#?}");
        }
    }
}
