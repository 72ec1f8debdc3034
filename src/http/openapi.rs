//! `/openapi.json`: the description of all routes, a file that `generate` holds to the code.

#[cfg(test)]
mod generate;

use axum::{http::header, response::IntoResponse};

use super::responses::TokenErrors;

/// The description of all routes (OpenAPI 3.1).
pub const DOCUMENT: &str = include_str!("openapi.json");

/// Describes all routes: this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), TokenErrors)
)]
pub async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
