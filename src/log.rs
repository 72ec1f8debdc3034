//! The log, on standard error.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::LogFormat;

/// Starts the log.
///
/// # Errors
/// If the filter cannot be read or a log was started before.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter: Targets =
        filter.parse().with_context(|| format!("RUST_LOG is not a tracing filter: {filter:?}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init()?,
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()?,
    }
    Ok(())
}
