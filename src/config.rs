//! Settings: flags and environment variables in, one checked [`Config`] out.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args, ValueEnum, builder::BoolishValueParser};
use http::HeaderValue;
use ipnet::{IpNet, Ipv4Net};
use jiff::SignedDuration;

use crate::domain::{BackupEvery, BackupKeep};

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Place of the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseSettings {
    /// URL of the database; created with its folder if missing
    #[arg(long, env, value_name = "DATABASE_URL", default_value = "sqlite:///data/telemetry.db")]
    pub database_url: String,
}

/// Settings of the log.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// Form of the log lines
    #[arg(long, env, value_name = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Filter of the log, in the form of tracing
    #[arg(long = "log", env = "RUST_LOG", value_name = "RUST_LOG", default_value = "info")]
    pub log_filter: String,
}

/// The settings of `serve`, as given.
#[derive(Debug, Clone, Args)]
pub struct ServeSettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where they are defined")]
    pub database: DatabaseSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where they are defined")]
    pub log: LogSettings,
    /// Address to listen on
    #[arg(long, env, value_name = "SERVER_ADDRESS", default_value = "0.0.0.0:8080")]
    pub server_address: SocketAddr,
    /// Token for all routes but POST /collect, /health and /ready; none if empty
    #[arg(long, env, value_name = "READ_TOKEN", hide_env_values = true)]
    pub read_token: Option<String>,
    /// File that holds the bearer token
    #[arg(long, env, value_name = "READ_TOKEN_FILE")]
    pub read_token_file: Option<PathBuf>,
    /// Networks (CIDR, separated by commas) whose X-Forwarded-For is believed
    #[arg(long, env, value_name = "TRUSTED_PROXIES", default_value = "", value_parser = networks)]
    pub trusted_proxies: Networks,
    /// Reports a minute from one client address; no limit if 0
    #[arg(long, env, value_name = "RATE_LIMIT_PER_MINUTE", default_value_t = 120)]
    pub rate_limit_per_minute: u32,
    /// Reports an hour from one instance id; no limit if 0
    #[arg(long, env, value_name = "INSTANCE_RATE_LIMIT_PER_HOUR", default_value_t = 60)]
    pub instance_rate_limit_per_hour: u32,
    /// Age in days at which single reports are pruned; their counts stay; no pruning if 0
    #[arg(long, env, value_name = "RETENTION_DAYS", default_value_t = 0)]
    pub retention_days: u16,
    /// Folder for backups that the server makes by itself; none if empty
    #[arg(long, env, value_name = "BACKUP_DIR")]
    pub backup_dir: Option<PathBuf>,
    /// Time between two backups, in hours or days
    #[arg(long, env, value_name = "BACKUP_EVERY", default_value = "24h")]
    pub backup_every: BackupEvery,
    /// Number of days, weeks and months of each of which one backup is kept
    #[arg(long, env, value_name = "BACKUP_KEEP", default_value = "7d,4w,12m")]
    pub backup_keep: BackupKeep,
    /// Shows rounded totals and breakdowns to everybody, at /public
    #[arg(
        long,
        env,
        value_name = "PUBLIC_VIEW",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        action = ArgAction::Set
    )]
    pub public_view: bool,
    /// Smallest group of instances that the public view shows, and the step of its counts
    #[arg(long, env, value_name = "PUBLIC_MINIMUM", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub public_minimum: u32,
    /// Origins (separated by commas) that may read from a browser
    #[arg(long, env, value_name = "CORS_ALLOWED_ORIGINS", default_value = "", value_parser = origins)]
    pub cors_allowed_origins: Origins,
    /// Address of Grafana, to which the page of this server links; none if empty
    #[arg(long, env, value_name = "GRAFANA_URL", default_value = "", value_parser = link)]
    pub grafana_url: Link,
}

/// An address that a page links to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link(pub Option<String>);

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

/// A list of origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<HeaderValue>);

/// Checked settings of `serve`.
#[derive(Debug, Clone)]
pub struct Config {
    /// URL of the database.
    pub database_url: String,
    /// Address to listen on.
    pub server_address: SocketAddr,
    /// Token that opens the read routes; `None` leaves them open.
    pub read_token: Option<String>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Reports a minute from one client; 0 is no limit.
    pub rate_limit_per_minute: u32,
    /// Reports an hour from one instance; 0 is no limit.
    pub instance_rate_limit_per_hour: u32,
    /// Age at which single reports are pruned.
    pub retention: Option<SignedDuration>,
    /// Backups that the server makes by itself; `None` for none.
    pub backups: Option<BackupConfig>,
    /// Smallest group of instances that the public view shows; `None` where it is off.
    pub public_minimum: Option<u64>,
    /// Origins that may read from a browser.
    pub cors_allowed_origins: Vec<HeaderValue>,
    /// Address of Grafana.
    pub grafana_url: Option<String>,
}

/// Settings of the backups.
#[derive(Debug, Clone)]
pub struct BackupConfig {
    /// Their folder.
    pub folder: PathBuf,
    /// Time between two of them.
    pub every: Duration,
    /// Rule by which some are kept.
    pub keep: BackupKeep,
}

impl ServeSettings {
    /// Checks the settings that depend on each other.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn check(self) -> anyhow::Result<Config> {
        let days = i64::from(self.retention_days);
        Ok(Config {
            read_token: read_token(self.read_token, self.read_token_file)?,
            database_url: self.database.database_url,
            server_address: self.server_address,
            trusted_proxies: self.trusted_proxies.0,
            rate_limit_per_minute: self.rate_limit_per_minute,
            instance_rate_limit_per_hour: self.instance_rate_limit_per_hour,
            retention: (days > 0).then(|| SignedDuration::from_hours(24 * days)),
            backups: self.backup_dir.filter(|folder| !folder.as_os_str().is_empty()).map(
                |folder| BackupConfig {
                    folder,
                    every: self.backup_every.0,
                    keep: self.backup_keep,
                },
            ),
            public_minimum: self.public_view.then(|| self.public_minimum.into()),
            cors_allowed_origins: self.cors_allowed_origins.0,
            grafana_url: self.grafana_url.0,
        })
    }
}

/// The token of the one setting that is given.
fn read_token(token: Option<String>, file: Option<PathBuf>) -> anyhow::Result<Option<String>> {
    let token = token.filter(|token| !token.is_empty()).map(|token| token.trim().to_owned());
    let file = file.filter(|file| !file.as_os_str().is_empty());
    let (token, name) = match (token, file) {
        (Some(_), Some(_)) => bail!("READ_TOKEN and READ_TOKEN_FILE are both set; keep one"),
        (Some(token), None) => (token, "READ_TOKEN"),
        (None, None) => return Ok(None),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("READ_TOKEN_FILE {} cannot be read", file.display()))?;
            (text.trim().to_owned(), "READ_TOKEN_FILE")
        }
    };
    // Blanks or an empty file must not silently open the read routes.
    if token.is_empty() {
        bail!("{name} holds no token");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{name} must hold printable ASCII characters only, without blanks");
    }
    Ok(Some(token))
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).map(str::trim).filter(|item| !item.is_empty())
}

/// Networks of a list; a bare address is a network of one.
fn networks(list: &str) -> Result<Networks, String> {
    let network = |item: &str| {
        item.parse::<IpNet>()
            .or_else(|_| item.parse::<std::net::IpAddr>().map(IpNet::from))
            .map(canonical)
            .map_err(|_| format!("{item:?} is not an address or a network such as 10.0.0.0/8"))
    };
    items(list).map(network).collect::<Result<_, _>>().map(Networks)
}

/// The IPv4 network that an IPv4-mapped one is: addresses are compared as IPv4 where they are such.
fn canonical(network: IpNet) -> IpNet {
    /// Bits of a mapped address before the IPv4 one.
    const MAPPED: u8 = 96;
    let IpNet::V6(mapped) = network else { return network };
    let v4 = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(MAPPED));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// Origins of a list, as a browser sends them.
fn origins(list: &str) -> Result<Origins, String> {
    let origin = |item: &str| {
        let host = item.strip_prefix("https://").or_else(|| item.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(['/', '*', '@']) => {
                HeaderValue::from_str(item).map_err(|error| error.to_string())
            }
            _ => Err(format!("{item:?} is not an origin such as https://example.com")),
        }
    };
    items(list).map(origin).collect::<Result<_, _>>().map(Origins)
}

/// An address of HTTP or HTTPS, without the slash at its end.
///
/// # Errors
/// One line that says what it is instead.
pub fn link(given: &str) -> Result<Link, String> {
    let given = given.trim();
    if given.is_empty() {
        return Ok(Link(None));
    }
    let scheme = given.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
    match scheme.as_ref().and_then(http::Uri::scheme_str) {
        Some("http" | "https") => Ok(Link(Some(given.trim_end_matches('/').to_owned()))),
        _ => Err(format!("{given:?} is not an address such as https://grafana.example.com")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_an_address_of_http() {
        for (given, link_to) in [
            ("", None),
            (" ", None),
            ("https://example.com/", Some("https://example.com")),
            ("http://10.0.0.1:3000/grafana", Some("http://10.0.0.1:3000/grafana")),
        ] {
            assert_eq!(link(given), Ok(Link(link_to.map(Into::into))), "{given}");
        }
        for given in
            ["example.com", "javascript:alert(1)", "/grafana", "ftp://example.com", "https://"]
        {
            assert!(link(given).is_err(), "{given}");
        }
    }

    #[test]
    fn networks_in_each_notation() {
        for (given, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:172.16.0.0/108, ::ffff:0:0/96", "172.16.0.0/12 0.0.0.0/0"),
            ("::ffff:c0a8:0/112", "192.168.0.0/16"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.1,2001:db8::1", "192.0.2.1/32 2001:db8::1/128"),
            // Not mapped, or wider than what is.
            ("::/0", "::/0"),
            ("::ffff:0:0/95", "::ffff:0.0.0.0/95"),
            ("fd00::/8", "fd00::/8"),
        ] {
            let shown: Vec<String> =
                networks(given).unwrap().0.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), expected, "{given}");
        }
        for given in ["::ffff:10.0.0.0/129", "10.0.0.0/33", "10.0.0", "eth0"] {
            assert!(networks(given).is_err(), "{given}");
        }
    }
}
