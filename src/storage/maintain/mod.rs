//! Upkeep of the database: what passing time and operators ask for.

mod backup;
mod close_hours;
mod import;
mod reference;
mod retention;
mod snapshots;
mod verify;

pub use reference::{ImportError, Moved};
pub use verify::Verdict;
