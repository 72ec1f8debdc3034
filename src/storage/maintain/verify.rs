//! Verification: a recount of all counts but the snapshots, compared with the stored ones.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::{
    recount::{self, instances::Rule},
    recount_calendar::differences,
};
use crate::{
    domain::{Hour, Window},
    storage::{Database, Result, packed_days, report_lists, write::last_end},
};

/// Result of a recount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Reports that are stored.
    pub reports: i64,
    /// Changes that are not finished, which explain differences.
    pub unfinished: Vec<&'static str>,
    /// Each comparison, and the number of its differences; 0 is correct.
    pub checks: Vec<(&'static str, i64)>,
}

impl Verdict {
    /// True if nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|(_, differences)| *differences == 0)
    }
}

impl Database {
    /// Compares the counts, the startup times, the instances, the activity, the totals, the reports by
    /// profile, the hours of blocks and the windows of the calendar with a recount, and has SQLite check the
    /// file. Reads everything: minutes for ten million reports.
    ///
    /// # Errors
    /// The database's error.
    pub async fn verify(&self, now: Timestamp) -> Result<Verdict> {
        let mut connection = self.reader().await?;
        // All reports are sorted, so on disk and not in memory.
        sqlx::query("PRAGMA temp_store = file").execute(&mut *connection).await?;
        // A sort writes parts of this size, and merging many parts takes more memory than larger ones.
        sqlx::query("PRAGMA cache_size = -4000").execute(&mut *connection).await?;
        let mut snapshot = connection.begin().await?;
        let reports =
            sqlx::query_scalar!("SELECT count(*) FROM reports").fetch_one(&mut *snapshot).await?;
        let [counts, startup_times] = recount::counts::find(&mut snapshot).await?;
        recount::counts::forget(&mut snapshot).await?;
        let packed = packed_days::differences(&mut snapshot).await?;
        let (instances, calendar) = recount::instances::find(&mut snapshot, Rule::Bounds).await?;
        recount::instances::forget(&mut snapshot).await?;
        // The clock may be wrong.
        let closed = last_end(&mut snapshot, Hour::of(now)).await?;
        let since = Window::LONGEST.first_hour(closed.max(Hour::of(now))).number();
        let activity = sqlx::query_file_scalar!("src/storage/maintain/verify_activity.sql", since)
            .fetch_one(&mut *snapshot)
            .await?;
        let by_profile = report_lists::wrong(&mut snapshot).await?;
        let blocks = sqlx::query_file_scalar!("src/storage/maintain/verify_report_blocks.sql")
            .fetch_one(&mut *snapshot)
            .await?;
        let calendar = differences(&mut snapshot, &calendar).await?;
        let orders = sqlx::query!(
            r#"SELECT EXISTS (SELECT 1 FROM quarantines WHERE state = 'applying') AS "applying!: bool",
                   EXISTS (SELECT 1 FROM quarantines WHERE state = 'lifting') AS "lifting!: bool",
                   EXISTS (SELECT 1 FROM purges WHERE instance IS NOT NULL) AS "purging!: bool",
                   EXISTS (SELECT 1 FROM repairs WHERE done = 0) AS "repairing!: bool",
                   EXISTS (SELECT 1 FROM corrections) AS "correcting!: bool""#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let unfinished = [
            (orders.applying, "a quarantine is being applied"),
            (orders.lifting, "a quarantine is being lifted"),
            (orders.purging, "an instance is being purged"),
            (orders.repairing, "a repair is running"),
            (orders.correcting, "times of reports are being corrected"),
        ];
        let unfinished = unfinished.into_iter().filter(|(some, _)| *some).map(|(_, what)| what);
        let profiles = sqlx::query_scalar!(
            r#"SELECT count(*) AS "orphans!: i64" FROM reports
               WHERE profile NOT IN (SELECT id FROM profiles)"#
        )
        .fetch_one(&mut *snapshot)
        .await?;
        let file: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *snapshot).await?;
        let file = file.iter().filter(|finding| *finding != "ok").count();

        Ok(Verdict {
            reports,
            unfinished: unfinished.collect(),
            checks: vec![
                ("counts against reports", counts),
                ("startup times against reports", startup_times),
                ("packed days against counts and startup times", packed),
                ("instances against reports", instances),
                ("activity and totals against instances", activity),
                ("reports by profile against reports", by_profile),
                ("hours of blocks against reports", blocks),
                ("windows of the calendar against reports", calendar),
                ("reports without a profile", profiles),
                ("findings of SQLite's integrity check", i64::try_from(file).unwrap_or(i64::MAX)),
            ],
        })
    }
}
