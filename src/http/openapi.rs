use axum::{Json, extract::State};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use super::AppState;

/// What is not said at the routes themselves.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "mattermost-telemetry", license(name = "MIT", identifier = "MIT")),
    tags(
        (name = "reports", description = "Reports, one by one"),
        (name = "statistics", description = "Counts over many reports"),
        (name = "server", description = "The server itself"),
    ),
    modifiers(&Token)
)]
struct Frame;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Needed on read routes if the server has a READ_TOKEN"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("read_token", SecurityScheme::Http(bearer));
    }
}

/// The description of all routes (OpenAPI 3.1).
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Frame::openapi();
    let routes: OpenApiRouter<AppState> = super::routes_open().merge(super::routes_reading());
    document.merge(routes.into_openapi());
    document
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub async fn openapi_json(State(_): State<AppState>) -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
