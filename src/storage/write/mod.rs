//! Writing: reports are stored a batch a transaction, then indexed and rolled up. Some are set aside
//! instead, by quarantines and purges. Samples of the server's own metrics are recorded, too.

mod fleet;
mod index_reports;
mod labels;
mod pack_days;
mod quarantines;
mod record_samples;
mod report_ids;
mod roll_up_hours;
mod set_aside;
mod store_batch;
mod traffic;
mod writer;

pub(super) use fleet::{Fleet, Snapshot, closed_until, last_end};
pub(super) use index_reports::INDEX_WITHIN;
pub(super) use labels::{Labels, Standing};
pub use quarantines::{Quarantine, QuarantineState};
pub use record_samples::{LONGEST_GAP, Sample, is_counter};
pub(super) use record_samples::{SAMPLES_KEPT_DAYS, minute};
pub use report_ids::Stored;
pub(super) use roll_up_hours::roll_up_hours;
pub(super) use set_aside::Purged;
pub(super) use store_batch::RowKey;
pub(super) use traffic::Traffic;
pub(super) use writer::Open;
pub use writer::Writer;
