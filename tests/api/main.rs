//! The service as its users see it: over HTTP, or by its commands.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod collect;
mod commands;
mod concurrency;
mod crash;
mod dashboards;
mod errors;
mod full_disk;
mod grafana;
mod limits;
mod privacy;
mod promql;
mod reads;
mod reference;
mod rollups;
mod scrape;
mod simulate;
mod support;
