use axum::extract::FromRequest as _;
use axum::{
    Extension,
    extract::{Request, State},
    http::header,
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState, Peer,
    client_address::client_address,
    error::{ApiError, ProblemSchema},
    extract::ReportJson,
};
use crate::domain::ReportBody;

/// The route, for those who count what is turned away.
pub const PATH: &str = "/collect";

/// The answer, always the same.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "success", "message": "Telemetry collected"}))]
pub struct Collected {
    status: &'static str,
    message: &'static str,
}

const COLLECTED: &str = r#"{"status":"success","message":"Telemetry collected"}"#;

/// Stores a report.
///
/// Answers when the report is on disk. After any other answer it was not stored; after a 408 it
/// may have been, if it was the disk that was slow.
#[utoipa::path(
    post, path = PATH, tag = "reports", request_body = ReportBody,
    responses(
        (status = 200, description = "The report is on disk", body = Collected),
        (status = 400, description = "Not JSON", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 408, description = "Too slow", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 413, description = "Over 16 KiB", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "Not declared as JSON", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "A field breaks a rule", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 429, description = "Over a rate limit; see Retry-After", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; see Retry-After", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub async fn collect(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    // Before the body is read: who is over the limit costs as little as can be.
    let client = client_address(peer.ip(), request.headers(), &state.trusted_proxies);
    state.limits.check_client(client).inspect_err(|_| state.metrics.limited_client())?;
    let ReportJson(report) = ReportJson::from_request(request, &state).await?;
    // What cannot be stored at present does not use up what its instance may send.
    if state.ingest.is_ready() {
        state
            .limits
            .check_instance(&report.instance_id)
            .inspect_err(|_| state.metrics.limited_instance())?;
    }
    state.ingest.store(report).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], COLLECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_answer_is_what_is_documented() {
        let documented = Collected { status: "success", message: "Telemetry collected" };
        assert_eq!(serde_json::to_string(&documented).unwrap(), COLLECTED);
    }
}
