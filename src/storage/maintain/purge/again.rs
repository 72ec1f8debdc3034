//! Purges of another database, carried out again: a backup of before a purge does not know of it.

use std::path::Path;

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    domain::InstanceId,
    storage::{Result, Writer, instance_key, write::Purged},
};

/// Instances that are read together.
const ROWS: i64 = 5_000;

impl Writer {
    /// Orders a purge of each instance that is stored here and was purged from another database, and keeps
    /// the others of that one away, too. Returns the numbers of the orders.
    ///
    /// # Errors
    /// The error of either database.
    pub async fn order_purges_of(&mut self, file: &Path) -> Result<Vec<i64>> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut other = options.connect().await?;
        let purged = Purged::load(&mut other).await?;
        other.close().await?;
        if purged.is_empty() {
            return Ok(Vec::new());
        }
        let found = self
            .run(async |open| {
                let connection = &mut open.connection;
                sqlx::query!(
                    "INSERT INTO purge_key VALUES (1, ?) ON CONFLICT DO NOTHING",
                    purged.key
                )
                .execute(&mut *connection)
                .await?;
                // A hash means something with its own key only.
                if Purged::load(connection).await?.key == purged.key {
                    for hash in &purged.hashes {
                        sqlx::query!(
                            "INSERT INTO purged_instances VALUES (?) ON CONFLICT DO NOTHING",
                            hash
                        )
                        .execute(&mut *connection)
                        .await?;
                    }
                }
                let (mut found, mut last) = (Vec::new(), Vec::new());
                loop {
                    let keys = sqlx::query_scalar!(
                        r#"SELECT id AS "id!: Vec<u8>" FROM instances WHERE id > ?1
                           UNION SELECT instance FROM quarantined_reports WHERE instance > ?1
                           ORDER BY 1 LIMIT ?2"#,
                        last,
                        ROWS
                    )
                    .fetch_all(&mut *connection)
                    .await?;
                    let Some(next) = keys.last() else { return Ok(found) };
                    last.clone_from(next);
                    let ids = keys.iter().map(|key| instance_key::to_id(key));
                    found.extend(ids.filter(|id| purged.has(id)).filter_map(InstanceId::parse));
                }
            })
            .await?;
        let mut orders = Vec::new();
        for instance in found {
            orders.push(self.order_purge(&instance, false).await?);
        }
        Ok(orders)
    }
}
