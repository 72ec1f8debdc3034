//! The sizes of the server over time, and the table of a run.

use std::time::{Duration, Instant};

use super::{
    fleet::Reported,
    machine::{Machine, Sizes},
};

/// Time between two looks at the server.
const LOOK: Duration = Duration::from_millis(100);
/// Life of a server after which growth can be told from what it uses for the first time.
const LONG: Duration = Duration::from_mins(3);
/// The most memory that it may have, however long it lives.
const MOST_MEMORY_KB: u64 = 64 * 1024;
/// Growth that is no growth: of memory, from one quarter of the life of a server to the next.
const MEMORY_KB: u64 = 4 * 1024;
/// The same of open files: connections that are open at the moment.
const OPEN_FILES: u64 = 16;
/// The most that the log may have: twice what it is cut at, and a transaction of an import.
const LOG_BYTES: u64 = 48 << 20;

#[derive(Debug)]
pub struct Table {
    begun: Instant,
    lives: Vec<Life>,
}

/// Figures of one process of the server.
#[derive(Debug)]
struct Life {
    begun: Instant,
    lasted: Duration,
    looks: Vec<Sizes>,
}

impl Default for Life {
    fn default() -> Self {
        Self { begun: Instant::now(), lasted: Duration::ZERO, looks: Vec::new() }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { begun: Instant::now(), lives: vec![Life::default()] }
    }
}

impl Table {
    /// Looks at the server for some time, while the load goes on.
    pub async fn watch(&mut self, machine: &Machine, time: Duration) {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(LOOK);
        while begun.elapsed() < time {
            tick.tick().await;
            let life = self.lives.last_mut().unwrap();
            life.looks.push(machine.sizes());
            life.lasted = life.begun.elapsed();
        }
    }

    /// Begins the figures of another process.
    pub fn begin_life(&mut self) {
        self.lives.push(Life::default());
    }

    fn longest(&self) -> &Life {
        self.lives.iter().max_by_key(|life| life.lasted).unwrap()
    }

    fn looks(&self) -> impl Iterator<Item = &Sizes> {
        self.lives.iter().flat_map(|life| &life.looks)
    }

    /// Medians of a size in the last three quarters of the longest life: a server that has just started
    /// has not used everything yet.
    fn medians(&self, size: impl Fn(&Sizes) -> u64) -> [u64; 3] {
        let looks = &self.longest().looks;
        let length = looks.len() / 4;
        [1, 2, 3].map(|quarter| {
            let mut sizes: Vec<_> = looks[quarter * length..][..length].iter().map(&size).collect();
            sizes.sort_unstable();
            sizes[length / 2]
        })
    }

    fn most(&self, size: impl Fn(&Sizes) -> u64) -> u64 {
        self.looks().map(size).max().unwrap_or_default()
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
        let over_time = |size: fn(&Sizes) -> u64| {
            let [second, third, last] = self.medians(size);
            format!("{second} / {third} / {last} / {}", self.most(size))
        };
        let memory = over_time(|sizes| sizes.memory_kb / 1024);
        let files = over_time(|sizes| sizes.open_files);
        let log = over_time(|sizes| sizes.log_bytes >> 20);
        let database = self.looks().last().map_or(0, |look| look.database_bytes >> 20);
        format!(
            "| Figure | Value |\n|---|---:|\n\
             | time | {:.0} s, {cycles} cycles |\n\
             | reports acknowledged / stored / lost | {} / {stored} / 0 |\n\
             | without an answer (server killed) / refused (disk full) | {} / {} |\n\
             | imported | {imported} |\n\
             | readings | {} |\n\
             | `/collect` p50 / p99 / most | {:.1} / {:.1} / {:.1} ms |\n\
             | process that lived longest | {:.0} s |\n\
             | its memory, second / third / last quarter / most | {memory} MiB |\n\
             | open files, the same | {files} |\n\
             | log, the same | {log} MiB |\n\
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
            self.longest().lasted.as_secs_f64(),
        )
    }

    /// Asserts that nothing grows with the time of running. What fills a cache comes to an end.
    pub fn assert_flat(&self) {
        let most = self.most(|sizes| sizes.memory_kb);
        assert!(most <= MOST_MEMORY_KB, "it took {most} kB");
        let most = self.most(|sizes| sizes.log_bytes);
        assert!(most <= LOG_BYTES, "the log had {most} bytes");
        if self.longest().lasted < LONG {
            return;
        }
        let [_, memory, later] = self.medians(|sizes| sizes.memory_kb);
        assert!(later <= memory + MEMORY_KB, "memory grows: {memory} to {later} kB");
        let [_, files, later] = self.medians(|sizes| sizes.open_files);
        assert!(later <= files + OPEN_FILES, "open files: {files} to {later}");
    }
}
