//! The HTTP interface: the only module that knows axum. One file a resource.

mod attempts;
mod auth;
mod client_address;
mod collect;
mod deployments;
mod error;
mod extract;
mod federate;
mod health;
mod held_body;
mod list;
mod media_type;
mod metrics;
mod notices;
mod openapi;
mod page;
mod prometheus;
mod public;
mod respond;
mod responses;
mod room;
mod scrape;
mod server;
mod session;
mod sign_in;
mod stats;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    http::HeaderValue,
    middleware,
    routing::{MethodRouter, get, post},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use attempts::Attempts;
pub use client_address::Proxies;
pub use extract::parse_report;
pub use openapi::DOCUMENT;
pub use page::Pages;
pub use prometheus::Form;
pub use public::PublicView;
pub use respond::{RequestIds, answer};
pub use room::Room;
pub use server::{Peer, serve};

use crate::{
    clock::Clock,
    ingest::{Ingest, Limits},
    metrics::Metrics,
    storage::Database,
};

/// Largest body that is read, in bytes.
pub const MAX_BODY: usize = 16 * 1024;
/// Pieces of a body at most. A chunk of one byte takes the server as long as one of a thousand.
const MAX_PIECES: usize = 1024;

/// Requests that are worked on at a time, of those that may read much: the queries of the Prometheus
/// API, reports, time series and startup times. Others of these wait. Each may hold some megabytes, and
/// a dashboard sends some thirty at once. One reader is left to all other requests.
pub const QUERIES_AT_ONCE: usize = 3;

/// State that the handlers share.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Shared>);

/// See [`AppState`].
#[derive(Debug)]
pub struct Shared {
    /// For reading.
    pub database: Database,
    /// For writing.
    pub ingest: Ingest,
    /// Rate limits.
    pub limits: Limits,
    /// The server's own metrics.
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub clock: Clock,
    /// Networks whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    /// Token that opens the read routes.
    pub read_token: Option<String>,
    /// Limit of attempts to sign in.
    pub attempts: Attempts,
    /// The public view; `None` where it is off.
    pub public: Option<PublicView>,
    /// Turns of requests that may read much; see [`QUERIES_AT_ONCE`].
    pub queries: Arc<Semaphore>,
    /// Memory of long answers and forms.
    pub room: Room,
    /// Pages that were made already.
    pub pages: Pages,
    /// Address of Grafana, to which the page links.
    pub grafana_url: Option<String>,
    /// Ids for requests.
    pub request_ids: RequestIds,
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AppState {
    /// Shares the parts.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Works on a request that may read much, when it is its turn. It has a thread of its own, since
    /// its arithmetic would hold up those that serve all others. It ends at its next pause when the
    /// caller is gone.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.in_turns(1, work).await
    }

    /// The same for work that reads on as many connections at once as it takes turns.
    async fn in_turns<T: Send + 'static>(
        &self,
        turns: u32,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        // The semaphore is never closed, so there is always a permit.
        let turn = Arc::clone(&self.queries).acquire_many_owned(turns).await;
        let (awaited, given_up) = oneshot::channel::<()>();
        let runtime = Handle::current();
        let worked = spawn_blocking(move || {
            let _turn = turn;
            runtime.block_on(async {
                tokio::select! {
                    done = work => Some(done),
                    _ = given_up => None,
                }
            })
        });
        let worked = worked.await;
        drop(awaited);
        match worked {
            Ok(Some(done)) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The server ends, and its connections with it.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Paths, and the methods that each answers.
type Routes = Vec<(&'static str, MethodRouter<AppState>)>;

/// Routes of the API that are open to everyone.
fn open_routes() -> Routes {
    vec![
        (collect::PATH, post(collect::collect)),
        ("/health", get(health::health)),
        ("/ready", get(health::ready)),
        ("/status", get(status::status)),
    ]
}

/// Routes of the API that `READ_TOKEN` closes.
fn reading_routes() -> Routes {
    let mut routes = vec![
        ("/metrics", get(metrics::metrics)),
        ("/deployments", get(deployments::deployments)),
        ("/stats/architecture", get(stats::architecture)),
        ("/stats/version", get(stats::version)),
        ("/stats/os", get(stats::os)),
        ("/stats/container_runtime", get(stats::container_runtime)),
        ("/stats/db_type", get(stats::db_type)),
        ("/stats/startup", get(stats::startup)),
        ("/stats/timeseries", get(stats::timeseries)),
        ("/stats/active", get(stats::active)),
        ("/stats/cohorts", get(stats::cohorts)),
        ("/stats/adoption", get(stats::adoption)),
        ("/openapi.json", get(openapi::openapi_json)),
        ("/federate", get(federate::federate)),
    ];
    routes.extend(prometheus::routes());
    routes
}

fn router_of(routes: Routes) -> Router<AppState> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// All routes, which pages of `origins` may read in a browser. [`answer`] calls it.
pub fn router(state: &AppState, origins: &[HeaderValue]) -> Router {
    let reading = router_of(reading_routes())
        .merge(router_of(page::reading_routes()))
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    let mut routes = router_of(open_routes())
        .merge(router_of(page::open_routes()))
        .merge(reading)
        .merge(router_of(sign_in::routes()))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed);
    if !origins.is_empty() {
        routes = routes.layer(
            CorsLayer::new()
                .allow_methods([http::Method::GET, http::Method::HEAD])
                .allow_headers([http::header::AUTHORIZATION])
                .allow_origin(AllowOrigin::list(origins.iter().cloned())),
        );
    }
    // After the layer: every origin may read these.
    if state.public.is_some() {
        routes = routes.merge(public::router());
    }
    routes.with_state(state.clone())
}
