//! Corrections of the times of reports, once the clock was found to have been wrong, and orders of an
//! operator, which are carried out in the same way.

use std::future::pending;

use tokio::task::{JoinError, JoinHandle};

use super::{Closing, WriterThread};
use crate::{
    domain::{ClockState, Hour},
    storage::{self, CarriedOut, Orders, Upkeep},
};

/// State of the orders of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderState {
    /// They are carried out as they come.
    Ready,
    /// The last one could not be carried out.
    Failing,
    /// One was interrupted. It goes on before anything is indexed or deleted.
    Interrupted,
}

/// Waits for the end of a correction, if one is under way.
pub(super) async fn corrected(
    correcting: &mut Option<JoinHandle<storage::Result<Upkeep>>>,
) -> Result<storage::Result<Upkeep>, JoinError> {
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
        self.notice_interrupted(OrderState::Ready).await;
        self.begin_correction().await;
    }

    /// Finds out whether an order was interrupted. Where that cannot be read, the last answer stays.
    async fn notice_interrupted(&mut self, otherwise: OrderState) {
        match self.writer.orders().await {
            Ok(orders) if orders.begun().is_some() => self.orders = OrderState::Interrupted,
            Ok(_) => self.orders = otherwise,
            Err(error) => tracing::error!(%error, "cannot read orders"),
        }
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
        let orders = match self.prepare_upkeep().await {
            Ok(Some(orders)) => orders,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "cannot correct the times of reports or carry out an order");
                return;
            }
        };
        self.closing = Closing::Done;
        let now = Hour::of(self.clock.now());
        // It has a connection of its own, whose steps end while a report is being stored.
        self.correcting = Some(self.upkeep.spawn(self.database.clone().keep_up(now, orders)));
    }

    /// Brings all up to date that a correction or an order changes. Returns the orders; `None` if there is
    /// nothing to do.
    async fn prepare_upkeep(&mut self) -> storage::Result<Option<Orders>> {
        let orders = self.writer.orders().await?;
        if let Some(begun) = orders.begun() {
            return Ok(Some(begun));
        }
        let orders = if self.hours_are_closed() { orders } else { Orders::default() };
        if orders.is_empty() && !self.database.has_corrections().await? {
            return Ok(None);
        }
        if !orders.is_empty() {
            // From here on no report is stored that an order sets aside.
            self.writer.read_set_aside().await?;
        }
        self.writer.index_all().await?;
        Ok(Some(orders))
    }

    /// True if no snapshot is to be taken: an order that makes none anew would let one count too much.
    fn hours_are_closed(&self) -> bool {
        matches!(self.closing, Closing::Done)
            && !self.writer.has_snapshots_to_take(self.clock.now())
    }

    /// True if there are orders to be carried out.
    pub(super) async fn has_orders(&mut self) -> bool {
        self.writer.orders().await.is_ok_and(|orders| !orders.is_empty())
    }

    /// Begins to carry out an operator's order, if there is one. One that failed is tried again in the next
    /// minute.
    pub(super) async fn begin_orders(&mut self) {
        if self.orders == OrderState::Ready && self.has_orders().await {
            if self.hours_are_closed() {
                self.begin_correction().await;
            } else {
                self.close_hours();
            }
        }
    }

    /// Ends a correction. One that failed is tried again in the next minute.
    pub(super) async fn end_correction(
        &mut self,
        corrected: Result<storage::Result<Upkeep>, JoinError>,
    ) {
        self.correcting = None;
        self.writer.forget_hours(self.clock.now());
        let again = match corrected {
            Ok(Ok(Upkeep { redated, orders })) => {
                self.metrics.redated(redated);
                if redated > 0 {
                    tracing::warn!(
                        redated,
                        "the clock was wrong: the times of reports are corrected"
                    );
                }
                if let Some(orders) = orders.filter(|orders| *orders != CarriedOut::default()) {
                    tracing::info!(?orders, "orders are carried out");
                }
                orders.is_some()
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot correct the times of reports or carry out an order");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the correction of times or an order ended early");
                false
            }
        };
        if let Err(error) = self.writer.read_set_aside().await {
            tracing::error!(%error, "cannot read which reports are set aside");
        }
        let state = if again { OrderState::Ready } else { OrderState::Failing };
        self.notice_interrupted(state).await;
        // The clock may have stepped again meanwhile.
        if again {
            self.recounting.hurry();
            self.begin_correction().await;
        }
        self.close_hours();
    }
}
