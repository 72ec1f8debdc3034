//! Times of the overview's panels over a large made-up fleet, all questions of a panel one after the
//! other.

use std::{collections::BTreeMap, time::Instant};

use mattermost_telemetry::simulation::{
    Clients,
    panels::{Question, dashboards, questions, text},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{fleet, median, server::Server};

const ROUNDS: usize = 15;
/// Days of history, and the longest allowed time of a panel over all of them, in milliseconds.
const HISTORIES: [(i64, f64); 2] = [(90, 50.0), (365, 200.0)];

pub fn run(installations: u32) {
    let runtime = Runtime::new().unwrap();
    for (days, goal) in HISTORIES {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("telemetry.db");
        let now = fleet::now();
        eprintln!("{installations} installations over {days} days: filling");
        let past = fleet::past(installations, days, now, Clients::Mixed);
        let (reports, filled) = runtime.block_on(fleet::fill(&file, past));
        eprintln!("{reports} reports in {:.0} s", filled.as_secs_f64());

        let server = Server::telemetry(&file);
        let idle = server.memory("VmHWM");
        println!(
            "\n{installations} installations, {days} days, {reports} reports: p50 of {ROUNDS} in ms"
        );
        let mut slowest: f64 = 0.0;
        let overview = dashboards()
            .unwrap()
            .into_iter()
            .find(|dashboard| text(dashboard, "uid") == "mattermost-overview")
            .unwrap();
        let questions = questions(&overview, now.as_second(), days * 86_400).unwrap();
        for (panel, times) in runtime.block_on(ask(&server.address, &questions, ROUNDS)) {
            let time = median(times);
            slowest = slowest.max(time);
            println!("{panel:50}{time:>10.1}");
        }
        println!("{:50}{slowest:>10.1}   (goal {goal})", "slowest panel");
        println!("memory: {idle:.1} MB before, {:.1} MB at most (goal 32)", server.memory("VmHWM"));
    }
}

/// The times of each panel, in milliseconds: the sum of its questions, in each round.
pub async fn ask(
    address: &str,
    questions: &[Question],
    rounds: usize,
) -> BTreeMap<String, Vec<f64>> {
    let client = reqwest::Client::new();
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let mut round: BTreeMap<&str, f64> = BTreeMap::new();
        for question in questions {
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
