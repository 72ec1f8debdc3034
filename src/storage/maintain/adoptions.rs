//! Adoption of versions: when half of the active instances ran one. It is found in the snapshots.

use sqlx::{Connection as _, SqliteConnection};

use crate::storage::{Result, Writer};

/// Snapshots that are looked at in one transaction, each some ten kilobytes.
const SNAPSHOTS_AT_A_TIME: i64 = 12;

impl Writer {
    /// Looks at some of the snapshots that are new. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's error.
    pub async fn find_adoptions(&mut self) -> Result<bool> {
        self.run(async |open| find(&mut open.connection).await).await
    }
}

async fn find(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let hours = sqlx::query!(
        r#"SELECT position AS after, (
               SELECT max(hour) FROM (
                   SELECT hour FROM snapshots WHERE hour > position ORDER BY hour LIMIT ?
               )
           ) AS "last: i64"
           FROM watermarks WHERE name = 'adopted'"#,
        SNAPSHOTS_AT_A_TIME
    )
    .fetch_one(&mut *transaction)
    .await?;
    let Some(last) = hours.last else { return Ok(false) };
    sqlx::query_file!("src/storage/maintain/find_adoptions.sql", hours.after, last)
        .execute(&mut *transaction)
        .await?;
    sqlx::query!("UPDATE watermarks SET position = ? WHERE name = 'adopted'", last)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Forgets what was found in the snapshots after an hour, which were made anew.
pub async fn forget(connection: &mut SqliteConnection, hour: i64) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query!("DELETE FROM adoptions WHERE hour > ?", hour).execute(&mut *transaction).await?;
    sqlx::query!("UPDATE watermarks SET position = min(position, ?) WHERE name = 'adopted'", hour)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
