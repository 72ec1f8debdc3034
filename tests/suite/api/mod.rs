//! The server over HTTP, and the commands of its binary.

mod bodies;
mod clock;
mod collect;
mod commands;
mod concurrency;
mod connections;
mod crash;
mod dashboards;
mod dimensions;
mod errors;
mod files;
mod full_disk;
mod grafana;
mod grafana_requests;
mod hostile;
mod import_beside;
mod limits;
mod privacy;
mod promql;
mod readers;
mod reads;
mod reference;
mod rollups;
mod scrape;
mod simulate;
mod values;
