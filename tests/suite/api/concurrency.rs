//! Reads beside writes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mattermost_telemetry::domain::Dimension;

use crate::support::{App, stock};

/// Readers see only whole transactions, in which everything that is counted agrees, and they
/// do not hold up the writer.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_consistent_counts_while_reports_come_in() {
    const WRITERS: usize = 8;
    const REPORTS: usize = 100;
    let app = Arc::new(App::start().await);
    let writing = Arc::new(AtomicBool::new(true));

    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (app, writing) = (Arc::clone(&app), Arc::clone(&writing));
            tokio::spawn(async move {
                let (mut seen, mut reads) = (0, 0);
                while writing.load(Ordering::Relaxed) {
                    let dimensions = [Dimension::Architecture, Dimension::ImageVersion];
                    let (totals, breakdowns) = app.database.summary(dimensions).await.unwrap();
                    for breakdown in breakdowns {
                        let starts: u64 = breakdown.iter().map(|count| count.starts).sum();
                        assert_eq!(starts, totals.starts);
                    }
                    // Each report is a start with a new id. Ids are indexed right after.
                    assert!(totals.instances <= totals.starts);
                    assert!(totals.starts >= seen, "counts went back");
                    seen = totals.starts;
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let app = Arc::clone(&app);
            tokio::spawn(async move {
                for number in 0..REPORTS {
                    app.report(&stock(&format!("{writer}-{number}"))).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    writing.store(false, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_eq!(app.database.totals().await.unwrap().starts, (WRITERS * REPORTS) as u64);
    assert!(app.database.verify(app.now()).await.unwrap().is_clean());
}
