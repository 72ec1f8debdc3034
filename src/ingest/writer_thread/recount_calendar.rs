//! Windows of the calendar that are counted anew, on a connection of their own.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::WriterThread;
use crate::storage;

/// Time between two recounts where reports keep coming in no order of time. Each reads all of them.
const RECOUNTED_AFTER: Duration = Duration::from_hours(1);

/// Recount of windows of the calendar, on a connection of its own.
#[derive(Default)]
pub(super) struct Recounting {
    task: Option<JoinHandle<storage::Result<()>>>,
    begun: Option<Instant>,
}

impl Recounting {
    /// Lets the next recount begin in the minute to come.
    pub(super) fn hurry(&mut self) {
        self.begun = None;
    }

    /// Ends it early. The next run begins anew.
    pub(super) async fn abort(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Its connection is closed before the log is copied.
            let _ = task.await;
        }
    }

    /// True unless one is under way, or was begun not long ago.
    async fn is_due(&mut self) -> bool {
        if let Some(task) = self.task.take_if(|task| task.is_finished()) {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "cannot count windows of the calendar anew");
                }
                Err(error) => tracing::error!(%error, "a recount of the calendar ended early"),
            }
        }
        self.task.is_none() && self.begun.is_none_or(|begun| begun.elapsed() >= RECOUNTED_AFTER)
    }
}

impl WriterThread {
    /// Begins a recount of the windows that are known to be wrong, if there are some.
    pub(super) async fn recount_calendar(&mut self) {
        if self.correcting.is_some() || !self.recounting.is_due().await {
            return;
        }
        match self.database.has_calendar_recounts().await {
            Ok(true) => {
                self.recounting.begun = Some(Instant::now());
                let recount = self.database.clone().recount_calendar();
                self.recounting.task = Some(self.upkeep.spawn(recount));
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot count windows of the calendar anew"),
        }
    }
}
