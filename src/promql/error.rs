use std::time::Duration;

use crate::storage;

/// Why a query has no answer. What is told is safe to be shown, but for [`QueryError::Storage`].
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The expression or a parameter is not valid, or not understood here.
    #[error("{0}")]
    BadData(String),
    /// It is valid and cannot be evaluated.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("the query took longer than {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl QueryError {
    /// Something that PromQL has and this server has not.
    pub(super) fn unsupported(construct: impl std::fmt::Display) -> Self {
        Self::BadData(format!("{construct} is not supported by this server"))
    }
}
