//! `/status`: whether an operator should look at the server, for a monitor that asks now and then.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    error::ApiError,
    responses::{AnyErrors, AttentionErrors},
};
use crate::domain::Attention;

/// Sign that the operator has nothing to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Answers 200 while nothing asks for the operator, else 503 with the reasons.
///
/// It is for monitors, not for load balancers: a server without reports, or with a doubtful clock,
/// is [ready](#/server/ready) all the same. It shows no counts and no times, and reads nothing from
/// the database.
#[utoipa::path(
    get, path = "/status", tag = "server",
    responses((status = 200, body = Status), AnyErrors, AttentionErrors)
)]
pub async fn status(State(state): State<AppState>) -> Result<Json<Status>, ApiError> {
    let holds = |reason: &Attention| match reason {
        Attention::Silence => state.metrics.silent_since().is_some(),
        Attention::Backup => state.metrics.backups().is_some_and(|backups| backups.overdue),
        Attention::Disk => !state.ingest.is_ready() || state.metrics.is_disk_low(),
        Attention::Clock => state.ingest.clock_state().notice().is_some(),
    };
    let reasons: Vec<Attention> = Attention::ALL.into_iter().filter(holds).collect();
    if reasons.is_empty() {
        Ok(Json(Status { status: "ok" }))
    } else {
        Err(ApiError::NeedsAttention(reasons))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::http::respond::tests::state;

    #[tokio::test]
    async fn an_overdue_backup_is_a_reason() {
        let folder = TempDir::new().unwrap();
        let state = state(&folder).await;
        let ask = async || status(State(state.clone())).await;
        assert!(ask().await.is_ok(), "nobody asked for backups");
        state.metrics.backups_begin(Duration::from_hours(24));
        let Err(ApiError::NeedsAttention(reasons)) = ask().await else { panic!("it is ok") };
        assert_eq!(reasons, [Attention::Backup]);
        state.metrics.backup_age(Some(Duration::ZERO));
        assert!(ask().await.is_ok());
    }
}
