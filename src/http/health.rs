//! `/health` and `/ready`: whether the server runs, and whether it can store and read.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    error::ApiError,
    responses::{AnyErrors, DatabaseErrors},
};

/// Sign that the server runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "healthy")]
    status: &'static str,
    #[schema(example = "mattermost-telemetry")]
    service: &'static str,
    /// Version of the server.
    version: &'static str,
}

/// Answers as long as the process runs.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = Health), AnyErrors))]
pub async fn health() -> Json<Health> {
    Json(Health {
        status: "healthy",
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Sign that reports can be stored and read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    #[schema(example = "ready")]
    status: &'static str,
    /// Notice to the operator about the clock, where it is doubtful.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    /// Time of the last report, where none comes although there used to be reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    silent_since: Option<Timestamp>,
}

/// Answers 200 while reports can be stored and read.
#[utoipa::path(
    get, path = "/ready", tag = "server",
    responses((status = 200, body = Ready), AnyErrors, DatabaseErrors)
)]
pub async fn ready(State(state): State<AppState>) -> Result<Json<Ready>, ApiError> {
    if !state.ingest.is_ready() {
        return Err(ApiError::NotReady("Reports cannot be stored at present."));
    }
    if let Err(error) = state.database.ping().await {
        tracing::warn!(%error, "the database does not answer");
        return Err(ApiError::NotReady("The database does not answer at present."));
    }
    Ok(Json(Ready {
        status: "ready",
        clock: state.ingest.clock_state().notice(),
        silent_since: state.metrics.silent_since(),
    }))
}
