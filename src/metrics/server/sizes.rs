//! Sizes of the database and its queue.

use crate::storage::Database;

/// Sizes that are read for each scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Number of reports that wait for the writer.
    pub queue: usize,
    /// Size of the database file.
    pub database_bytes: u64,
    /// Size of its write-ahead log.
    pub log_bytes: u64,
    /// Number of reads that were interrupted.
    pub interrupted: u64,
}

impl Sizes {
    /// Reads the sizes of the files; `queue` reports wait.
    #[must_use]
    pub fn of(database: &Database, queue: usize) -> Self {
        let (database_bytes, log_bytes) = database.bytes().unwrap_or_default();
        Self { queue, database_bytes, log_bytes, interrupted: database.interrupted() }
    }
}
