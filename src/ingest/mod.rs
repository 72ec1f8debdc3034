//! The way of a valid report to disk: a bounded queue and the one thread that empties it.

mod limits;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};

pub use limits::{Limited, Limits};

use crate::{
    clock::Clock,
    domain::Report,
    metrics::{Metrics, Sizes},
    storage::{self, Database, Writer},
};

/// Reports that may wait for the writer, about a megabyte. One more is refused.
pub const QUEUE: usize = 2048;
/// Reports in one transaction at most.
const BATCH: usize = 512;
/// Longest time for which a batch waits to grow.
const GATHERING: Duration = Duration::from_micros(300);
/// Largest number of reports that are indexed before they are answered, if the queue is empty. So
/// few take no time.
const INDEXED_AT_ONCE: usize = 32;
/// Number of unindexed reports at which all are indexed, even under load. Indexing them takes some
/// 30 ms, and no other report is stored meanwhile.
const INDEXED_TOGETHER: usize = 8192;
/// Time without a report after which all are indexed.
const LULL: Duration = Duration::from_millis(10);
/// Time after which all are indexed even if reports keep coming.
const INDEXED_AFTER: Duration = Duration::from_secs(1);
/// Time between two rounds of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

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
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, oneshot::Receiver<storage::Result<()>>)> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (ended, end) = oneshot::channel();
        let failing = Arc::new(AtomicBool::new(false));
        let writer = WriterThread {
            writer: database.writer(),
            database: database.clone(),
            clock,
            retention,
            metrics,
            failing: Arc::clone(&failing),
            indexed: Instant::now(),
            indexing_fails: false,
        };
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // The receiver may be gone.
            let _ = ended.send(runtime.block_on(writer.run(waiting)));
        })?;
        Ok((Self { queue, failing }, end))
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

    /// True if the writer runs and its last transaction succeeded.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.queue.is_closed() && !self.failing.load(Ordering::Relaxed)
    }
}

/// Lets a batch grow to some size. The answers to a large batch bring more reports, and a
/// transaction costs the same for one as for many. The request threads run in the meantime. No
/// timer is as short as this.
fn gather(batch: &mut Vec<Waiting>, queue: &mut mpsc::Receiver<Waiting>, wanted: usize) {
    let begun = Instant::now();
    while batch.len() < wanted && begun.elapsed() < GATHERING {
        thread::yield_now();
        while batch.len() < BATCH
            && let Ok(waiting) = queue.try_recv()
        {
            batch.push(waiting);
        }
    }
}

struct WriterThread {
    writer: Writer,
    database: Database,
    clock: Clock,
    retention: Option<SignedDuration>,
    metrics: Arc<Metrics>,
    failing: Arc<AtomicBool>,
    /// Time of the last attempt to index reports.
    indexed: Instant,
    /// True if that attempt failed.
    indexing_fails: bool,
}

impl WriterThread {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) -> storage::Result<()> {
        let mut batch = Vec::new();
        let mut previous = 0;
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let lull = if self.indexing_fails { INDEXED_AFTER } else { LULL };
            tokio::select! {
                received = queue.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        break;
                    }
                    gather(&mut batch, &mut queue, previous / 2);
                    previous = batch.len();
                    self.store(&mut batch, &queue).await;
                }
                () = sleep(lull), if self.writer.unindexed() > 0 || self.indexing_fails => {
                    self.index().await;
                }
                _ = housekeeping.tick() => self.keep_house(&queue).await,
            }
        }
        // The reports since the last lull are unindexed, and the last minute has no sample.
        self.index().await;
        self.record(queue.len()).await;
        self.writer.close().await
    }

    /// Group commit: one transaction for all reports that wait, then an answer to each.
    async fn store(&mut self, batch: &mut Vec<Waiting>, queue: &mpsc::Receiver<Waiting>) {
        // A caller that is gone is stored, too: the stock client gives up after 10 s and never
        // sends its report again.
        let (reports, callers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.report, waiting.stored)).unzip();
        let begun = Instant::now();
        let result = self.writer.store(self.clock.now(), &reports).await;
        self.note(&result);
        if result.is_ok() {
            self.metrics.committed(reports.iter().map(|report| report.kind), begun.elapsed());
            // A reader finds a report indexed as soon as it is answered, unless there is load.
            // Under load many reports are indexed together, at a fraction of the cost.
            let unindexed = self.writer.unindexed();
            if self.indexed.elapsed() >= INDEXED_AFTER
                || !self.indexing_fails
                    && (unindexed <= INDEXED_AT_ONCE && queue.is_empty()
                        || unindexed >= INDEXED_TOGETHER)
            {
                self.index().await;
            }
        }
        let answer = result.map_err(|_| Refused::NotStored);
        for caller in callers {
            // The caller may be gone.
            let _ = caller.send(answer);
        }
    }

    /// Indexes all reports that are stored. Logs the first of several failures.
    async fn index(&mut self) {
        self.indexed = Instant::now();
        let result = self.writer.index().await;
        if let Err(error) = &result
            && !self.indexing_fails
        {
            tracing::error!(%error, "cannot index reports");
        }
        self.indexing_fails = result.is_err();
    }

    /// Closes hours, takes a sample of the metrics, and prunes as long as no report waits.
    async fn keep_house(&mut self, queue: &mpsc::Receiver<Waiting>) {
        let now = self.clock.now();
        // The writer logs the error.
        let _ = self.writer.close_hours(now).await;
        self.record(queue.len()).await;
        let Some(cutoff) = self.retention.and_then(|age| now.checked_sub(age).ok()) else {
            return;
        };
        while queue.is_empty() && !queue.is_closed() {
            match self.writer.prune(cutoff).await {
                Ok(0) => return,
                Ok(reports) => self.metrics.pruned(reports),
                Err(error) => {
                    tracing::error!(%error, "cannot prune old reports");
                    return;
                }
            }
        }
    }

    /// Keeps a sample of the metrics while `waiting` reports wait.
    async fn record(&mut self, waiting: usize) {
        let samples = self.metrics.samples(Sizes::of(&self.database, waiting));
        if let Err(error) = self.writer.record(self.clock.now(), &samples).await {
            tracing::error!(%error, "cannot record the metrics");
        }
    }

    /// Logs the first of several reports that were not stored, and the recovery.
    fn note(&mut self, result: &storage::Result<()>) {
        match result {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the database can be written again");
                    self.indexing_fails = false;
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "cannot store reports");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::{domain::ReportBody, storage::Database};

    fn report(id: usize) -> Report {
        let body = ReportBody { instance_id: Some(id.to_string()), ..ReportBody::default() };
        body.into_report().unwrap()
    }

    /// Reports wait up to the bound while another process holds the database. The next one is
    /// refused at once, and those that wait are stored when the database is free.
    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let (ingest, writer) = Ingest::start(&database, Clock::system(), None, metrics).unwrap();
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
        let url = format!("sqlite://{}/telemetry.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let (ingest, writer) = Ingest::start(&database, Clock::system(), None, metrics).unwrap();
        let reports = 10 * INDEXED_AT_ONCE;
        let stored = join_all((0..reports).map(|id| ingest.store(report(id)))).await;
        assert!(stored.iter().all(Result::is_ok));
        drop(ingest);
        writer.await.unwrap().unwrap();
        assert_eq!(database.totals().await.unwrap().instances, reports as u64);
    }
}
