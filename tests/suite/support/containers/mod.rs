//! Images, volumes and containers of the tests. Each is removed when it is dropped, so that
//! nothing is left of a test that failed either.

mod docker;
mod grafana;
mod image;
mod server;

pub use docker::{docker, unique};
pub use grafana::{Grafana, grafana_image};
pub use image::{Base, Image, architecture, base_image, platform};
pub use server::{Server, Volume};
