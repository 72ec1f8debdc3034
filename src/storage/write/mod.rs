//! Writing: reports are stored a batch a transaction, then indexed and rolled up. Some are set aside
//! instead, by quarantines and purges. Samples of the server's own metrics are recorded, too.

mod fleet;
mod index_reports;
mod labels;
mod pack_days;
mod quarantines;
mod record_samples;
mod report_ids;
mod roll_up_hours;
mod set_aside;
mod store_batch;
mod traffic;
mod writer;

pub(super) use fleet::{Fleet, Snapshot, closed_until, last_end};
pub(super) use index_reports::INDEX_WITHIN;
pub(super) use labels::{Labels, Standing};
pub use quarantines::{Quarantine, QuarantineState};
pub use record_samples::{LONGEST_GAP, Sample, is_counter};
pub(super) use record_samples::{SAMPLES_KEPT_DAYS, minute};
pub use report_ids::Stored;
pub(super) use roll_up_hours::roll_up_hours;
pub(super) use set_aside::Purged;
pub(super) use store_batch::RowKey;
pub(super) use traffic::Traffic;
pub(super) use writer::Open;
pub use writer::Writer;

#[cfg(test)]
mod tests {
    use sqlx::Row as _;
    use tempfile::TempDir;

    use crate::storage::Database;

    /// Reports are grouped before they are added to the counts of an hour, a day and all time. SQLite otherwise groups
    /// them anew for each of the three, which gives the same counts and takes twice as long.
    #[tokio::test]
    async fn reports_are_grouped_once() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let programs = [include_str!("store_batch.sql"), include_str!("index_reports.sql")];
        let statements = programs.iter().flat_map(|program| program.split(";\n"));
        let of_spans: Vec<_> = statements.filter(|part| part.contains("AS span UNION")).collect();
        assert_eq!(of_spans.len(), programs.len());
        for statement in of_spans {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = sqlx::query(explain)
                .fetch_all(&mut *database.reader().await.unwrap())
                .await
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
            let place = |begin: &str| {
                let name = plan.iter().find_map(|step| step.strip_prefix(begin));
                let scan = format!("SCAN {}", name.unwrap_or_default());
                plan.iter().position(|step| *step == scan)
            };
            let (groups, spans) = (place("CO-ROUTINE "), place("MATERIALIZE "));
            assert!(groups.is_some() && groups < spans, "{plan:#?}");
        }
    }
}
