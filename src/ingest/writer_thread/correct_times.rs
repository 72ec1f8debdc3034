//! Corrections of the times of reports, once the clock was found to have been wrong.

use std::future::pending;

use tokio::task::{JoinError, JoinHandle};

use super::{Closing, WriterThread};
use crate::{
    domain::{ClockState, Hour},
    storage,
};

/// Waits for the end of a correction, if one is under way.
pub(super) async fn corrected(
    correcting: &mut Option<JoinHandle<storage::Result<u64>>>,
) -> Result<storage::Result<u64>, JoinError> {
    match correcting {
        Some(correcting) => correcting.await,
        None => pending().await,
    }
}

impl WriterThread {
    /// Begins a run of the clock.
    pub(super) async fn begin_run(&mut self) {
        if let Err(error) = self.clock.begin(&mut self.writer).await {
            // The first report tries again.
            tracing::error!(%error, "cannot read the record of the clock");
        }
        self.begin_correction().await;
    }

    /// Looks at the clock. Begins to correct the times of reports if it was wrong.
    pub(super) async fn observe_clock(&mut self) {
        match self.clock.observe(&mut self.writer).await {
            Ok(false) => {}
            Ok(true) => self.begin_correction().await,
            Err(error) => tracing::error!(%error, "cannot record the clock"),
        }
    }

    /// Begins to correct the times of reports, if there are some to be corrected.
    pub(super) async fn begin_correction(&mut self) {
        if self.correcting.is_some() || self.clock.state() == ClockState::Wrong {
            return;
        }
        let indexed = match self.database.has_corrections().await {
            Ok(true) => self.writer.index_all().await,
            Ok(false) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = indexed {
            tracing::error!(%error, "cannot correct the times of reports");
            return;
        }
        self.closing = Closing::Done;
        let now = Hour::of(self.clock.now());
        // It has a connection of its own, whose steps end while a report is being stored.
        self.correcting = Some(tokio::spawn(self.database.clone().correct(now)));
    }

    /// Ends a correction. One that failed is tried again in the next minute.
    pub(super) async fn end_correction(
        &mut self,
        corrected: Result<storage::Result<u64>, JoinError>,
    ) {
        self.correcting = None;
        self.writer.forget_hours(self.clock.now());
        let failed = !matches!(corrected, Ok(Ok(_)));
        match corrected {
            Ok(Ok(reports)) => {
                self.metrics.redated(reports);
                tracing::warn!(reports, "the clock was wrong: the times of reports are corrected");
            }
            Ok(Err(error)) => tracing::error!(%error, "cannot correct the times of reports"),
            Err(error) => tracing::error!(%error, "the correction of times ended early"),
        }
        // The clock may have stepped again meanwhile.
        if !failed {
            self.recounting.hurry();
            self.begin_correction().await;
        }
        self.close_hours();
    }
}
