//! A load generator without any installation: as many clients as connections, each of which sends
//! its next report after the answer to the last one.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mattermost_telemetry::domain::{Report, ReportBody};
use tokio::{runtime::Runtime, sync::Mutex};

use crate::fleet;

/// Sends reports for a while and prints, for [`crate::ingest`], the number of answers, the number
/// of those with another status than 200, and the 99th percentile of their times in ms.
pub fn run(address: &str, connections: u32, seconds: u64) {
    let answers = Arc::new(Mutex::new((Vec::<u32>::new(), 0_u64)));
    Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::new();
        let end = Instant::now() + Duration::from_secs(seconds);
        let senders: Vec<_> = (0..connections)
            .map(|number| {
                let (client, answers) = (client.clone(), Arc::clone(&answers));
                let url = format!("http://{address}/collect");
                tokio::spawn(async move {
                    let (mut times, mut refused) = (Vec::new(), 0);
                    for report in fleet::endless(number) {
                        let begun = Instant::now();
                        if begun >= end {
                            break;
                        }
                        let request = client.post(&url).header("content-type", "application/json");
                        let answer = request.body(body(report)).send().await.unwrap();
                        refused += u64::from(answer.status() != 200);
                        answer.bytes().await.unwrap();
                        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap());
                    }
                    let mut answers = answers.lock().await;
                    answers.0.append(&mut times);
                    answers.1 += refused;
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        let (times, refused) = &mut *answers.lock().await;
        times.sort_unstable();
        let p99 = f64::from(times[times.len() * 99 / 100]) / 1000.0;
        println!("{} {refused} {p99}", times.len());
    });
}

/// Writes reports to a file, one a line, for `report.lua`.
pub fn write(file: &Path, seed: u32, reports: usize) {
    let mut file = BufWriter::new(File::create(file).unwrap());
    for report in fleet::endless(seed).take(reports) {
        writeln!(file, "{}", body(report)).unwrap();
    }
    file.flush().unwrap();
}

/// The body of a request.
fn body(report: Report) -> String {
    serde_json::to_string(&ReportBody::from(report)).unwrap()
}
