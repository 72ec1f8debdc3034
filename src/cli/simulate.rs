//! The command `simulate`: writes the past of a made-up fleet, or posts its reports to a server.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, value_parser};
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client;
use crate::{
    clock::Clock,
    config::DatabaseSettings,
    domain::{Report, ReportBody},
    simulation::{Clients, Fleet, Settings},
    storage::Database,
};

/// Time in which the server must answer a report.
const TIME_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Installations in the fleet at its end; most make a new id at every start
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    instances: u32,
    /// Days until the end
    #[arg(long, value_name = "D", default_value_t = 180, value_parser = value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Seed of the fleet
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// End of the fleet's history, such as 2026-01-31T12:00:00Z; now if not given
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Write into a database that holds reports, too: they cannot be separated afterwards
    #[arg(long)]
    force: bool,
    /// Post to the /collect of a running server instead, as if each report happened now
    #[arg(long, value_name = "URL", value_parser = target, conflicts_with_all = ["until", "force"])]
    post: Option<Target>,
    /// Number of reports to post
    #[arg(long, value_name = "N", default_value_t = 100, requires = "post")]
    reports: u32,
    /// Reports to post a second; a server takes 2 from one address by default
    #[arg(long, value_name = "N", default_value_t = 2, requires = "post", value_parser = value_parser!(u32).range(1..=1000))]
    rate: u32,
}

/// Address to which reports are posted.
#[derive(Debug, Clone)]
struct Target {
    /// Host and port.
    server: String,
    path: String,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let now = Clock::system().right()?;
    match &arguments.post {
        Some(target) => post(arguments, target, now).await?,
        None => write(arguments, now).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn length(&self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.days))
    }

    fn fleet(&self, from: Timestamp, until: Timestamp) -> Fleet {
        Fleet::new(Settings {
            installations: self.instances,
            from,
            until,
            seed: self.seed,
            clients: Clients::Mixed,
        })
    }
}

async fn write(arguments: &Arguments, now: Timestamp) -> anyhow::Result<()> {
    let until = arguments.until.unwrap_or(now);
    ensure!(until <= now, "--until {until} is yet to come");
    let from = until.checked_sub(arguments.length()).context("--until is too long ago")?;
    // All at once is quick, and more than a server can wait for.
    let database = Database::open_alone(&arguments.database.database_url).await?;
    let totals = database.totals().await?;
    if totals.starts + totals.heartbeats > 0 && !arguments.force {
        bail!(
            "{} holds reports; name another DATABASE_URL, or mix a made-up fleet into them with --force",
            database.path().display()
        );
    }
    let mut writer = database.writer();
    let stored = writer
        .import_reports(arguments.fleet(from, until), now, |stored| {
            if stored % 100_000 == 0 {
                eprintln!("wrote {stored} reports");
            }
        })
        .await?;
    writer.close().await?;
    database.close().await;
    println!(
        "wrote {stored} reports of {from:.0} to {until:.0} into {}",
        database.path().display()
    );
    Ok(())
}

async fn post(arguments: &Arguments, target: &Target, now: Timestamp) -> anyhow::Result<()> {
    let until = now.checked_add(arguments.length()).context("--days is too long")?;
    let mut ticks = interval(Duration::from_secs(1) / arguments.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut posted = 0;
    for (_, report) in arguments.fleet(now, until).take(arguments.reports as usize) {
        ticks.tick().await;
        timeout(TIME_LIMIT, target.post(report))
            .await
            .with_context(|| format!("{} did not answer within {TIME_LIMIT:?}", target.server))?
            .with_context(|| format!("stopped after {posted} reports"))?;
        posted += 1;
        if posted % 100 == 0 {
            eprintln!("posted {posted} reports");
        }
    }
    println!("posted {posted} reports to http://{}{}", target.server, target.path);
    Ok(())
}

impl Target {
    async fn post(&self, report: Report) -> anyhow::Result<()> {
        // The report happens now.
        let body = ReportBody { timestamp: None, ..report.into() };
        let request = Request::post(&self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(&body)?))?;
        match client::send(&self.server, request).await?.status() {
            StatusCode::OK => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => bail!(
                "{} takes no more for now; use a lower --rate or raise its RATE_LIMIT_PER_MINUTE",
                self.server
            ),
            status => bail!("{} answered {status}", self.server),
        }
    }
}

/// The address of a server, or of its /collect.
fn target(text: &str) -> Result<Target, String> {
    let refuse = || format!("{text:?} is not an address such as http://localhost:8080");
    let url: Uri = text.parse().map_err(|_| refuse())?;
    let host = url.host().filter(|_| url.scheme_str() == Some("http")).ok_or_else(refuse)?;
    let server = format!("{host}:{}", url.port_u16().unwrap_or(80));
    let path = match url.path() {
        "" | "/" => "/collect",
        path => path,
    };
    Ok(Target { server, path: path.to_owned() })
}
