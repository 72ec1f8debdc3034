//! The report: what it may contain, its normal form, and what is measured of it.
//!
//! Pure: no IO, no clock, no randomness.

mod dimension;
mod quantile;
mod report;
mod startup;
mod text;

pub use dimension::{Dimension, OTHER, Profile, newer_release};
pub use quantile::histogram_quantile;
pub use report::{
    EventKind, MAX_ID_CHARS, MAX_STARTUP_MS, MAX_VALUE_CHARS, Report, ReportBody, Salvaged,
};
pub use startup::{BOUNDS_MS, BUCKETS, StartupTimes};
pub use text::{UNKNOWN, architecture as normal_architecture, version as normal_version};
