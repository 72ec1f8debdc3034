//! Indexing of reports: instances, reports by profile and startup times.

use super::Open;

impl Open {
    /// Indexes all reports that are stored and unindexed.
    pub async fn index(&mut self) -> sqlx::Result<()> {
        sqlx::query_file!("src/storage/write/index_reports.sql")
            .execute(&mut self.connection)
            .await?;
        self.unindexed = 0;
        Ok(())
    }
}
