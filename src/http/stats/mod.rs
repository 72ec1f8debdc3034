//! `/stats/…`: counts over many reports. One file a question.

mod active;
mod breakdowns;
mod startup;
mod timeseries;

pub use active::*;
pub use breakdowns::*;
pub use startup::*;
pub use timeseries::*;
