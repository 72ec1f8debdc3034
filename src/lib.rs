//! A telemetry server for deployed Mattermost containers.
//!
//! A report's way through it: [`http`] takes the request and makes a [`domain::Report`] of it,
//! [`ingest`] queues it and writes it together with all that wait, [`storage`] counts starts and
//! heartbeats within the same transaction, and when that is on disk the client gets its answer.
//! Instances and startup times follow. The read routes ask [`storage`] for the counts; those for
//! Grafana by way of [`promql`].
//!
//! [`simulation`] makes reports up, for demonstrations, tests and benchmarks. It knows [`domain`]
//! alone.
//!
//! Dependencies point one way, which `tests/suite/architecture.rs` checks:
//! `main → cli → app → http → {ingest, promql} → metrics → storage → domain`, and
//! `app → backups → metrics`. The map, with tables,
//! clock, invariants and glossary, is `docs/architecture.md`.
#![forbid(unsafe_code)]

pub mod app;
pub mod backups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod ingest;
pub mod log;
pub mod metrics;
pub mod promql;
mod retry;
pub mod simulation;
pub mod storage;
