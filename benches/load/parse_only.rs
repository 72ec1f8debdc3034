//! The reference: the same connections and the same parsing, and nothing else. No limits, no
//! request ids, no counting, no storage.

use std::future::pending;

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use mattermost_telemetry::{domain::ReportBody, http};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::Service as _;

/// Serves for ever, and prints its address as the server does.
pub fn serve() {
    Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("serving address={} ", listener.local_addr().unwrap());
        let router: Router = Router::new().route("/collect", post(parse));
        let answer = move |request| {
            let mut router = router.clone();
            async move { router.call(request).await.unwrap_or_else(|never| match never {}) }
        };
        http::serve(listener, Vec::new(), answer, pending()).await;
    });
}

async fn parse(body: Bytes) -> StatusCode {
    match serde_json::from_slice::<ReportBody>(&body).map(ReportBody::into_report) {
        Ok(Ok(_)) => StatusCode::OK,
        _ => StatusCode::BAD_REQUEST,
    }
}
