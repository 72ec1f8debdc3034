//! The public view: `/public`, `/public.json`, `/public/fields` and `/badge/…`, open to everyone.

pub mod badges;
mod pages;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    middleware,
    response::Response,
    routing::get,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tower_http::cors::{Any, CorsLayer};
use utoipa::ToSchema;

use super::{
    AppState, Routes,
    error::{self, ApiError},
    responses::{DatabaseErrors, PublicErrors},
    router_of,
};
use crate::domain::{Hour, PublicNumbers};
use badges::badge;

/// Time for which others may keep an answer. Numbers change once a day.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=600");

/// Settings that the public view shows.
#[derive(Debug, Clone, Copy)]
pub struct PublicView {
    /// Smallest group that is shown.
    pub minimum: u64,
    /// Age at which single reports are pruned.
    pub retention: Option<SignedDuration>,
}

/// Routes of the API that are there where the public view is on.
pub fn routes() -> Routes {
    vec![("/public.json", get(public_json)), (badges::PATH, get(badge))]
}

/// These and the pages of the view, which scripts of every origin may read.
pub fn router() -> Router<AppState> {
    router_of(routes())
        .route("/public", get(pages::public))
        .route("/public/fields", get(pages::fields))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::map_response(may_be_kept))
        .layer(CorsLayer::new().allow_methods([Method::GET, Method::HEAD]).allow_origin(Any))
}

async fn may_be_kept(mut response: Response) -> Response {
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CACHE_CONTROL, CACHE_CONTROL);
    }
    response
}

/// The public view.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicAnswer {
    /// Numbers of the last day at whose end the view was on; null before the first one.
    numbers: Option<PublicNumbers>,
    /// End of the present day (UTC), after which the next numbers are made.
    #[schema(value_type = String, format = DateTime)]
    next_at: Timestamp,
}

impl PublicAnswer {
    /// The answer at present.
    async fn read(state: &AppState) -> Result<Self, ApiError> {
        let numbers = state.database.public_numbers().await?;
        let next_at = Hour::of(state.clock.now()).day().plus(24).start();
        Ok(Self { numbers, next_at })
    }
}

/// Totals, adoption and breakdowns of 30 days and of all time, made once a day and rounded down.
#[utoipa::path(
    get, path = "/public.json", tag = "public",
    responses((status = 200, body = PublicAnswer), PublicErrors, DatabaseErrors)
)]
pub async fn public_json(State(state): State<AppState>) -> Result<Json<PublicAnswer>, ApiError> {
    Ok(Json(PublicAnswer::read(&state).await?))
}
