//! Images, volumes and containers of the tests. Each is removed when it is dropped, so that
//! nothing is left of a test that failed either.

mod docker;
mod grafana;
mod image;
mod load;
mod server;

pub use docker::{docker, unique};
pub use grafana::{Grafana, grafana_image};
pub use image::{Base, Image, PLATFORM, base_image};
pub use load::Acknowledged;
pub use server::{Server, Volume};

/// The stock client's report, with the given id.
pub fn stock(id: &str) -> String {
    serde_json::json!({
        "instance_id": id,
        "image_version": "v11.0.0",
        "architecture": "aarch64",
        "os": "Linux",
        "container_runtime": "",
        "startup_time_ms": 2500,
        "db_type": "postgres",
        "telemetry_version": "1.0"
    })
    .to_string()
}
