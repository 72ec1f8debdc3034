//! The released image in real containers, under emulation where the machine is of another kind.
//!
//! These tests need a Docker engine, its command-line client with Compose, and the static binary
//! (`docs/delivery.md`). They fail where one of these is missing.

mod compose;
mod durability;
mod grafana;
mod hardening;
mod size;
mod start;
mod telemetry_sh;
mod upgrade;
