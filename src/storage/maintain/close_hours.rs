//! The end of an hour: its snapshot is taken, and it is rolled up. With the last hour of a day, the numbers
//! of the public view are made.
//!
//! It comes in steps, each of a few milliseconds, so that reports are stored between them. A server
//! that was off for a year has thousands of hours to close, and its first report waits for none.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::{
    import::sort_on_disk,
    public_numbers,
    snapshots::{self, ENDS_AT_A_TIME, Ends, Taken},
};
use crate::{
    domain::Hour,
    storage::{
        Result, Writer,
        write::{Open, closed_until, last_end, roll_up_hours},
    },
};

/// Next step of closing hours.
#[derive(Debug)]
pub enum Step {
    /// None: all hours are closed.
    Closed,
    /// A step was done, and there may be more.
    Next,
    /// Snapshots are to be taken, by [`crate::storage::Database::take_snapshots`], and given to
    /// [`Writer::keep_snapshots`]. No report may be indexed in between.
    Take(Ends),
}

impl Writer {
    /// True if an hour has ended whose snapshot is not taken. Reports of a later hour cannot be
    /// indexed before.
    #[must_use]
    pub fn has_snapshots_to_take(&self, now: Timestamp) -> bool {
        let closed = self.open.as_ref().and_then(|open| open.closed_hour);
        closed.is_none_or(|closed| closed < Hour::of(now))
    }

    /// Does a step of closing the hours that have ended.
    ///
    /// # Errors
    /// The database's error.
    pub async fn close_step(&mut self, now: Timestamp) -> Result<Step> {
        self.run(async |open| open.close_step(Hour::of(now), false).await).await
    }

    /// Stores snapshots that were taken.
    ///
    /// # Errors
    /// The database's error. They are then taken again.
    pub async fn keep_snapshots(&mut self, taken: Taken) -> Result<()> {
        self.run(async |open| open.keep(taken).await).await
    }

    /// Closes all hours that have ended, with the reports until then indexed, and packs the days that are over. Where
    /// no server runs: the steps are long.
    ///
    /// # Errors
    /// The database's error.
    pub async fn close_hours(&mut self, now: Timestamp) -> Result<()> {
        let now = Hour::of(now);
        self.run(async |open| {
            sort_on_disk(&mut open.connection).await?;
            loop {
                match open.close_step(now, true).await? {
                    Step::Closed => {
                        open.index_all().await?;
                        while open.pack_days().await? {}
                        return Ok(());
                    }
                    Step::Next => {}
                    Step::Take(ends) => {
                        let taken = snapshots::take(&mut open.connection, ends).await?;
                        open.keep(taken).await?;
                    }
                }
            }
        })
        .await
    }
}

impl Open {
    async fn close_step(&mut self, now: Hour, alone: bool) -> sqlx::Result<Step> {
        let last = last_end(&mut self.connection, now).await?;
        self.closed_hour = Some(last);
        if last < now {
            let next = last.plus(1);
            // Those until the next end are part of it. The first one after it bounds the ends that
            // are the same.
            let waiting = self.index_before(next).await?;
            let until = waiting.unwrap_or(now).min(now);
            let before = self.fleet.take();
            // Years without a report are one step.
            let rests = before.as_ref().is_some_and(|fleet| fleet.rests(last.number()));
            let until = if rests { until } else { until.min(last.plus(ENDS_AT_A_TIME)) };
            let midnight = Some(now.day()).filter(|midnight| (next..=until).contains(midnight));
            return Ok(Step::Take(Ends { first: next, last: until, before, midnight }));
        }
        self.fleet = None;
        Ok(if roll_up_hours(self, now, alone).await? { Step::Next } else { Step::Closed })
    }

    async fn keep(&mut self, taken: Taken) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        snapshots::store(&mut transaction, &taken).await?;
        if let Some((midnight, numbers)) = &taken.public {
            public_numbers::publish(&mut transaction, *midnight, numbers).await?;
        }
        closed_until(&mut transaction, taken.last).await?;
        transaction.commit().await?;
        self.closed_hour = Some(taken.last);
        self.fleet = Some(taken.fleet);
        Ok(())
    }
}
