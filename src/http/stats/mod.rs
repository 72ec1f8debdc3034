//! `/stats/…`: counts over many reports. One file a question.

mod active;
mod breakdowns;
mod startup;
mod timeseries;

use jiff::Timestamp;

pub use active::*;
pub use breakdowns::*;
pub use startup::*;
pub use timeseries::*;

use crate::storage::Interval;

const SECONDS_PER_HOUR: i64 = 3600;

/// First hour of the period that a time lies in, in hours since 1970.
fn first_hour(time: Timestamp, interval: Interval) -> i64 {
    let hour = time.as_second().div_euclid(SECONDS_PER_HOUR);
    hour - hour.rem_euclid(interval.hours())
}
