use std::time::Instant;
use mattermost_telemetry::{domain::ReportBody, storage::Database};
#[tokio::main]
async fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let total: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let _ = std::fs::remove_dir_all("/tmp/wdb");
    let db = Database::open("sqlite:///tmp/wdb/t.db").await.unwrap();
    let mut w = db.writer();
    let mut x = 88172645463325252u64;
    let mut rnd = || { x ^= x << 13; x ^= x >> 7; x ^= x << 17; x };
    let t0 = Instant::now();
    let mut spent = std::time::Duration::ZERO;
    for _ in 0..total / n {
        let batch: Vec<_> = (0..n).map(|_| { let id = rnd(); ReportBody {
            instance_id: Some(format!("{:016x}{:016x}", rnd(), rnd())), image_version: Some(format!("v11.{}.0", id % 10)),
            architecture: Some(if id % 3 == 0 {"x86_64"} else {"aarch64"}.into()), os: Some("Linux".into()), db_type: Some("postgres".into()),
            startup_time_ms: Some((500 + id % 20000) as i64), telemetry_version: Some("1.0".into()), ..ReportBody::default() }.into_report().unwrap() }).collect();
        let t = Instant::now();
        w.write(jiff::Timestamp::now(), &batch).await.unwrap();
        spent += t.elapsed();
    }
    let _ = t0;
    println!("batch {n}: {:.2} us/report, {:.3} ms/commit, {:.0}/s", spent.as_secs_f64()*1e6/total as f64, spent.as_secs_f64()*1e3/(total/n) as f64, total as f64/spent.as_secs_f64());
    w.close().await.unwrap();
    println!("bytes/report {}", std::fs::metadata("/tmp/wdb/t.db").unwrap().len() as f64 / total as f64);
}
