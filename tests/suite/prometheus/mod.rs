//! The Prometheus API beside a real Prometheus. These tests need `prometheus` and `promtool`.

mod exported;
mod history;
mod outages;
pub mod process;
mod queries;
mod same_answers;
mod tools;
