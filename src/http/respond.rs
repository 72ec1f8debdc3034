//! The frame around every request: its id, its time limit, a net under panics, the log of errors,
//! and the count of refused reports.

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
use tower_http::normalize_path::NormalizePath;

use super::{
    AppState,
    error::{ApiError, Problem},
};

/// Time for a whole request, its body included.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Header with a request's id.
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

/// Answers a request by the router. There is an answer even after a panic or a timeout.
///
/// A slash too many at either end of the path changes nothing: the stock client, whose address may
/// have one, does not follow a redirect.
pub async fn answer(state: &AppState, router: Router, request: Request) -> Response {
    let mut router = NormalizePath::trim_trailing_slash(router);
    let id = state.request_ids.next();
    // A copy of the path: parts of the request share the memory that it was read into, which can then be
    // given back while the report is being stored.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());

    let answered = AssertUnwindSafe(timeout(TIME_LIMIT, router.call(request))).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(Ok(response))) => state.room.hold(response).await,
        Ok(Err(_)) => ApiError::TooSlow.into_response(),
        Err(panic) => ApiError::Internal(panic_message(panic.as_ref())).into_response(),
    };

    let status = response.status().as_u16();
    tracing::debug!(id, %method, path, status, "answered");
    if let Some(Problem { kind, cause }) = response.extensions_mut().remove() {
        if let Some(cause) = cause {
            tracing::error!(id, %method, path, status, cause, "cannot answer");
        }
        // Limits have a count of their own.
        if super::collect::is_route(&path) && kind != "limited" {
            state.metrics.rejected(kind);
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", message.unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{convert::Infallible, sync::Arc};

    use axum::{Extension, body::Body, routing::get};
    use http_body_util::BodyExt as _;
    use tempfile::TempDir;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        clock::Clock,
        http::{Attempts, Pages, Peer, Proxies, PublicView, Shared, room::Room, router},
        ingest::{Ingest, Limits},
        metrics::Metrics,
        storage::Database,
    };

    /// The parts of a server on an empty database.
    pub async fn state(folder: &TempDir) -> AppState {
        let database = Database::open_in(folder).await;
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::system();
        let (ingest, _) =
            Ingest::start(&database, clock.clone(), None, None, Arc::clone(&metrics)).unwrap();
        AppState::new(Shared {
            database,
            ingest,
            limits: Limits::new(0, 0),
            metrics,
            clock,
            proxies: Proxies::new(Vec::new()),
            read_token: None,
            attempts: Attempts::default(),
            public: Some(PublicView { minimum: 5, retention: None }),
            queries: Arc::new(Semaphore::new(2)),
            room: Room::default(),
            pages: Pages::default(),
            grafana_url: None,
            request_ids: RequestIds::default(),
        })
    }

    async fn body(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_request_only() {
        let folder = TempDir::new().unwrap();
        let state = state(&folder).await;
        let router: Router = Router::new()
            .route("/panic", get(|| async { panic!("the secret cause") as () }))
            .route("/well", get(|| async { "well" }));
        let get = |path| Request::get(path).body(Body::empty()).unwrap();
        let response = answer(&state, router.clone(), get("/panic")).await;
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = body(response).await;
        assert!(body.contains("/problems/internal") && !body.contains("secret"), "{body}");
        assert_eq!(answer(&state, router, get("/well")).await.status(), 200);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let folder = TempDir::new().unwrap();
        let state = state(&folder).await;
        let peer = Peer(([127, 0, 0, 1], 0).into());
        let router = router(&state, &[]).layer(Extension(peer));
        let start = futures_util::stream::iter([Ok::<_, Infallible>("{\"instance_id\"")]);
        let never = futures_util::StreamExt::chain(start, futures_util::stream::pending());
        let request = Request::post("/collect")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(never))
            .unwrap();
        tokio::time::pause(); // From here on, waiting takes no time.
        let response = answer(&state, router, request).await;
        assert_eq!(response.status(), 408);
        assert!(body(response).await.contains("/problems/too-slow"));
    }
}
