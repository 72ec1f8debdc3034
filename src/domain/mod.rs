//! The rules: the report, its fields and its normal form; the units in which it is counted; the judges of
//! the clock, of outages, of silence and of what needs an operator; the numbers that are published; and the
//! plan of backups.
//!
//! Pure: no IO, no clock, no randomness.

mod attention;
mod backup_plan;
mod calendar;
mod collected;
mod correction;
mod dimension;
mod dropped;
mod hour;
mod instance_id;
mod normal_form;
mod outage;
mod profile;
mod public_numbers;
mod quantile;
mod release;
mod report;
mod report_id;
mod selection;
mod silence;
mod slowdown;
mod startup;
mod stretch;
mod timekeeper;
mod value;
mod well_known;
mod window;

pub use attention::{Attention, is_disk_low, refused_ratio};
pub use backup_plan::{BackupEvery, BackupKeep};
pub use calendar::{CalendarWindow, day_of, day_of_ms, start_of_day};
pub use collected::{Collected, Kept, collected};
pub use correction::{Correction, Corrections};
pub use dimension::{Dimension, OTHER};
pub use dropped::Dropped;
pub use hour::{Hour, Moment};
pub use instance_id::{InstanceId, MAX_ID_CHARS};
pub use normal_form::UNKNOWN;
pub use outage::{BEFORE_RECORDS, Outage, OutageTimes};
pub use profile::Profile;
pub use public_numbers::{ExactCounts, PublicAdoption, PublicCounts, PublicGroup, PublicNumbers};
pub use quantile::histogram_quantile;
pub use release::{is_plausible_release, is_release, newer_release};
pub use report::{Accepted, MAX_STARTUP_MS, Report, ReportBody, ReportKind, Salvaged};
pub use report_id::ReportId;
pub use selection::Selection;
pub use silence::{USUAL_HOURS, is_silent};
pub use slowdown::{BucketSum, slowdown};
pub use startup::{BOUNDS_MS, BUCKETS, StartupTimes};
pub use stretch::{ClockState, Reading, Stretch, undated};
pub use timekeeper::Timekeeper;
pub use value::{MAX_VALUE_CHARS, Value};
pub use well_known::is_well_known;
pub use window::Window;
