//! `/collect`: takes a report.

use axum::{
    Extension, Json,
    extract::{FromRequest as _, Request, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{AppState, Peer, error::ApiError, extract::ReportJson, responses::ReportErrors};
use crate::domain::{Accepted, ReportBody};

/// Path of the route.
pub const PATH: &str = "/collect";

/// True for the path of the route, which may have a slash too many at either end.
pub fn is_route(path: &str) -> bool {
    path.trim_matches('/') == PATH.trim_matches('/')
}

/// The answer, always the same.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "success", "message": "Telemetry collected"}))]
pub struct Collected {
    status: &'static str,
    message: &'static str,
}

/// Stores a report.
///
/// Answers when the report is on disk. After any other answer it was not stored; after a 408 it
/// may have been, if it was the disk that was slow.
#[utoipa::path(
    post, path = PATH, tag = "reports", request_body = ReportBody,
    responses(
        (status = 200, description = "The report is on disk", body = Collected),
        ReportErrors,
    )
)]
pub async fn collect(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Json<Collected>, ApiError> {
    // Before the body is read: who is over the limit costs as little as can be.
    match state.proxies.client(peer.ip(), request.headers()) {
        Some(client) => {
            state.limits.check_client(client).inspect_err(|_| state.metrics.limited_client())?;
        }
        None => state.limits.check_hidden().inspect_err(|_| state.metrics.limited_proxy())?,
    }
    let ReportJson(Accepted { report, dropped }) =
        ReportJson::from_request(request, &state).await?;
    // A report that cannot be stored at present does not count against its instance.
    if state.ingest.is_ready() {
        state
            .limits
            .check_instance(&report.instance_id)
            .inspect_err(|_| state.metrics.limited_instance())?;
    }
    state.ingest.store(report).await?;
    dropped.into_iter().for_each(|value| state.metrics.dropped(value));
    Ok(Json(Collected { status: "success", message: "Telemetry collected" }))
}
