//! The clock, as the writer judges it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    clock::Clock,
    domain::{ClockState, Timekeeper, undated},
    metrics::Metrics,
    storage::{Result, Writer},
};

/// Time between two records of the clock that agree.
const RECORDED: Duration = Duration::from_mins(10);

/// The clock and its judge.
pub struct ClockWatch {
    clock: Clock,
    /// `None` before the record of earlier runs was read.
    keeper: Option<Timekeeper>,
    state: Arc<Mutex<ClockState>>,
    metrics: Arc<Metrics>,
    recorded: Instant,
}

impl ClockWatch {
    /// A watch that shows the state in `state` and in the metrics.
    pub fn new(clock: Clock, state: Arc<Mutex<ClockState>>, metrics: Arc<Metrics>) -> Self {
        Self { clock, keeper: None, state, metrics, recorded: Instant::now() }
    }

    /// The present at best guess.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Received time of a report.
    pub fn received_at(&self) -> i64 {
        let reading = self.clock.reading();
        match &self.keeper {
            Some(keeper) => keeper.received_at(reading),
            None => undated(reading.running),
        }
    }

    /// Trust in the clock.
    pub fn state(&self) -> ClockState {
        self.keeper.as_ref().map_or(ClockState::Wrong, |keeper| keeper.stretch().state())
    }

    /// Begins a run by the record of earlier ones.
    ///
    /// # Errors
    /// The database's error.
    pub async fn begin(&mut self, writer: &mut Writer) -> Result<()> {
        let keeper = writer.begin_run(self.clock.released(), self.clock.reading()).await?;
        self.keeper = Some(keeper);
        self.show();
        Ok(())
    }

    /// Looks at the clock. Returns whether reports may have to be corrected.
    ///
    /// # Errors
    /// The database's error.
    pub async fn observe(&mut self, writer: &mut Writer) -> Result<bool> {
        let reading = self.clock.reading();
        let Some(keeper) = &mut self.keeper else {
            self.begin(writer).await?;
            return Ok(true);
        };
        if keeper.agrees(reading) {
            keeper.observe(reading, 0);
            return Ok(false);
        }
        let last_report = writer.last_report().await?;
        let mut observed = keeper.clone();
        let Some(corrections) = observed.observe(reading, last_report) else {
            *keeper = observed;
            return Ok(false);
        };
        // Once it is on record, it is so.
        writer.record_clock(&observed, &corrections).await?;
        *keeper = observed;
        self.show();
        Ok(true)
    }

    /// Keeps the record, and looks whether an operator has confirmed the clock.
    pub async fn keep(&mut self, writer: &mut Writer) {
        let Some(keeper) = &mut self.keeper else { return };
        let result: Result<()> = async {
            if keeper.stretch().needed_ms != 0 && writer.is_confirmed(keeper.stretch()).await? {
                let last_report = writer.last_report().await?;
                let corrections = keeper.confirm(self.clock.reading(), last_report);
                return writer.record_clock(keeper, &corrections).await;
            }
            if self.recorded.elapsed() >= RECORDED {
                self.recorded = Instant::now();
                keeper.forget();
                return writer.record_clock(keeper, &[]).await;
            }
            writer.record_moment(keeper.stretch()).await
        }
        .await;
        if let Err(error) = result {
            tracing::error!(%error, "cannot record the clock");
        }
        self.show();
    }

    /// Keeps the record at the end of the run.
    pub async fn record(&mut self, writer: &mut Writer) {
        if self.observe(writer).await.is_ok()
            && let Some(keeper) = &self.keeper
            && let Err(error) = writer.record_clock(keeper, &[]).await
        {
            tracing::error!(%error, "cannot record the clock");
        }
    }

    /// Shows the state to all who want to know, and logs it where it calls for it.
    fn show(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let state = keeper.stretch().state();
        let wrong = state == ClockState::Wrong;
        self.clock.guess(wrong.then(|| keeper.present(self.clock.reading())));
        self.metrics.clock_is(state);
        let mut shown = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != state {
            *shown = state;
            if let Some(notice) = state.notice() {
                tracing::warn!(clock = state.name(), "{notice}");
            } else {
                tracing::info!(clock = state.name(), "the clock is plausible");
            }
        }
    }
}
