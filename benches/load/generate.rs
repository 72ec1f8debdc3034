//! A load generator that needs nothing installed: as many clients as connections, each sending
//! its next report when the last one was answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::Mutex};

/// Sends reports for a while and prints, for [`crate::ingest`], how many were answered, how many
/// of these with something else than 200, and the 99th percentile of their times in ms.
pub fn run(address: &str, connections: u64, seconds: u64) {
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
                    let mut random = 88_172_645_463_325_252_u64.wrapping_mul(2 * number + 1);
                    while Instant::now() < end {
                        let begun = Instant::now();
                        let request = client.post(&url).header("content-type", "application/json");
                        let answer = request.body(report(&mut random)).send().await.unwrap();
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

/// A report as in `report.lua`.
fn report(random: &mut u64) -> String {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let (id, rest) = (next(), next());
    format!(
        r#"{{"instance_id":"{id:016x}{rest:016x}","image_version":"v11.{}.0","architecture":"{}","os":"Linux","container_runtime":"","startup_time_ms":{},"db_type":"postgres","telemetry_version":"1.0"}}"#,
        id % 10,
        if id.is_multiple_of(3) { "x86_64" } else { "aarch64" },
        500 + id % 20_000
    )
}
