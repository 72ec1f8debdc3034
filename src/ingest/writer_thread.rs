//! The thread that empties the queue: it stores reports, and indexes, closes hours and does chores between
//! them. It begins corrections, orders and recounts of the calendar, which have writers and a
//! thread of their own.

mod chores;
mod close_hours;
mod correct_times;
mod keep_house;
mod recount_calendar;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    chores::Chores,
    close_hours::Closing,
    correct_times::{OrderState, corrected},
    recount_calendar::Recounting,
    watch::Watching,
};
use super::{Refused, Waiting, clock_watch::ClockWatch};
use crate::{
    domain::ClockState,
    metrics::Metrics,
    retry::Retry,
    storage::{self, Database, Upkeep, Writer},
};

/// Reports in one transaction at most.
pub const BATCH: usize = 512;
/// Longest time for which a batch waits to grow.
const GATHERING: Duration = Duration::from_micros(300);
/// Largest number of reports that are indexed before they are answered, if the queue is empty. So
/// few take no time.
pub const INDEXED_AT_ONCE: usize = 32;
/// Number of unindexed reports at which all are indexed, even under load. Indexing them takes some
/// 20 to 40 ms, and no other report is stored meanwhile. With fewer, pages of the instances are written
/// more often: 2048 cost 3 to 7 % of the reports a second.
const INDEXED_TOGETHER: usize = 4096;
/// Time without a report after which all are indexed.
const LULL: Duration = Duration::from_millis(10);
/// Time after which all are indexed even if reports keep coming.
const INDEXED_AFTER: Duration = Duration::from_secs(1);
/// Time between two rounds of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_mins(1);
/// Time after which writing is tried again that failed, doubled each time, and the longest such time.
const TRIED_AGAIN: Duration = Duration::from_secs(1);
const TRIED_AGAIN_AT_LAST: Duration = Duration::from_mins(1);
/// Space in bytes that a disk has which takes reports again: that of a few transactions.
const ROOM: u64 = 1 << 20;
/// Time between two looks at whether an operator has ordered something.
const ORDERS: Duration = Duration::from_secs(2);

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

/// See [`WriterThread::run`].
pub struct WriterThread {
    writer: Writer,
    database: Database,
    clock: ClockWatch,
    /// Correction of the times of reports, or an operator's order, that is under way.
    correcting: Option<JoinHandle<storage::Result<Upkeep>>>,
    orders: OrderState,
    recounting: Recounting,
    chores: Chores,
    watching: Watching,
    retention: Option<SignedDuration>,
    /// Smallest group of the public view; `None` where that is off.
    public_minimum: Option<u64>,
    metrics: Arc<Metrics>,
    failing: Arc<AtomicBool>,
    /// Where corrections, orders and recounts run.
    upkeep: Handle,
    /// Time up to which running is counted, by the monotonic clock.
    ran_until: Instant,
    /// Time of the last attempt to index reports.
    indexed: Instant,
    /// True if that attempt failed.
    indexing_fails: bool,
    /// Time at which the hours had ended that are being closed.
    closed_at: Timestamp,
    closing: Closing,
    /// True if the last step of closing failed.
    closing_fails: bool,
    retry: Retry,
}

impl WriterThread {
    /// A writer that notes in `failing` if its last transaction failed.
    pub fn new(
        database: &Database,
        clock: ClockWatch,
        retention: Option<SignedDuration>,
        public_minimum: Option<u64>,
        metrics: Arc<Metrics>,
        failing: Arc<AtomicBool>,
        upkeep: Handle,
    ) -> Self {
        let closed_at = clock.now();
        Self {
            writer: database.writer(),
            database: database.clone(),
            clock,
            correcting: None,
            recounting: Recounting::default(),
            chores: Chores::default(),
            watching: Watching::default(),
            orders: OrderState::Ready,
            retention,
            public_minimum,
            metrics,
            failing,
            upkeep,
            ran_until: Instant::now(),
            indexed: Instant::now(),
            indexing_fails: false,
            closed_at,
            closing: Closing::Next,
            closing_fails: false,
            retry: Retry::new(TRIED_AGAIN, TRIED_AGAIN_AT_LAST),
        }
    }

    /// Writes until the queue ends, and closes the database: no reader is left then.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) -> storage::Result<()> {
        self.begin_run().await;
        // If no hour has ended since the last run, the first reports can be indexed at once.
        if self.may_close() {
            self.close_on(None).await;
        }
        // Those of a run that was killed come before all chores.
        if self.may_index() {
            self.index().await;
        }
        let mut batch = Vec::new();
        let mut previous = 0;
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orders = interval(ORDERS);
        orders.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                () = sleep(lull), if self.may_index()
                    && (self.writer.unindexed() > 0 || self.indexing_fails) =>
                {
                    self.index().await;
                }
                taken = self.closing.wait(), if self.may_close() => self.close_on(taken).await,
                corrected = corrected(&mut self.correcting) => self.end_correction(corrected).await,
                () = self.retry.due() => self.try_again().await,
                () = self.watching.ended() => self.record(queue.len()).await,
                _ = housekeeping.tick() => self.keep_house(&queue).await,
                () = self.chores.wait() => self.do_chore(!queue.is_empty()).await,
                _ = orders.tick(), if self.may_close() => self.begin_orders().await,
            }
        }
        // The reports since the last lull are unindexed, and the last minute has no sample.
        self.closing = Closing::Done;
        self.recounting.abort().await;
        self.watching.abort().await;
        match self.correcting.take() {
            // The next run goes on with it.
            Some(correcting) => {
                correcting.abort();
                // Its connection is closed before the log is copied.
                let _ = correcting.await;
            }
            None if self.orders == OrderState::Interrupted => {}
            None => self.index().await,
        }
        self.record(queue.len()).await;
        self.clock.record(&mut self.writer).await;
        // The last connection copies the log, and only the writer's can.
        self.database.close().await;
        self.writer.close().await
    }

    /// Group commit: one transaction for all reports that wait, then an answer to each.
    async fn store(&mut self, batch: &mut Vec<Waiting>, queue: &mpsc::Receiver<Waiting>) {
        // A caller that is gone is stored, too: the stock client gives up after 10 s and never
        // sends its report again.
        let (reports, callers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.report, waiting.stored)).unzip();
        let begun = Instant::now();
        self.observe_clock().await;
        let received_at = self.clock.received_at();
        let result = self.writer.store_at(received_at, &reports).await;
        self.note(&result);
        if let Ok(stored) = &result {
            let new = reports.iter().enumerate();
            let new = new.filter(|(place, _)| stored.repeated.binary_search(place).is_err());
            self.metrics.committed(new.map(|(_, report)| report.kind), begun.elapsed());
            self.metrics.report_ids(stored);
            self.metrics.reported(received_at);
            // A reader finds a report indexed as soon as it is answered, unless there is load.
            // Under load many reports are indexed together, at a fraction of the cost.
            let unindexed = self.writer.unindexed();
            if !self.may_index() {
                self.close_hours();
            } else if self.indexed.elapsed() >= INDEXED_AFTER
                || !self.indexing_fails
                    && (unindexed <= INDEXED_AT_ONCE && queue.is_empty()
                        || unindexed >= INDEXED_TOGETHER)
            {
                self.index().await;
            }
        }
        let answer = result.map(|_| ()).map_err(|_| Refused::NotStored);
        for caller in callers {
            // The caller may be gone.
            let _ = caller.send(answer);
        }
    }

    /// True unless snapshots of an earlier hour are still to be taken, or reports are being changed.
    fn may_index(&self) -> bool {
        self.correcting.is_none()
            && self.orders != OrderState::Interrupted
            && !matches!(self.closing, Closing::Taking(_))
            && (self.clock.state() == ClockState::Wrong
                || !self.writer.has_snapshots_to_take(self.clock.now()))
    }

    /// True unless the clock is known to be wrong, or reports are being changed.
    fn may_close(&self) -> bool {
        self.correcting.is_none()
            && self.orders != OrderState::Interrupted
            && self.clock.state() != ClockState::Wrong
    }

    /// Finds out whether the database can be written again, without a report: a proxy sends none to
    /// a server that is not ready.
    async fn try_again(&mut self) {
        // A disk with room for that alone takes no reports.
        if self.database.free_bytes().is_ok_and(|free| free < ROOM) {
            self.retry.plan_next();
            return;
        }
        let result = self.writer.probe().await;
        self.retry.plan_next();
        self.note(&result);
    }

    /// Indexes all reports that are stored. Logs the first of several failures.
    async fn index(&mut self) {
        self.indexed = Instant::now();
        let result = self.writer.index(self.clock.now()).await;
        if let Err(error) = &result
            && !self.indexing_fails
        {
            tracing::error!(%error, "cannot index reports");
        }
        self.indexing_fails = result.is_err();
    }

    /// Logs the first of several reports that were not stored, and the recovery.
    fn note<T>(&mut self, result: &storage::Result<T>) {
        match result {
            Ok(_) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the database can be written again");
                    self.metrics.disk_refuses(false);
                    self.indexing_fails = false;
                    self.retry.end();
                }
            }
            Err(error) => {
                self.retry.plan();
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "cannot store reports");
                    self.metrics.disk_refuses(true);
                }
            }
        }
    }
}
