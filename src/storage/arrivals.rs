//! Reports that are known together with the time at which they arrived.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::{Result, Writer, legacy};
use crate::domain::Report;

/// Reports stored in one transaction; what is held in memory at a time.
const CHUNK: usize = 5_000;

impl Writer {
    /// Stores reports that arrived at the given times, which may be long past, and makes history
    /// right for them up to `now`. `progress` is told how many are stored so far. Returns how
    /// many there were.
    ///
    /// # Errors
    /// What the database says; what was stored so far stays.
    pub async fn import_arrivals(
        &mut self,
        arrivals: impl IntoIterator<Item = (Timestamp, Report)>,
        now: Timestamp,
        progress: impl Fn(u64),
    ) -> Result<u64> {
        self.run(async |open| legacy::sort_on_disk(&mut open.connection).await).await?;
        let mut arrivals = arrivals.into_iter();
        let mut stored = 0;
        loop {
            let chunk: Vec<_> = arrivals.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let reports = chunk.iter().map(|(at, report)| (*at, report));
            self.run(async |open| open.store(reports, None).await).await?;
            stored += chunk.len() as u64;
            progress(stored);
        }
        drop(arrivals); // What makes them may hold much.
        self.run(async |open| {
            // All at once and in the order of their ids, which fills page after page.
            open.catch_up().await?;
            let mut transaction = open.connection.begin_with("BEGIN IMMEDIATE").await?;
            legacy::settle(&mut transaction, now).await?;
            transaction.commit().await?;
            open.closed_hour = None;
            Ok(())
        })
        .await?;
        Ok(stored)
    }
}
