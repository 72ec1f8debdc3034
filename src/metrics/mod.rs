//! Metrics: the catalogue of the fleet's metrics, and the server's own.

mod catalogue;
mod server;
mod spelling;

pub use catalogue::{
    BUCKET_LABEL, Description, LATER_WEEKS_LABEL, Metric, RECENT_STARTS, WEEK_LABEL, WINDOW_LABEL,
    bucket_bounds, bucket_label,
};
pub use server::{BackupState, Health, Metrics, ScrapeFormat, Sizes, is_server_metric};
