//! Storing of a batch of reports, with the counts of their hours.

use jiff::Timestamp;

use super::Open;
use crate::{
    domain::{Report, ReportKind},
    storage::{instance_key, json},
};

/// Position of an import: its source, and the last row of the source that is stored.
pub type ImportPosition<'a> = (&'a str, i64);

impl Open {
    /// Stores reports, each with the time at which it was received, in milliseconds since 1970 or as
    /// [`crate::domain::undated`], and the position of an import,
    /// in one transaction that is synced to disk.
    pub async fn store_batch(
        &mut self,
        reports: impl Iterator<Item = (i64, &Report)>,
        position: Option<ImportPosition<'_>>,
    ) -> sqlx::Result<()> {
        self.profiles.begin_batch();
        let mut rows = Vec::with_capacity(reports.size_hint().0);
        for (received_at, report) in reports {
            rows.push((
                received_at,
                instance_key::to_hex(&report.instance_id),
                self.profiles.number(&mut self.connection, &report.profile).await?,
                i32::from(report.kind == ReportKind::Heartbeat),
                report.startup_ms,
                report.timestamp.map(Timestamp::as_millisecond),
            ));
        }
        let count = rows.len();
        let (rows, (source, last_row)) = (json::encode(&rows)?, position.unzip());
        sqlx::query_file!("src/storage/write/store_batch.sql", rows, source, last_row)
            .execute(&mut self.connection)
            .await?;
        self.unindexed = self.unindexed.saturating_add(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{Dimension, ReportBody},
        storage::Database,
    };

    fn report(id: &str) -> Report {
        let body = ReportBody { instance_id: Some(id.into()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// An import beside a server uses up the names of systems that the server would keep apart.
    #[tokio::test]
    async fn profiles_of_another_process_count_against_the_bounds() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let with = |os: String| {
            let (id, os) = (Some("a".into()), Some(os));
            let body = ReportBody { instance_id: id, os, ..ReportBody::default() };
            body.into_report().unwrap()
        };
        let mut server = database.writer();
        server.store(now, &[with("ours".into())]).await.unwrap();
        let mut import = database.writer();
        let many: Vec<Report> = (0..200).map(|number| with(format!("os{number}"))).collect();
        import.store(now, &many).await.unwrap();
        import.close().await.unwrap();
        server.store(now, &[with("late".into()), with("os1".into())]).await.unwrap();
        let profiles = database.profiles().await.unwrap();
        let systems: Vec<_> =
            profiles.iter().map(|(_, profile)| &**profile.get(Dimension::Os)).collect();
        assert!(systems.contains(&"os1") && systems.contains(&"other"), "{systems:?}");
        assert!(!systems.contains(&"late"), "{systems:?}");
    }

    #[tokio::test]
    async fn a_batch_of_nothing_counts_nothing() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let mut writer = database.writer();
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        writer.store(now, &[report("a"), report("b")]).await.unwrap();
        let stored =
            writer.run(async |open| open.store_batch([].into_iter(), Some(("source", 7))).await);
        stored.await.unwrap();
        assert_eq!(database.totals().await.unwrap().starts, 2);
    }
}
