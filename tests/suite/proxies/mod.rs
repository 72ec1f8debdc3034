//! The server behind real reverse proxies, configured as docs/proxies.md says. These tests need
//! `nginx`, `haproxy` and `caddy`.

mod behind;
pub mod process;
mod relay;
