//! Copies of a database, of whatever schema: made, checked, and compared with what they are a copy of.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{LockedSqliteHandle, SqliteConnectOptions},
};

use super::backup::Part;
use crate::storage::{
    BUSY_TIMEOUT, Database, Error, MIGRATIONS, OpenError, Result,
    error::{DISK_FULL, open_error, sqlite_code},
};

/// Instructions of SQLite's machine, some milliseconds, between two calls of a [`Watch`].
const INSTRUCTIONS: i32 = 10_000;

/// Called again and again while SQLite works, on its thread. It may rest; `false` ends the work.
pub type Watch = Arc<dyn Fn() -> bool + Send + Sync>;

/// Contents of a database, as far as they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Reports that count.
    pub reports: i64,
    /// Distinct instances.
    pub instances: i64,
    /// All that makes another backup worth while; empty for another schema than the present one.
    pub state: String,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reports of {} instances", self.reports, self.instances)
    }
}

/// Reason for which a copy is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be opened, or is of a later version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite finds faults in it.
    #[error("{path} is damaged: {finding}", path = .path.display())]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// The first fault.
        finding: String,
    },
    /// It has no table of reports.
    #[error("{path} is a database of another program", path = .0.display())]
    Foreign(PathBuf),
    /// It has less than it should, or more.
    #[error("the copy has {copy}, the database had {before} before and {after} after")]
    Differs {
        /// Contents of the copy.
        copy: Contents,
        /// Contents of the database before.
        before: Contents,
        /// Contents of the database after.
        after: Contents,
    },
    /// The database or the copy cannot be read or written.
    #[error(transparent)]
    Storage(#[from] Error),
}

impl CopyError {
    /// True where the disk has no space left.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Storage(error) if sqlite_code(&error.0) == Some(DISK_FULL))
    }
}

/// A database file that is copied.
#[derive(Debug, Clone)]
pub struct Source(PathBuf);

impl Database {
    /// The database as the source of a copy.
    #[must_use]
    pub fn source(&self) -> Source {
        Source(self.path().to_owned())
    }
}

impl Source {
    /// The source in a file.
    pub(in crate::storage) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its contents at present.
    ///
    /// # Errors
    /// The database's error.
    pub async fn contents(&self) -> Result<Contents> {
        let mut connection = options(&self.0).connect().await?;
        let contents = contents(&mut connection).await?;
        connection.close().await?;
        Ok(contents)
    }

    /// Writes a consistent copy while others write to the database, checks it, and returns what it holds.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub async fn copy(
        &self,
        part: &Part,
        watch: &Watch,
    ) -> std::result::Result<Contents, CopyError> {
        let before = self.contents().await?;
        let mut connection = options(&self.0).connect().await.map_err(Error::from)?;
        let _awaited = watched(&mut connection, watch).await?;
        let path = part.path().to_string_lossy();
        sqlx::query("VACUUM INTO ?")
            .bind(&*path)
            .execute(&mut connection)
            .await
            .map_err(Error::from)?;
        connection.close().await.map_err(Error::from)?;
        let after = self.contents().await?;
        let copy = check(part.path(), watch).await?;
        let between = |copy: i64, before: i64, after: i64| {
            (before.min(after)..=before.max(after)).contains(&copy)
        };
        if between(copy.reports, before.reports, after.reports)
            && between(copy.instances, before.instances, after.instances)
        {
            Ok(copy)
        } else {
            Err(CopyError::Differs { copy, before, after })
        }
    }
}

/// Has SQLite check a copy that nobody writes to, and returns what it holds.
///
/// # Errors
/// See [`CopyError`].
pub async fn check(path: &Path, watch: &Watch) -> std::result::Result<Contents, CopyError> {
    let refused = |source| CopyError::from(open_error(path, source));
    // No log is read or made beside it.
    let mut connection = options(path).immutable(true).connect().await.map_err(refused)?;
    let _awaited = watched(&mut connection, watch).await?;
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check")
        .fetch_all(&mut connection)
        .await
        .map_err(refused)?;
    if let Some(finding) = findings.into_iter().find(|finding| finding != "ok") {
        let finding = finding.replace('\n', " ");
        return Err(CopyError::Damaged { path: path.to_owned(), finding });
    }
    let newest = schema(&mut connection).await.map_err(refused)?;
    if let Some(version) = newest.filter(|version| *version > newest_schema()) {
        return Err(OpenError::Newer { path: path.to_owned(), version }.into());
    }
    if newest.is_none() && !has(&mut connection, "deployments").await.map_err(refused)? {
        return Err(CopyError::Foreign(path.to_owned()));
    }
    let contents = contents(&mut connection).await.map_err(refused)?;
    connection.close().await.map_err(refused)?;
    Ok(contents)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", "-2000")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// Has a connection's statements watched. They end, too, when the result is dropped.
async fn watched(connection: &mut SqliteConnection, watch: &Watch) -> Result<Arc<()>> {
    let (awaited, watch) = (Arc::new(()), Arc::clone(watch));
    let somebody = Arc::downgrade(&awaited);
    let mut handle: LockedSqliteHandle<'_> = connection.lock_handle().await?;
    handle.set_progress_handler(INSTRUCTIONS, move || somebody.strong_count() > 0 && watch());
    Ok(awaited)
}

/// Number of the last migration of this version.
fn newest_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Number of a file's last migration; `None` for one of the reference server, or of somebody else.
async fn schema(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    if !has(connection, "_sqlx_migrations").await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await
}

async fn has(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)",
    )
    .bind(table)
    .fetch_one(connection)
    .await
}

/// True for a file with something in it whose schema is older than this version's.
///
/// # Errors
/// The database's error.
pub async fn is_outdated(path: &Path) -> sqlx::Result<bool> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        return Ok(false);
    }
    let mut connection = options(path).connect().await?;
    let outdated = match schema(&mut connection).await? {
        Some(version) => version < newest_schema(),
        None => has(&mut connection, "deployments").await?,
    };
    connection.close().await?;
    Ok(outdated)
}

/// True for a file of which instances were purged.
///
/// # Errors
/// The database's error.
pub async fn has_forgotten(path: &Path) -> Result<bool> {
    let mut connection = options(path).connect().await?;
    let mut forgotten = has(&mut connection, "purged_instances").await?;
    if forgotten {
        forgotten = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM purged_instances)")
            .fetch_one(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(forgotten)
}

async fn contents(connection: &mut SqliteConnection) -> sqlx::Result<Contents> {
    if schema(connection).await? == Some(newest_schema()) {
        let (reports, instances, state) =
            sqlx::query_as(include_str!("contents.sql")).fetch_one(connection).await?;
        return Ok(Contents { reports, instances, state });
    }
    // Older schemas have one of these tables, and the same columns in it.
    let (mut reports, mut instances) = (0, 0);
    for table in ["reports", "deployments"] {
        if has(connection, table).await? {
            let count = format!("SELECT count(*) FROM {table}");
            reports += sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count))
                .fetch_one(&mut *connection)
                .await?;
        }
    }
    if has(connection, "instances").await? {
        instances = sqlx::query_scalar("SELECT count(*) FROM instances")
            .fetch_one(&mut *connection)
            .await?;
    }
    Ok(Contents { reports, instances, state: String::new() })
}
