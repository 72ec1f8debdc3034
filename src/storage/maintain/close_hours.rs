//! The end of an hour: it is rolled up, and its snapshot is taken.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::snapshots;
use crate::{
    domain::Hour,
    storage::{
        Result, Writer,
        write::{Open, roll_up_hours},
    },
};

impl Writer {
    /// Closes the hours that have passed, also without a report: rolls them up and takes their
    /// snapshots. Callers repeat it every minute or so.
    ///
    /// # Errors
    /// The database's error. The first of several is logged.
    pub async fn close_hours(&mut self, now: Timestamp) -> Result<()> {
        let result = self.run(async |open| open.close_hours(Hour::of(now)).await).await;
        match &result {
            Ok(()) => self.not_closed = None,
            Err(error) => {
                if self.not_closed.replace(now).is_none() {
                    tracing::error!(%error, "cannot close the hour");
                }
            }
        }
        result
    }
}

impl Open {
    async fn close_hours(&mut self, now: Hour) -> sqlx::Result<()> {
        self.index().await?;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        roll_up_hours(&mut transaction, now).await?;
        let closed = snapshots::take(&mut transaction, now).await?;
        transaction.commit().await?;
        self.closed_hour = closed;
        Ok(())
    }
}
