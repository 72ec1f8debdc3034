//! The watch of each minute over what an operator should know, on a connection of its own: no report waits
//! for it.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::WriterThread;

/// Time between two comparisons of startup times, which read a month of them.
const COMPARED: Duration = Duration::from_hours(1);

/// See [`WriterThread::begin_watch`].
#[derive(Default)]
pub(super) struct Watching {
    task: Option<JoinHandle<()>>,
    compared: Option<Instant>,
}

impl Watching {
    /// Waits for the end of the watch, if one is under way.
    pub(super) async fn ended(&mut self) {
        match &mut self.task {
            Some(task) => {
                if let Err(error) = task.await {
                    tracing::error!(%error, "the watch ended early");
                }
                self.task = None;
            }
            None => pending().await,
        }
    }

    /// Ends it early.
    pub(super) async fn abort(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Its connection is closed before the log is copied.
            let _ = task.await;
        }
    }
}

impl WriterThread {
    /// Begins to look at the disk, at refused reports and, once an hour, at startup times. Returns false
    /// if the last watch is still under way.
    pub(super) fn begin_watch(&mut self) -> bool {
        if self.watching.task.is_some() {
            return false;
        }
        let compare = self.watching.compared.is_none_or(|last| last.elapsed() >= COMPARED);
        if compare {
            self.watching.compared = Some(Instant::now());
        }
        let (database, metrics) = (self.database.clone(), self.metrics.clone());
        let now = self.clock.now();
        self.watching.task = Some(tokio::spawn(async move {
            if let Err(error) = metrics.watch(&database, now).await {
                tracing::error!(%error, "cannot look at the disk and at refused reports");
            }
            if compare && let Err(error) = metrics.compare_releases(&database, now).await {
                tracing::error!(%error, "cannot compare startup times");
            }
        }));
        true
    }
}
