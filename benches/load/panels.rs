//! How long each panel of the overview takes over a large made-up fleet, all its questions one
//! after the other.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::{
    simulation::{Fleet, Settings},
    storage::Database,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{median, server::Server};

#[path = "../../tests/api/support/panels.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod questions;

const ROUNDS: usize = 15;
/// Days of history, and how long a panel over all of them may take, in milliseconds.
const HISTORIES: [(i64, f64); 2] = [(90, 50.0), (365, 200.0)];

pub fn run(installations: u32) {
    let runtime = Runtime::new().unwrap();
    for (days, goal) in HISTORIES {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("telemetry.db");
        #[expect(clippy::disallowed_methods, reason = "the fleet is to end now")]
        let now = Timestamp::now();
        eprintln!("{installations} installations over {days} days: filling");
        let url = format!("sqlite://{}", file.display());
        let (reports, filled) = runtime.block_on(fill(&url, installations, days, now));
        eprintln!("{reports} reports in {:.0} s", filled.as_secs_f64());

        let server = Server::telemetry(&file);
        let idle = server.memory("VmHWM");
        println!(
            "\n{installations} installations, {days} days, {reports} reports: p50 of {ROUNDS} in ms"
        );
        let mut slowest: f64 = 0.0;
        for (panel, times) in runtime.block_on(ask(&server.address, now, days)) {
            let time = median(times);
            slowest = slowest.max(time);
            println!("{panel:50}{time:>10.1}");
        }
        println!("{:50}{slowest:>10.1}   (goal {goal})", "slowest panel");
        println!("memory: {idle:.1} MB before, {:.1} MB at most (goal 32)", server.memory("VmHWM"));
    }
}

async fn fill(url: &str, installations: u32, days: i64, now: Timestamp) -> (u64, Duration) {
    let begun = Instant::now();
    let database = Database::open(url).await.unwrap();
    let from = now - SignedDuration::from_hours(24 * days);
    let fleet = Fleet::new(Settings { installations, from, until: now, seed: 1 });
    let mut writer = database.writer();
    let reports = writer.import_arrivals(fleet, now, |_| ()).await.unwrap();
    writer.close().await.unwrap();
    database.close().await;
    (reports, begun.elapsed())
}

/// The times of each panel of the overview, in milliseconds.
async fn ask(address: &str, now: Timestamp, days: i64) -> BTreeMap<String, Vec<f64>> {
    let client = reqwest::Client::new();
    let overview = &questions::dashboards()[0];
    let asked = questions::questions(overview, now.as_second(), days * 86_400);
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut round: BTreeMap<&str, f64> = BTreeMap::new();
        for question in &asked {
            let begun = Instant::now();
            let url = format!("http://{address}{}", question.route);
            let answer = client.post(url).form(&question.form).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", question.expression);
            answer.bytes().await.unwrap();
            *round.entry(&question.panel).or_default() += begun.elapsed().as_secs_f64() * 1000.0;
        }
        for (panel, time) in round {
            times.entry(panel.to_owned()).or_default().push(time);
        }
    }
    times
}
