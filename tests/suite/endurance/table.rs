//! The sizes of the server over time, and the table of a run.

use std::time::{Duration, Instant};

use super::{
    fleet::Reported,
    machine::{Machine, Sizes},
};

/// Time between two looks at the server.
const LOOK: Duration = Duration::from_millis(100);
/// Growth that is no growth: of memory, from the second quarter of a run to its last. A run of a minute is
/// one start of the server and what it has not used before.
const MEMORY_KB: u64 = 8 * 1024;
/// The same of open files: connections that are open at the moment.
const OPEN_FILES: u64 = 16;
/// The most that the log may have: twice what it is cut at, and a transaction of an import.
const LOG_BYTES: u64 = 48 << 20;

#[derive(Debug)]
pub struct Table {
    begun: Instant,
    looks: Vec<Sizes>,
}

impl Default for Table {
    fn default() -> Self {
        Self { begun: Instant::now(), looks: Vec::new() }
    }
}

impl Table {
    /// Looks at the server for some time, while the load goes on.
    pub async fn watch(&mut self, machine: &Machine, time: Duration) {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(LOOK);
        while begun.elapsed() < time {
            tick.tick().await;
            self.looks.push(machine.sizes());
        }
    }

    /// Median of a size in a quarter of the run, counted from 0.
    fn median(&self, quarter: usize, size: impl Fn(&Sizes) -> u64) -> u64 {
        let length = self.looks.len() / 4;
        let mut sizes: Vec<_> = self.looks[quarter * length..][..length].iter().map(size).collect();
        sizes.sort_unstable();
        sizes[length / 2]
    }

    fn most(&self, size: impl Fn(&Sizes) -> u64) -> u64 {
        self.looks.iter().map(size).max().unwrap_or_default()
    }

    /// A table in Markdown.
    pub fn page(&self, cycles: u64, fleet: &Reported, stored: u64, imported: u64) -> String {
        let quantile = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a place"
            )]
            let place = (fleet.times.len() as f64 * share) as usize;
            fleet.times[place.min(fleet.times.len() - 1)].as_secs_f64() * 1000.0
        };
        let quarters =
            |size: fn(&Sizes) -> u64| [self.median(1, size), self.median(3, size), self.most(size)];
        let [memory, later_memory, most_memory] = quarters(|sizes| sizes.memory_kb / 1024);
        let [files, later_files, most_files] = quarters(|sizes| sizes.open_files);
        let [log, later_log, most_log] = quarters(|sizes| sizes.log_bytes >> 20);
        let database = self.looks.last().map_or(0, |look| look.database_bytes >> 20);
        format!(
            "| Figure | Value |\n|---|---:|\n\
             | time | {:.0} s, {cycles} cycles |\n\
             | reports acknowledged / stored / lost | {} / {stored} / 0 |\n\
             | without an answer (server killed) / refused (disk full) | {} / {} |\n\
             | imported | {imported} |\n\
             | readings | {} |\n\
             | `/collect` p50 / p99 / most | {:.1} / {:.1} / {:.1} ms |\n\
             | memory, second quarter / last quarter / most | {memory} / {later_memory} / {most_memory} MiB |\n\
             | open files, the same | {files} / {later_files} / {most_files} |\n\
             | log, the same | {log} / {later_log} / {most_log} MiB |\n\
             | database at the end | {database} MiB |\n\
             | `verify` | clean |",
            self.begun.elapsed().as_secs_f64(),
            fleet.acknowledged,
            fleet.unknown,
            fleet.refused,
            fleet.reads,
            quantile(0.5),
            quantile(0.99),
            quantile(1.0),
        )
    }

    /// Asserts that nothing grows with the time of running.
    pub fn assert_flat(&self) {
        let [memory, later] = [1, 3].map(|quarter| self.median(quarter, |sizes| sizes.memory_kb));
        assert!(later <= memory + MEMORY_KB, "memory grows: {memory} to {later} kB");
        let [files, later] = [1, 3].map(|quarter| self.median(quarter, |sizes| sizes.open_files));
        assert!(later <= files + OPEN_FILES, "open files: {files} to {later}");
        assert!(self.most(|sizes| sizes.log_bytes) <= LOG_BYTES, "{:?}", self.looks);
    }
}
