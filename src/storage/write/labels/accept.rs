//! Acceptance of a value by an operator.

use crate::{
    domain::{Dimension, Value, is_well_known},
    storage::{Result, Writer},
};

impl Writer {
    /// Gives a value a label of its own, whatever bounds there are: its reports from now on count
    /// under it. Returns false if it has one for good already.
    ///
    /// # Errors
    /// The database's error.
    pub async fn accept_value(&mut self, dimension: Dimension, value: &Value) -> Result<bool> {
        if is_well_known(dimension, value) {
            return Ok(false);
        }
        let (dimension, value) = (dimension.name(), &**value);
        self.run(async |open| {
            let accepted = sqlx::query!(
                "INSERT INTO accepted_values (dimension, value, proven) VALUES (?, ?, 1)
                 ON CONFLICT DO UPDATE SET proven = 1 WHERE proven = 0",
                dimension,
                value
            )
            .execute(&mut open.connection)
            .await?;
            open.labels.read(&mut open.connection).await?;
            open.profiles.settle(&open.labels);
            Ok(accepted.rows_affected() > 0)
        })
        .await
    }
}
