//! The service as its users see it, in one program.
//!
//! Plain `cargo test` runs what needs nothing else. The other tests are ignored, and each names the
//! command that runs it:
//!
//! ```sh
//! cargo test --test suite abuse:: -- --ignored
//! cargo test --test suite promtool:: -- --ignored
//! cargo test --test suite browser:: -- --ignored
//! cargo test --test suite duckdb:: -- --ignored
//! cargo test --test suite federation:: -- --ignored
//! cargo test --test suite prometheus:: -- --ignored
//! cargo test --test suite proxies:: -- --ignored
//! cargo test --test suite replication:: -- --ignored
//! cargo test --test suite client:: -- --ignored
//! cargo test --test suite containers:: -- --ignored
//! .ci/endurance
//! .ci/memory
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod abuse;
mod accuracy;
mod alerts;
mod api;
mod architecture;
mod browser;
mod client;
mod containers;
mod duckdb;
mod endurance;
mod federation;
mod prometheus;
mod proxies;
mod replication;
mod steady_memory;
mod support;
mod wrong_clock;
