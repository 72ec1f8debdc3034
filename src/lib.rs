//! A telemetry server for deployed Mattermost containers.
//!
//! A report's way through it: [`http`] takes the request and makes a [`domain::Report`] of it,
//! [`ingest`] queues it and writes it together with all that wait, [`storage`] counts it within
//! the same transaction, and when that is on disk the client gets its answer. The read routes
//! ask [`storage`] for what was counted; those for Grafana by way of [`promql`].
//!
//! [`simulation`] makes reports up, for demonstrations, tests and benchmarks. It knows [`domain`]
//! alone.
//!
//! Dependencies point one way: `main → cli → app → http → ingest → storage → domain`, and
//! [`promql`] stands beside [`ingest`].
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod ingest;
pub mod log;
pub mod metrics;
pub mod promql;
pub mod simulation;
pub mod storage;
