//! Upkeep of the database: the tasks of the clock and of operators.

mod adoptions;
mod backup;
mod close_hours;
mod copy;
mod correct;
mod count_changes;
mod import;
mod instance_changes;
mod orders;
mod outages;
mod pace;
mod public_numbers;
mod purge;
mod quarantine;
mod rebuild_snapshots;
mod recount_calendar;
mod reference;
mod reference_row;
mod repair;
mod report_changes;
mod retention;
mod snapshots;
mod stretches;
mod thin;
mod verify;

pub use backup::{BackupError, PART, Part};
pub use close_hours::Step;
pub use copy::{Contents, CopyError, Source, Watch, check};
pub(super) use copy::{has_forgotten, is_outdated};
pub(super) use import::sort_on_disk;
pub use orders::{CarriedOut, Orders, Upkeep};
pub use quarantine::Preview;
pub use reference::{ImportError, Moved};
pub use snapshots::Taken;
pub use verify::Verdict;
