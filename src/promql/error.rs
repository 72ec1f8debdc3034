//! The reasons why a query has no answer.

use std::time::Duration;

use crate::storage;

/// Reason why a query has no answer. Its message may be sent to the client, except that of
/// [`QueryError::Storage`].
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The expression or a parameter is not valid, or not supported here.
    #[error("{0}")]
    BadData(String),
    /// The expression is valid and cannot be evaluated.
    #[error("{0}")]
    Execution(String),
    /// The query took too long.
    #[error("the query took longer than {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, QueryError>;

impl QueryError {
    /// PromQL has this construct, and this server has not.
    pub(super) fn unsupported(construct: impl std::fmt::Display) -> Self {
        Self::BadData(format!("{construct} is not supported by this server"))
    }
}
