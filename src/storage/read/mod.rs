//! Answers out of the database: one file a question.

mod active;
mod activity_at;
mod all_time;
mod instances_at;
mod newest_reports;
mod profiles;
mod samples;
mod starts_at;
mod startup;
mod stretches;
mod table;
mod timeseries;

pub use active::ActiveInstances;
pub use activity_at::Activity;
pub(super) use activity_at::ActivityNow;
pub use all_time::{Breakdown, Totals};
pub use newest_reports::{ReportFilter, StoredReport};
pub use startup::StartupBreakdown;
pub use table::{Groups, Table};
pub use timeseries::{Interval, Period};
