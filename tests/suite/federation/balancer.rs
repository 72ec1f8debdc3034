//! A load balancer in front of three servers, configured as docs/scaling.md says.

use std::net::SocketAddr;

use crate::proxies::process::{Kind, Proxy};

const PAGE: &str = include_str!("../../../docs/scaling.md");
/// Addresses of the servers in the configurations of the page.
const SERVERS: [&str; 3] = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];

/// Starts it before three servers.
pub async fn start(kind: Kind, servers: [SocketAddr; 3]) -> Proxy {
    let mut config = kind.block(PAGE).to_owned();
    for (written, server) in SERVERS.iter().zip(servers) {
        assert_eq!(config.matches(written).count(), 1, "{written}");
        config = config.replace(written, &server.to_string());
    }
    let balancer = kind.run(&config).await;
    let log = balancer.log();
    let complaints = ["[WARNING]", "[ALERT]", "[warn]", "[emerg]", "\"level\":\"error\""];
    assert!(!complaints.iter().any(|word| log.contains(word)), "{kind:?}: {log}");
    balancer
}
