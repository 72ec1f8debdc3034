//! The Prometheus API beside a real Prometheus. Needs `prometheus` and `promtool`, so plain
//! `cargo test` leaves it out:
//!
//! ```sh
//! cargo test --test prometheus -- --ignored
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod history;
mod process;
mod queries;
mod same_answers;
mod tools;

#[path = "../api/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests that need no Prometheus")]
mod support;
