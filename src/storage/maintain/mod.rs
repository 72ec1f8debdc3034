//! Upkeep of the database: the tasks of the clock and of operators.

mod backup;
mod close_hours;
mod import;
mod pace;
mod reference;
mod retention;
mod snapshots;
mod verify;

pub use backup::BackupError;
pub use reference::{ImportError, Moved};
pub use verify::Verdict;
