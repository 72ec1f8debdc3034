//! Years in minutes: steady load with readers, and all that happens to a server meanwhile. Run by
//! `.ci/endurance [MINUTES]`.

mod fleet;
mod machine;
mod table;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::{fleet::Fleet, machine::Machine, table::Table};
use crate::support::Server;

/// Time in which the work of a minute is seen: a minute, and some more.
const CHORES: Duration = Duration::from_secs(90);
/// Time in which the server stores again when the disk has space again.
const RECOVERY: Duration = Duration::from_secs(30);
/// Time of load before, between and after events.
const LOAD: Duration = Duration::from_secs(2);
/// Rows of the reference's database that each cycle brings.
const IMPORTED: u64 = 2_000;
/// Hours to which the clock is set forward in the first cycle; two more in each later one.
const FORWARD_H: u64 = 72;
/// Single reports are kept for this time; what is imported is older.
pub const RETENTION_DAYS: &str = "30";

fn minutes() -> f64 {
    std::env::var("ENDURANCE_MINUTES").map_or(10.0, |minutes| minutes.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/endurance"]
async fn years_in_minutes() {
    let time = Duration::from_secs_f64(minutes() * 60.0);
    let (half, end) = (Instant::now() + time / 2, Instant::now() + time);
    let mut machine = Machine::new();
    machine.start();
    // These come first, so that they are the first to be pruned; nothing is by a clock that is not confirmed.
    assert_eq!(machine.import(IMPORTED).await, IMPORTED);
    machine.command(&["clock", "confirm"]).await;
    let fleet = Fleet::start(machine.address());
    let mut table = Table::default();
    let (mut cycles, mut imported) = (0, IMPORTED);
    // Number of reports that the newest backup of the server's own has at least.
    let mut backed_up = 0;
    while cycles == 0 || Instant::now() < end {
        cycles += 1;
        let backup = format!("{cycles}.db");
        table.watch(&machine, LOAD).await;

        // A correction lets no import begin, and a copy in the middle of one would differ from a recount.
        let begun = Instant::now();
        while !machine.is_corrected().await {
            assert!(begun.elapsed() < 2 * CHORES, "times are still being corrected");
            table.watch(&machine, LOAD / 4).await;
        }
        let rows = (cycles + 1) * IMPORTED;
        let added = machine.import(rows).await;
        assert_eq!(added, rows - imported, "each row is counted once");
        imported = rows;
        table.watch(&machine, LOAD).await;

        machine.command(&["backup", &machine.outside(&backup)]).await;
        table.watch(&machine, LOAD).await;

        let refused = fleet.refused();
        machine.disk.fill();
        wait_for("refusals of a full disk", RECOVERY, async || fleet.refused() > refused).await;
        table.watch(&machine, LOAD).await;
        machine.disk.free();
        let acknowledged = fleet.acknowledged();
        wait_for("a report after a full disk", RECOVERY, async || {
            fleet.acknowledged() > acknowledged
        })
        .await;

        // Reports that later cycles import stand behind reports that are young, and are pruned after these.
        if cycles == 1 {
            let address = machine.address();
            let pruned = async || metric(address, "telemetry_reports_pruned_total").await >= 1;
            wait_for("old reports to be pruned", CHORES, pruned).await;
        }

        // Far enough for the next backup of the server's own.
        let (made, acknowledged) = (machine.backups(), fleet.acknowledged());
        machine.set_clock(&format!("+{}h", FORWARD_H + 2 * cycles));
        table.watch(&machine, LOAD / 4).await;
        wait_for("a backup", CHORES, async || machine.backups().last() != made.last()).await;
        backed_up = acknowledged + imported;
        machine.thin_backups();
        for step in ["+0d", "-2h", "+0d"] {
            machine.set_clock(step);
            table.watch(&machine, LOAD / 4).await;
        }
        // From the half of the time on the same process runs until the end, so that its growth shows.
        if cycles == 1 || Instant::now() < half {
            machine.kill();
            machine.start();
            fleet.goes_to(machine.address());
            table.begin_life();
        }
        table.watch(&machine, LOAD).await;
        let copy = machine.verify(&machine.outside(&backup)).await;
        assert!(copy.0, "the backup: {}", copy.1);
        machine.forget(&backup);
    }
    let fleet = fleet.finish().await;
    let address = machine.address();
    let (least, most) =
        (fleet.acknowledged + imported, fleet.acknowledged + fleet.unknown + imported);
    let stored = total(address).await;
    assert!((least..=most).contains(&stored), "{stored} stored of {least} to {most}");
    wait_for("end of corrections", 2 * CHORES, async || machine.is_corrected().await).await;
    let log = machine.terminate();
    assert!(!log.contains("panicked"), "{log}");
    let (clean, verdict) = machine.verify_own().await;
    assert!(clean, "{verdict}");
    let restored = restored(&machine).await;
    assert!((backed_up..=most).contains(&restored), "{restored} restored of {backed_up}");
    println!("{}", table.page(cycles, &fleet, stored - imported, imported));
    table.assert_flat();
}

/// Restores the newest backup that the server has made, and has a server finish what that had begun to change. Returns
/// its number of reports.
async fn restored(machine: &Machine) -> u64 {
    let database = machine.restore(machine.backups().last().unwrap()).await;
    let path = database.display().to_string();
    let corrected = async || machine.verify(&path).await.0;
    let mut reports = 0;
    // The clock is judged some time after a start. A correction that begins only when the first server ends is finished
    // by the second one, before it ends.
    for _ in 0..2 {
        let server = Server::start(&database);
        wait_for("end of corrections in a backup", 2 * CHORES, corrected).await;
        reports = total(server.address).await;
        let (status, log) = server.terminate();
        assert!(status.success() && !log.contains("panicked"), "{log}");
    }
    let (clean, verdict) = machine.verify(&path).await;
    assert!(clean, "the newest backup: {verdict}");
    reports
}

/// Waits until something is true.
async fn wait_for(what: &str, limit: Duration, is_true: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !is_true().await {
        assert!(begun.elapsed() < limit, "no {what} in {limit:?}");
        tick.tick().await;
    }
}

async fn get(address: SocketAddr, path: &str) -> Option<Value> {
    reqwest::get(format!("http://{address}{path}")).await.ok()?.json().await.ok()
}

async fn total(address: SocketAddr) -> u64 {
    get(address, "/metrics").await.unwrap()["total_deployments"].as_u64().unwrap()
}

/// The present value of one of the server's own metrics; 0 where it has none.
async fn metric(address: SocketAddr, name: &str) -> u64 {
    let scrape = reqwest::Client::new().get(format!("http://{address}/metrics"));
    let Ok(answer) = scrape.header("accept", "text/plain").send().await else { return 0 };
    let text = answer.text().await.unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Value that several tasks count together.
type Shared<T> = Arc<std::sync::Mutex<T>>;
