//! The released image in real containers, under emulation where the machine is of another kind.
//!
//! Needs a Docker engine, its command-line client with Compose, and the static binary; what is
//! missing fails the tests. How to run them: `docs/delivery.md`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compose;
mod durability;
mod grafana;
mod hardening;
mod size;
mod start;
mod support;
mod upgrade;
