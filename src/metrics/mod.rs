//! Metrics: the catalogue of the fleet's metrics, and the server's own.

mod catalogue;
mod server;
mod spelling;

pub use catalogue::{
    BUCKET_LABEL, Description, Metric, RECENT_STARTS, WINDOW_LABEL, bucket_bounds, bucket_label,
};
pub use server::{Metrics, ScrapeFormat, Sizes, is_server_metric};
