//! What happens around every request: its id, its span in the log, its time limit, and the
//! count of reports that were turned away.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{
    AppState,
    error::{ApiError, ProblemKind},
};

/// Time for a whole request, its body included.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Header that tells a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request an id: eight hexadecimal digits that are this process's own, and a
/// number. The client's is not taken over, so that nobody writes into the log.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The seed of a hasher is random, so its hash of nothing is, too.
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of it will do")]
        let process = RandomState::new().hash_one(0) as u32;
        Self { process, next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    fn next(&self) -> String {
        format!("{:08x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Wraps every request.
pub async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let id = state.request_ids.next();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!("request", id, method = %request.method(), route);

    let mut response = timeout(TIME_LIMIT, next.run(request))
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| ApiError::TooSlow.into_response());

    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    if route == super::collect::PATH
        && let Some(ProblemKind(kind)) = response.extensions().get()
        && *kind != "limited"
    {
        state.metrics.rejected(kind);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
