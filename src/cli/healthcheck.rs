//! The command `healthcheck`: asks a running server whether it is ready.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use http::Request;
use http_body_util::Full;
use tokio::time::timeout;

use super::client;

/// Time in which the server must answer.
const TIME_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Address that the server listens on
    #[arg(long, env, value_name = "SERVER_ADDRESS", default_value = "0.0.0.0:8080")]
    server_address: SocketAddr,
}

/// Exit code 0 if `GET /ready` answers 200 in time.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let address = reachable(arguments.server_address);
    timeout(TIME_LIMIT, ask(address))
        .await
        .with_context(|| format!("{address} did not answer within {TIME_LIMIT:?}"))??;
    Ok(ExitCode::SUCCESS)
}

async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let request = Request::get("/ready").body(Full::default())?;
    let status = client::send(&address.to_string(), request).await?.status();
    ensure!(status.is_success(), "{address} answered {status}");
    Ok(())
}

/// Address at which a server that listens on `address` can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
