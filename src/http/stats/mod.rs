//! `/stats/…`: counts over many reports. One file a question.

mod active;
mod adoption;
mod breakdowns;
mod calendar;
mod cohorts;
mod startup;
mod timeseries;

pub use active::*;
pub use adoption::*;
pub use breakdowns::*;
pub use cohorts::*;
pub use startup::*;
pub use timeseries::*;
