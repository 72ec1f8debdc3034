//! Closing of hours, a step at a time between batches.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::time::sleep_until;

use super::WriterThread;
use crate::{
    domain::Hour,
    storage::{self, Step, Taken},
};

/// Time after which an hour is closed again that could not be.
const CLOSED_AGAIN: Duration = Duration::from_secs(1);

/// State of the closing of hours.
pub(super) enum Closing {
    /// All hours are closed.
    Done,
    /// There is a next step.
    Next,
    /// Snapshots are being taken, on a connection of the readers.
    Taking(BoxFuture<'static, storage::Result<Taken>>),
    /// The last step failed, and the next one comes later.
    Failed(Instant),
}

impl Closing {
    /// Waits until there is something for the writer to do: to keep snapshots that were taken, or
    /// else the next step.
    pub(super) async fn wait(&mut self) -> Option<storage::Result<Taken>> {
        match self {
            Self::Done => pending().await,
            Self::Next => None,
            Self::Taking(taking) => Some(taking.await),
            Self::Failed(again) => {
                sleep_until((*again).into()).await;
                None
            }
        }
    }
}

impl WriterThread {
    /// Begins to close the hours that have ended.
    pub(super) fn close_hours(&mut self) {
        if matches!(self.closing, Closing::Done) {
            self.closed_at = self.clock.now();
            self.closing = Closing::Next;
        }
    }

    /// Closes hours a step further. Logs the first of several failures.
    pub(super) async fn close_on(&mut self, taken: Option<storage::Result<Taken>>) {
        let result = match taken {
            Some(Ok(taken)) => self.writer.keep_snapshots(taken).await.map(|()| Step::Next),
            Some(Err(error)) => Err(error),
            None => self.writer.close_step(self.closed_at).await,
        };
        if let Err(error) = &result
            && !self.closing_fails
        {
            tracing::error!(%error, "cannot close the hour");
        }
        self.closing_fails = result.is_err();
        self.closing = match result {
            Ok(Step::Closed) => Closing::Done,
            Ok(Step::Next) => Closing::Next,
            Ok(Step::Take(ends)) => {
                let taking = self.database.clone().take_snapshots(ends, self.public_minimum);
                Closing::Taking(Box::pin(taking))
            }
            Err(_) => Closing::Failed(Instant::now() + CLOSED_AGAIN),
        };
        if Hour::of(self.closed_at) < Hour::of(self.clock.now()) {
            // Another hour has ended meanwhile.
            self.close_hours();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    };

    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        clock::Clock, domain::ClockState, ingest::clock_watch::ClockWatch, metrics::Metrics,
        storage::Database,
    };

    const HOUR_MS: i64 = 3_600_000;

    #[tokio::test]
    async fn an_hour_that_ends_meanwhile_is_closed_at_once() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let time = Arc::new(AtomicI64::new(1_767_225_600_000));
        let shown = Arc::clone(&time);
        let clock = Clock::from_fn(move || {
            Timestamp::from_millisecond(shown.load(Ordering::Relaxed)).unwrap()
        });
        let metrics = Arc::new(Metrics::new());
        let state = Arc::new(Mutex::new(ClockState::Unconfirmed));
        let watch = ClockWatch::new(clock, state, Arc::clone(&metrics));
        let upkeep = tokio::runtime::Handle::current();
        let mut thread =
            WriterThread::new(&database, watch, None, None, metrics, Arc::default(), upkeep);
        thread.clock.begin(&mut thread.writer).await.unwrap();

        thread.close_on(None).await;
        assert!(matches!(thread.closing, Closing::Next), "the hour is closed in several steps");
        thread.index().await;
        time.fetch_add(5 * HOUR_MS, Ordering::Relaxed);
        while !matches!(thread.closing, Closing::Done) {
            let taken = thread.closing.wait().await;
            thread.close_on(taken).await;
        }
        assert_eq!(thread.closed_at.as_millisecond(), time.load(Ordering::Relaxed));
    }
}
