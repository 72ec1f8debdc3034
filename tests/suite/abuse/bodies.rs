//! Bodies of reports that are nested deeply.

use std::net::Ipv4Addr;

use futures_util::{StreamExt as _, stream};

use super::{
    raw,
    trial::{REPORTS, Trial},
};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Depth of the larger bodies, which are above the limit of their size.
const DEEP: usize = 100_000;
/// Depth that has room within the limit.
const FITS: usize = 8_000;
/// Times that each body is sent.
const TIMES: usize = 50;
const AT_A_TIME: usize = 16;

/// Nested arrays or objects in each place of a report, closed and open. True if the report is whole and may
/// be stored.
fn bodies() -> Vec<(String, bool)> {
    let mut bodies = Vec::new();
    for depth in [FITS, DEEP] {
        let arrays = "[".repeat(depth) + &"]".repeat(depth);
        let objects = r#"{"a":"#.repeat(depth / 3) + "1" + &"}".repeat(depth / 3);
        let open = "[".repeat(2 * depth - 100);
        for deep in [&arrays, &objects, &open] {
            bodies.push((deep.clone(), false));
            for field in ["instance_id", "image_version", "startup_time_ms", "timestamp", "event"] {
                bodies.push((format!(r#"{{"{field}":{deep}}}"#), false));
            }
            let stored = depth == FITS && deep != &open;
            bodies.push((format!(r#"{{"instance_id":"NAME","unknown":{deep}}}"#), stored));
        }
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn deep_json() {
    let trial = Trial::begin().await;
    let address = trial.address;
    let bodies = bodies();
    let sent = bodies.iter().enumerate().flat_map(|body| (0..TIMES).map(move |time| (body, time)));
    let attacks = stream::iter(sent).for_each_concurrent(AT_A_TIME, |((place, body), time)| {
        let tally = trial.tally.clone();
        async move {
            let text = body.0.replace("NAME", &format!("d{place}-{time}"));
            let request = raw::post("/collect", "application/json", text.as_bytes());
            let answer = raw::exchange(address, ATTACKER, &request).await.unwrap_or_default();
            let status = raw::status(&answer);
            assert_eq!(status == Some(200), body.1, "{status:?} {:.60}", body.0);
            tally.add(status);
        }
    });
    attacks.await;
    trial.honest_reports(REPORTS / 2).await;
    let acknowledged = trial.tally.of(200);
    assert_eq!(acknowledged, (4 * TIMES / 2) as u64);
    trial.judge("deep JSON", acknowledged).await;
}
