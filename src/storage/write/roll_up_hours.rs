//! Roll-up of the hours that are over, into their days and all time.

use sqlx::SqliteConnection;

use crate::domain::Hour;

/// Rolls up the hours before `now`; a day at a time, since after an import or a take-over there are
/// years of them.
pub async fn roll_up_hours(transaction: &mut SqliteConnection, now: Hour) -> sqlx::Result<()> {
    let now = now.number();
    loop {
        let until = sqlx::query_scalar!(
            r#"SELECT min(?1, 24 + max(position, (
                          SELECT coalesce(min(period), ?1) FROM rollups
                          WHERE span = 1 AND period >= position
                      ))) AS "until!: i64"
               FROM watermarks WHERE name = 'rolled_up' AND position < ?1"#,
            now
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(until) = until else {
            return Ok(());
        };
        sqlx::query_file!("src/storage/write/roll_up_hours.sql", until, until, until)
            .execute(&mut *transaction)
            .await?;
    }
}
