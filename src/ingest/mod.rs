//! The way of a valid report to disk: a bounded queue and the one thread that empties it.

mod clock_watch;
mod limits;
mod writer_thread;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use jiff::SignedDuration;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

pub use limits::{Limited, Limiter, Limits, client_network};

use crate::{
    clock::Clock,
    domain::{ClockState, Report},
    metrics::Metrics,
    storage::{self, Database},
};
use clock_watch::ClockWatch;
use writer_thread::WriterThread;

/// Reports that may wait for the writer, about a megabyte. One more is refused.
pub const QUEUE: usize = 2048;

/// Reason for which a report was not stored. The sender may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue has no room for the report.
    #[error("the queue is full")]
    QueueFull,
    /// The disk or the database refused the transaction, or the server is about to end.
    #[error("the report could not be stored")]
    NotStored,
}

/// Entrance of the queue. Clones are cheap. The writer empties the queue and ends after the last
/// clone is dropped.
#[derive(Debug, Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Waiting>,
    failing: Arc<AtomicBool>,
    clock: Arc<Mutex<ClockState>>,
}

#[derive(Debug)]
struct Waiting {
    report: Report,
    stored: oneshot::Sender<Result<(), Refused>>,
}

impl Ingest {
    /// Starts the writer. It ends, with the database closed, after the last [`Ingest`] is dropped.
    /// The receiver then gets the result of its end.
    ///
    /// The writer has a thread of its own. A task among those of the requests would wait for its
    /// turn at each commit, with the disk idle.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        database: &Database,
        clock: Clock,
        retention: Option<SignedDuration>,
        public_minimum: Option<u64>,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, oneshot::Receiver<storage::Result<()>>)> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (ended, end) = oneshot::channel();
        let failing = Arc::new(AtomicBool::new(false));
        let state = Arc::new(Mutex::new(ClockState::Unconfirmed));
        let watch = ClockWatch::new(clock, Arc::clone(&state), Arc::clone(&metrics));
        let failed = Arc::clone(&failing);
        // Long jobs compute, and no report is to wait for that.
        let upkeep = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("upkeep")
            .enable_time()
            .build()?;
        let jobs = upkeep.handle().clone();
        let writer =
            WriterThread::new(database, watch, retention, public_minimum, metrics, failed, jobs);
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let end = runtime.block_on(writer.run(waiting));
            drop(upkeep);
            // The receiver may be gone.
            let _ = ended.send(end);
        })?;
        Ok((Self { queue, failing, clock: state }, end))
    }

    /// Stores a report. Returns when it is synced to disk.
    ///
    /// # Errors
    /// See [`Refused`]; the report is then not stored.
    pub async fn store(&self, report: Report) -> Result<(), Refused> {
        let (stored, answer) = oneshot::channel();
        self.queue.try_send(Waiting { report, stored }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::QueueFull,
            mpsc::error::TrySendError::Closed(_) => Refused::NotStored,
        })?;
        answer.await.unwrap_or(Err(Refused::NotStored))
    }

    /// Number of reports that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Returns when the writer has ended. Only a fault ends it before the last [`Ingest`] is
    /// dropped.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Trust of the writer in the clock.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the writer runs and its last transaction succeeded.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.queue.is_closed() && !self.failing.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::{
        writer_thread::{BATCH, INDEXED_AT_ONCE},
        *,
    };
    use crate::domain::ReportBody;

    fn report(id: usize) -> Report {
        let body = ReportBody { instance_id: Some(id.to_string()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// Reports wait up to the bound while another process holds the database. The next one is
    /// refused at once, and those that wait are stored when the database is free.
    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let metrics = Arc::new(Metrics::new());
        let (ingest, writer) =
            Ingest::start(&database, Clock::system(), None, None, metrics).unwrap();
        ingest.store(report(0)).await.unwrap();

        let options = SqliteConnectOptions::new().filename(database.path());
        let mut other = options.connect().await.unwrap();
        let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        // One report at a time until the writer has taken a batch and the queue is full.
        let mut waiting = Vec::new();
        let refused = loop {
            let ingest = ingest.clone();
            let id = waiting.len() + 1;
            let mut store = Box::pin(async move { ingest.store(report(id)).await });
            // A future that is ready when first polled was refused.
            match futures_util::poll!(&mut store) {
                std::task::Poll::Ready(result) => break result,
                std::task::Poll::Pending => waiting.push(store),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused, Err(Refused::QueueFull));
        assert!((QUEUE..=QUEUE + BATCH).contains(&waiting.len()), "{}", waiting.len());
        lock.rollback().await.unwrap();
        let stored = join_all(&mut waiting).await;
        assert!(stored.iter().all(Result::is_ok));
        let starts = 1 + stored.len() as u64;
        assert_eq!(database.totals().await.unwrap().starts, starts);
        // So many reports are indexed in the lull that follows.
        let counted = async { while database.totals().await.unwrap().instances < starts {} };
        timeout(Duration::from_secs(10), counted).await.unwrap();

        drop((ingest, waiting));
        writer.await.unwrap().unwrap();
    }

    /// Reports that are unindexed when the server ends are indexed then.
    #[tokio::test]
    async fn the_end_waits_for_no_lull() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let metrics = Arc::new(Metrics::new());
        let (ingest, writer) =
            Ingest::start(&database, Clock::system(), None, None, metrics).unwrap();
        let reports = 10 * INDEXED_AT_ONCE;
        let stored = join_all((0..reports).map(|id| ingest.store(report(id)))).await;
        assert!(stored.iter().all(Result::is_ok));
        drop(ingest);
        writer.await.unwrap().unwrap();
        database.release();
        let database = Database::open_in(&folder).await;
        assert_eq!(database.totals().await.unwrap().instances, reports as u64);
    }
}
