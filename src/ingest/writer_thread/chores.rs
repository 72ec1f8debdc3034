//! Chores of each minute that may take many steps: what has become too old is deleted, what was indexed is
//! added to the windows of the calendar, and days that are over are packed. Reports are stored between two
//! steps, however many come.

use std::{collections::VecDeque, future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::WriterThread;
use crate::{domain::ClockState, storage};

/// Rest between two steps while reports wait. A step takes some milliseconds.
const REST: Duration = Duration::from_millis(12);

/// A chore, named as in "cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    ForgetReportIds,
    CountCalendar,
    PackDays,
    Thin,
    Prune,
}

impl Chore {
    /// All of them, in their order.
    const ALL: [Self; 5] =
        [Self::ForgetReportIds, Self::CountCalendar, Self::PackDays, Self::Thin, Self::Prune];

    const fn name(self) -> &'static str {
        match self {
            Self::ForgetReportIds => "forget ids of reports",
            Self::CountCalendar => "count windows of the calendar",
            Self::PackDays => "pack days",
            Self::Thin => "delete what has become too old",
            Self::Prune => "prune old reports",
        }
    }
}

/// Chores that are left in this minute.
#[derive(Debug)]
pub(super) struct Chores {
    left: VecDeque<Chore>,
    rest_until: Instant,
}

impl Default for Chores {
    fn default() -> Self {
        Self { left: VecDeque::new(), rest_until: Instant::now() }
    }
}

impl Chores {
    /// Begins with the first one.
    pub(super) fn begin(&mut self) {
        self.left = Chore::ALL.into();
    }

    /// Waits until the next step is due.
    pub(super) async fn wait(&self) {
        if self.left.is_empty() {
            pending::<()>().await;
        } else {
            sleep_until(self.rest_until).await;
        }
    }
}

impl WriterThread {
    /// Takes a step of the next chore. `busy` says that reports wait.
    pub(super) async fn do_chore(&mut self, busy: bool) {
        let Some(&chore) = self.chores.left.front() else { return };
        let more = match chore {
            Chore::ForgetReportIds => self.forget_report_ids().await,
            Chore::CountCalendar => self.count_calendar().await,
            Chore::PackDays => self.pack_days().await,
            Chore::Thin => self.thin().await,
            Chore::Prune => self.prune().await,
        };
        let more = more.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot {}", chore.name());
            false
        });
        if !more {
            self.chores.left.pop_front();
        }
        let rest = if busy { REST } else { Duration::ZERO };
        self.chores.rest_until = Instant::now() + rest;
    }

    /// Forgets some ids of reports that 48 hours of running have passed since. Returns whether there may be
    /// more.
    async fn forget_report_ids(&mut self) -> storage::Result<bool> {
        let (forgotten, left) = self.writer.forget_report_ids().await?;
        self.metrics.report_ids_left(left);
        Ok(forgotten > 0)
    }

    async fn count_calendar(&mut self) -> storage::Result<bool> {
        let more = self.writer.add_calendar_moves().await? | self.writer.find_adoptions().await?;
        if !more {
            self.recount_calendar().await;
        }
        Ok(more)
    }

    /// Packs days that are over, but for a clock that is wrong and while reports are being changed.
    async fn pack_days(&mut self) -> storage::Result<bool> {
        if self.may_close() { self.writer.pack_days().await } else { Ok(false) }
    }

    /// True while what is too old may be deleted: the clock is trusted, and each report is indexed before.
    fn may_delete(&self) -> bool {
        self.may_index() && self.clock.state() == ClockState::Confirmed
    }

    async fn thin(&mut self) -> storage::Result<bool> {
        if !self.may_delete() {
            return Ok(false);
        }
        self.writer.thin(self.clock.now()).await
    }

    async fn prune(&mut self) -> storage::Result<bool> {
        let cutoff = self.retention.and_then(|age| self.clock.now().checked_sub(age).ok());
        // An order that puts reports back must find them there.
        let Some(cutoff) = cutoff else { return Ok(false) };
        if !self.may_delete() || self.has_orders().await {
            return Ok(false);
        }
        let reports = self.writer.prune(cutoff).await?;
        self.metrics.pruned(reports);
        Ok(reports > 0)
    }
}
