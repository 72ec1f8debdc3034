//! The chores of each minute.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{super::Waiting, WriterThread};
use crate::{domain::ClockState, metrics::Sizes, storage};

impl WriterThread {
    /// Begins to close hours, takes a sample of the metrics, and deletes what has become too old as
    /// long as no report waits.
    pub(super) async fn keep_house(&mut self, queue: &mpsc::Receiver<Waiting>) {
        self.observe_clock().await;
        self.clock.keep(&mut self.writer).await;
        self.begin_correction().await;
        let now = self.clock.now();
        self.close_hours();
        if self.clock.state() != ClockState::Wrong {
            self.show_silence().await;
            self.record(queue.len()).await;
        }
        self.forget_report_ids(queue).await;
        if let Err(error) = self.writer.notice_labels().await {
            tracing::error!(%error, "cannot read labels");
        }
        self.keep_calendar(queue).await;
        if !self.may_index() {
            // A report is indexed before it is pruned.
            return;
        }
        // An import beside the server may have ended early.
        self.index().await;
        if self.clock.state() != ClockState::Confirmed {
            return;
        }
        while queue.is_empty() && !queue.is_closed() {
            match self.writer.thin(now).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot delete what has become too old");
                    return;
                }
            }
        }
        if self.has_orders().await {
            // One that puts reports back must find them there.
            return;
        }
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

    /// Counts the time of running, and forgets ids of reports after 48 hours of it, as long as no report
    /// waits.
    pub(super) async fn forget_report_ids(&mut self, queue: &mpsc::Receiver<Waiting>) {
        let minutes = self.ran_until.elapsed().as_secs() / 60;
        let mut result = Ok(());
        if minutes > 0 {
            result = self.writer.ran(minutes).await;
            if result.is_ok() {
                self.ran_until += Duration::from_secs(minutes * 60);
            }
        }
        while result.is_ok() && queue.is_empty() && !queue.is_closed() {
            match self.writer.forget_report_ids().await {
                Ok((forgotten, left)) => {
                    self.metrics.report_ids_left(left);
                    if forgotten == 0 {
                        return;
                    }
                }
                Err(error) => result = Err(error),
            }
        }
        if let Err(error) = result {
            tracing::error!(%error, "cannot forget ids of reports");
        }
    }

    /// Shows outages and silence in the metrics.
    async fn show_silence(&self) {
        let shown: storage::Result<()> = async {
            let far = self.clock.state() == ClockState::Far;
            self.metrics.outage_seconds(self.database.outage_seconds(far).await?);
            self.metrics.silence(self.database.silence(self.clock.now()).await?);
            Ok(())
        }
        .await;
        if let Err(error) = shown {
            tracing::error!(%error, "cannot read outages");
        }
    }

    /// Keeps a sample of the metrics while `waiting` reports wait.
    pub(super) async fn record(&mut self, waiting: usize) {
        let samples = self.metrics.samples(Sizes::of(&self.database, waiting));
        if let Err(error) = self.writer.record(self.clock.now(), &samples).await {
            tracing::error!(%error, "cannot record the metrics");
        }
    }
}
