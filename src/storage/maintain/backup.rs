//! Backup: a consistent copy of the database.

use crate::storage::{Database, Result};

impl Database {
    /// Writes a consistent copy into a new file, while the server runs.
    ///
    /// # Errors
    /// The database's error, such as that the file exists.
    pub async fn backup(&self, file: &str) -> Result<()> {
        sqlx::query!("VACUUM INTO ?", file).execute(&mut *self.reader().await?).await?;
        Ok(())
    }
}
