//! The chores of each minute.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{super::Waiting, WriterThread};
use crate::{domain::ClockState, metrics::Sizes, storage};

impl WriterThread {
    /// Begins to close hours, takes a sample of the metrics, and begins the chores of many steps.
    pub(super) async fn keep_house(&mut self, queue: &mpsc::Receiver<Waiting>) {
        self.observe_clock().await;
        self.clock.keep(&mut self.writer).await;
        self.begin_correction().await;
        self.close_hours();
        if self.clock.state() != ClockState::Wrong {
            self.show_silence().await;
            // A sample is taken when the watch has ended.
            if !self.begin_watch() {
                self.record(queue.len()).await;
            }
        }
        self.count_running().await;
        if let Err(error) = self.writer.notice_labels().await {
            tracing::error!(%error, "cannot read labels");
        }
        if self.may_index() {
            // An import beside the server may have ended early.
            self.index().await;
        }
        self.chores.begin();
    }

    /// Counts the time of running, by which ids of reports are remembered.
    pub(super) async fn count_running(&mut self) {
        let minutes = self.ran_until.elapsed().as_secs() / 60;
        if minutes == 0 {
            return;
        }
        match self.writer.ran(minutes).await {
            Ok(()) => self.ran_until += Duration::from_secs(minutes * 60),
            Err(error) => tracing::error!(%error, "cannot count the time of running"),
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
