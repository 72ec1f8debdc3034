//! Pace of a long job: its steps, each a transaction, and the rests between them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::time::sleep;

use crate::storage::write::Traffic;

/// Time for which a step beside a server should hold SQLite's write lock.
const HOLD: Duration = Duration::from_millis(8);
/// Rest after a step beside another process, and the longest one beside a server in this one. SQLite
/// asks for a lock that is taken after 1, 2, 5 and 10 more milliseconds: who began to wait during a step
/// finds the lock free in the rest that follows.
const REST: Duration = Duration::from_millis(12);
/// Time between two looks at whether a server still waits, and the rest while it writes nothing.
const LOOK: Duration = Duration::from_millis(1);
/// Rows of a step, at least and at most.
const ROWS: (usize, usize) = (16, 5_000);
/// Rows of the first step.
const FIRST_ROWS: usize = 32;
/// Latest steps that are remembered. Some of them waited for a server, the quickest of them did not.
const REMEMBERED: usize = 8;

/// Others who write to the database.
#[derive(Debug)]
enum Others {
    None,
    /// Those of another process: nothing is known of them.
    Strangers,
    /// A server in this process, with the number of its writes at the end of the last rest.
    Server(Arc<Traffic>, u64),
}

/// Number of rows in the next step of a job.
#[derive(Debug)]
pub struct Pace {
    rows: usize,
    others: Others,
    /// Time for a row in each of the latest steps.
    latest: VecDeque<Duration>,
}

impl Pace {
    /// For a job that holds the database alone: large steps, without a rest.
    pub fn alone() -> Self {
        Self { rows: ROWS.1, others: Others::None, latest: VecDeque::new() }
    }

    /// For a job beside a server of another process, whose reports wait as long as a step takes.
    pub fn beside_strangers() -> Self {
        Self { rows: FIRST_ROWS, others: Others::Strangers, latest: VecDeque::new() }
    }

    /// For a job beside the server of this process.
    pub fn beside(traffic: &Arc<Traffic>) -> Self {
        let others = Others::Server(Arc::clone(traffic), traffic.writes());
        Self { others, ..Self::beside_strangers() }
    }

    /// With steps of another size.
    #[cfg(test)]
    pub fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Begins with rows of another kind: what one of them takes is not known.
    pub fn begin_rows(&mut self) {
        if !self.is_alone() {
            self.rows = FIRST_ROWS;
            self.latest.clear();
        }
    }

    /// True for a job that holds the database alone.
    pub fn is_alone(&self) -> bool {
        matches!(self.others, Others::None)
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
        self.begin_rows();
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
        if rows == 0 || self.is_alone() {
            return;
        }
        let taken = begun.elapsed();
        self.adapt(taken, rows);
        match &mut self.others {
            Others::None => {}
            Others::Strangers => sleep(REST).await,
            Others::Server(traffic, seen) => {
                // Reports that come in short steps wait for one of them at most, and get a third of the
                // time at least.
                let wrote = traffic.writes() != *seen;
                let mut rested = if wrote { (taken / 2).clamp(LOOK, REST) } else { LOOK };
                sleep(rested).await;
                while traffic.waits() && rested < REST {
                    sleep(LOOK).await;
                    rested += LOOK;
                }
                *seen = traffic.writes();
            }
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
        let mut pace = Pace::beside_strangers();
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
        // Quick rows say nothing of those of another table.
        pace.begin_rows();
        assert_eq!(pace.rows(), FIRST_ROWS);
        pace.adapt(HOLD, FIRST_ROWS);
        assert_eq!(pace.rows(), FIRST_ROWS);
    }

    /// Time for which a job of a hundred steps of 8 ms rests; `on_step` is what a server does during one.
    async fn rests(mut pace: Pace, mut on_step: impl FnMut()) -> Duration {
        let begun = tokio::time::Instant::now();
        for _ in 0..100 {
            on_step();
            let step = Instant::now().checked_sub(HOLD).unwrap();
            pace.rest(step, 100).await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_rests_as_long_as_others_need() {
        let ms = Duration::from_millis;
        assert_eq!(rests(Pace::alone(), || ()).await, ms(0));
        assert_eq!(rests(Pace::beside_strangers(), || ()).await, 100 * REST);
        let traffic = Arc::default();
        assert_eq!(rests(Pace::beside(&traffic), || ()).await, 100 * LOOK);
        // A server that wrote during each step.
        let wrote = rests(Pace::beside(&traffic), || drop(traffic.begin())).await;
        assert!((ms(400)..ms(600)).contains(&wrote), "{wrote:?}");
        // One that waits for the lock, and gets it 3 ms after the step or not at all.
        let server = Arc::clone(&traffic);
        let waited = rests(Pace::beside(&traffic), || {
            let writing = server.begin();
            tokio::spawn(async move {
                sleep(ms(6)).await;
                drop(writing);
            });
        });
        let waited = waited.await;
        assert!((ms(500)..ms(900)).contains(&waited), "{waited:?}");
        let _busy = traffic.begin();
        let busy = rests(Pace::beside(&traffic), || drop(traffic.begin())).await;
        assert!((100 * REST..100 * (REST + HOLD)).contains(&busy), "{busy:?}");
    }
}
