//! Lists of an import that holds the database alone: made while its reports are indexed, and stored afterwards. Their
//! table is not part of the schema, so the queries that name it cannot be checked against it when compiled; the tests
//! run them.

use sqlx::{Connection as _, SqliteConnection};

use super::{LISTED_TOGETHER, NUMBERS_OF_BLOCK, blocks_from, lists_of, rows, set_listed};

/// Lists the reports of every block beside the index of all of them, into the table `temp.new_lists`. Returns the first
/// block that is not listed. Nobody else may list
/// meanwhile.
pub async fn list_aside(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let state = sqlx::query!(
        r#"SELECT position AS listed, (SELECT max(id) FROM reports) AS "last: i64"
           FROM watermarks WHERE name = 'listed'"#
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::raw_sql(
        "CREATE TEMP TABLE new_lists (
             profile INTEGER NOT NULL, block INTEGER NOT NULL, reports BLOB NOT NULL
         ) STRICT",
    )
    .execute(&mut *connection)
    .await?;
    let (mut listed, end) =
        (state.listed, state.last.map_or(0, |last| (last + 1) / NUMBERS_OF_BLOCK));
    while let Some(blocks) = blocks_from(connection, listed, end, LISTED_TOGETHER.0).await? {
        let (lists, end) = lists_of(connection, blocks).await?;
        sqlx::query(
            "INSERT INTO temp.new_lists
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?)",
        )
        .bind(rows(&lists)?)
        .execute(&mut *connection)
        .await?;
        listed = end;
    }
    Ok(listed)
}

/// Stores the lists that [`list_aside`] made, once all reports are indexed.
pub async fn store_aside(connection: &mut SqliteConnection, listed: i64) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(
        "INSERT INTO report_lists (profile, block, reports)
         SELECT profile, block, reports FROM temp.new_lists WHERE true ORDER BY profile, block
         ON CONFLICT DO UPDATE SET reports = excluded.reports",
    )
    .execute(&mut *transaction)
    .await?;
    set_listed(&mut transaction, listed).await?;
    transaction.commit().await?;
    sqlx::query("DROP TABLE temp.new_lists").execute(connection).await?;
    Ok(())
}
