//! Numbers of the public view.

use crate::{
    domain::PublicNumbers,
    storage::{Database, Result, json},
};

impl Database {
    /// Numbers that were published last; `None` where there are none yet.
    ///
    /// # Errors
    /// The database's error.
    pub async fn public_numbers(&self) -> Result<Option<PublicNumbers>> {
        let numbers =
            sqlx::query_scalar!("SELECT numbers FROM public_numbers ORDER BY day DESC LIMIT 1")
                .fetch_optional(&mut *self.reader().await?)
                .await?;
        Ok(numbers.map(|numbers| json::decode(&numbers)).transpose()?)
    }
}
