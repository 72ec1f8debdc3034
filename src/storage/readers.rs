//! The connections that read, and the end of what nobody waits for any more.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// Readers that may work at the same time.
const READERS: u32 = 4;
/// Time for which a question waits for a reader.
const ACQUIRE_TIME_LIMIT: Duration = Duration::from_secs(5);
/// Sizes of SQLite's page caches, in its unit: minus kibibytes. Pages that they do not hold are
/// still in the operating system's cache.
const CACHE: &str = "-1000";
const PROBE_CACHE: &str = "-50";
/// Rows that a reader hands over before it waits for them to be taken: a page of reports is
/// then a few changes of thread instead of many.
const ROWS_AT_A_TIME: usize = 1000;
/// Instructions of SQLite's machine, some tenths of a millisecond, between two looks at whether
/// somebody still waits.
const INSTRUCTIONS: i32 = 10_000;

/// The connections that read.
#[derive(Debug, Clone)]
pub struct Readers {
    pool: SqlitePool,
    /// A connection that no question holds, to find out whether the database answers.
    probe: SqlitePool,
    interrupted: Arc<AtomicU64>,
}

/// A connection that reads. When it is dropped its statement is interrupted: SQLite would go on until
/// the next row, and the connection would be of no use to others until then.
#[derive(Debug)]
pub struct Reader {
    // Dropped first, so that the connection can be given back at once.
    _awaited: Arc<()>,
    connection: PoolConnection<Sqlite>,
}

impl Readers {
    /// Connections that are made when they are first needed.
    pub fn new(options: &SqliteConnectOptions) -> Self {
        let options = options.clone().read_only(true);
        let pool = |connections, cache| {
            let options = options.clone().pragma("cache_size", cache);
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIME_LIMIT)
                .test_before_acquire(false)
                .connect_lazy_with(options.row_buffer_size(ROWS_AT_A_TIME))
        };
        Self {
            pool: pool(READERS, CACHE),
            probe: pool(1, PROBE_CACHE),
            interrupted: Arc::default(),
        }
    }

    /// Waits for a connection.
    pub async fn acquire(&self) -> sqlx::Result<Reader> {
        let mut connection = self.pool.acquire().await?;
        let awaited = Arc::new(());
        let watched = Arc::downgrade(&awaited);
        let interrupted = Arc::clone(&self.interrupted);
        let go_on = move || {
            let go_on = watched.strong_count() > 0;
            if !go_on {
                interrupted.fetch_add(1, Ordering::Relaxed);
            }
            go_on
        };
        // The connection is idle, so this waits for nothing.
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, go_on);
        Ok(Reader { _awaited: awaited, connection })
    }

    /// The connection on which no question runs.
    pub const fn probe(&self) -> &SqlitePool {
        &self.probe
    }

    /// Number of statements that were interrupted.
    pub fn interrupted(&self) -> u64 {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.probe.close().await;
        self.pool.close().await;
    }
}

impl Deref for Reader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;
    use tempfile::TempDir;
    use tokio::time::{Duration, timeout};

    use crate::storage::Database;

    /// Counts for hours.
    const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) \
                           SELECT count(*) FROM n";
    /// Far more than an interruption takes.
    const NET: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_statement_ends_when_nobody_waits_for_it() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        for round in 0..3 {
            // As many as there are readers, alone and in a transaction.
            let (alone, within) = (
                async {
                    sqlx::query(ENDLESS).execute(&mut *database.reader().await.unwrap()).await
                },
                async {
                    let mut reader = database.reader().await.unwrap();
                    let mut snapshot = reader.begin().await.unwrap();
                    sqlx::query(ENDLESS).execute(&mut *snapshot).await
                },
            );
            let all = async { tokio::join!(alone, within) };
            assert!(timeout(Duration::from_millis(50), all).await.is_err(), "endless");
            // All of them are free again, and outside of any transaction.
            let mut readers = Vec::new();
            for _ in 0..super::READERS {
                let mut reader = timeout(NET, database.reader()).await.unwrap().unwrap();
                reader.begin().await.unwrap().rollback().await.unwrap();
                readers.push(reader);
            }
            assert_eq!(database.interrupted(), 2 * (round + 1));
        }
        database.close().await;
    }

    #[tokio::test]
    async fn the_probe_waits_for_no_reader() {
        let folder = TempDir::new().unwrap();
        let database = Database::open_in(&folder).await;
        let mut readers = Vec::new();
        for _ in 0..super::READERS {
            readers.push(database.reader().await.unwrap());
        }
        database.ping().await.unwrap();
        drop(readers);
        database.close().await;
    }
}
