//! Pace of a long job: its steps, each a transaction, and the rests between them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::time::sleep;

/// Time for which a step beside a server should hold SQLite's write lock.
const HOLD: Duration = Duration::from_millis(8);
/// Rest after a step. SQLite asks for a lock that is taken after 1, 2, 5 and 10 more milliseconds:
/// who began to wait during a step finds the lock free in the rest that follows.
const REST: Duration = Duration::from_millis(12);
/// Rows of a step, at least and at most.
const ROWS: (usize, usize) = (16, 5_000);
/// Latest steps that are remembered. Some of them waited for a server, the quickest of them did not.
const REMEMBERED: usize = 8;

/// Number of rows in the next step of a job.
#[derive(Debug)]
pub struct Pace {
    rows: usize,
    beside_a_server: bool,
    /// Time for a row in each of the latest steps.
    latest: VecDeque<Duration>,
}

impl Pace {
    /// For a job that holds the database alone: large steps, without a rest.
    pub fn alone() -> Self {
        Self { rows: ROWS.1, beside_a_server: false, latest: VecDeque::new() }
    }

    /// For a job beside a server, whose reports wait as long as a step takes.
    pub fn beside_a_server() -> Self {
        Self { rows: 32, beside_a_server: true, latest: VecDeque::new() }
    }

    /// True for a job that holds the database alone.
    pub fn is_alone(&self) -> bool {
        !self.beside_a_server
    }

    /// Number of rows that the next step may have.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The same, as a number of SQLite.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }

    /// Works through numbered rows, from those after one up to the last one. Each step is a transaction
    /// and gets the number that it begins after and the last one of its own.
    pub async fn work_through(
        &mut self,
        connection: &mut SqliteConnection,
        mut after: i64,
        last: i64,
        mut step: impl for<'c> FnMut(
            &'c mut SqliteConnection,
            i64,
            i64,
        ) -> BoxFuture<'c, sqlx::Result<()>>,
    ) -> sqlx::Result<()> {
        while after < last {
            let (begun, rows) = (Instant::now(), self.rows);
            let until = last.min(after + self.limit());
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            step(&mut transaction, after, until).await?;
            transaction.commit().await?;
            after = until;
            self.rest(begun, rows).await;
        }
        Ok(())
    }

    /// Ends a step of a number of rows that began at a time: lets others write.
    pub async fn rest(&mut self, begun: Instant, rows: usize) {
        if self.beside_a_server && rows > 0 {
            self.adapt(begun.elapsed(), rows);
            sleep(REST).await;
        }
    }

    /// Takes as many rows as would have held the lock for [`HOLD`], but at most twice as many as
    /// before and at least half as many.
    fn adapt(&mut self, taken: Duration, rows: usize) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.latest.push_front(taken / rows);
        self.latest.truncate(REMEMBERED);
        let quickest = self.latest.iter().min().map_or(1, Duration::as_nanos).max(1);
        let wanted = usize::try_from(HOLD.as_nanos() / quickest).unwrap_or(usize::MAX);
        self.rows = wanted.clamp(self.rows / 2, self.rows * 2).clamp(ROWS.0, ROWS.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_and_shrink_to_the_time_that_they_may_take() {
        let mut pace = Pace::beside_a_server();
        for expected in [64, 128, 200, 200] {
            pace.adapt(HOLD / 200 * 32, 32);
            assert_eq!(pace.rows(), expected);
        }
        // One that waited for a server is no rule; if all are slow, they are.
        pace.adapt(HOLD * 100, 200);
        assert_eq!(pace.rows(), 200);
        for _ in 0..REMEMBERED {
            pace.adapt(HOLD * 2, 200);
        }
        assert_eq!(pace.rows(), 100);
        for _ in 0..20 {
            pace.adapt(HOLD * 100, 100);
        }
        assert_eq!(pace.rows(), ROWS.0);
        for _ in 0..20 {
            pace.adapt(Duration::ZERO, 100);
        }
        assert_eq!(pace.rows(), ROWS.1);
    }
}
