//! What happens around every request: its id, its time limit, a net under panics, the log of
//! what went wrong, and the count of reports that were turned away.

use std::{
    any::Any,
    hash::{BuildHasher as _, RandomState},
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use tokio::time::timeout;
use tower::Service as _;

use super::{
    AppState,
    error::{ApiError, Problem},
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
        // The seed of a hasher is random, so its hash of anything is, too.
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

/// Has the router answer a request, and gives an answer whatever becomes of it.
pub async fn answer(state: &AppState, mut router: Router, request: Request) -> Response {
    let id = state.request_ids.next();
    let (method, uri) = (request.method().clone(), request.uri().clone());

    let answered = AssertUnwindSafe(timeout(TIME_LIMIT, router.call(request))).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_)) => ApiError::TooSlow.into_response(),
        Err(panic) => ApiError::Internal(panic_message(panic.as_ref())).into_response(),
    };

    let (path, status) = (uri.path(), response.status().as_u16());
    tracing::debug!(id, %method, path, status, "answered");
    if let Some(Problem { kind, cause }) = response.extensions_mut().remove() {
        if let Some(cause) = cause {
            tracing::error!(id, %method, path, status, cause, "cannot answer");
        }
        if path == super::collect::PATH {
            state.metrics.rejected(kind);
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", message.unwrap_or_default())
}
