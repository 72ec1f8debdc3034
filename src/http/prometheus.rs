//! The Prometheus HTTP API (<https://prometheus.io/docs/prometheus/latest/querying/api/>), as far as
//! Grafana's data source and `promtool query` use it. Answers and errors have Prometheus' own
//! form. What is answered stands in `docs/prometheus-api.md`.

mod form;
mod json;

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::SemaphorePermit;

use super::{AppState, error::Problem};
use crate::{
    metrics::{Description, Metric},
    promql::{self, Discovery, Grid, QueryError},
};
use form::Form;
use json::{Data, Success};

/// All of its routes.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(labels).post(labels))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/metadata", get(metadata))
        .route("/api/v1/status/buildinfo", get(buildinfo))
}

/// Waits for this request's turn, which lasts as long as what is returned.
async fn turn(state: &AppState) -> Option<SemaphorePermit<'_>> {
    // It is never closed, so there is always one.
    state.queries.acquire().await.ok()
}

/// Why there is no answer: in the form of the Prometheus API instead of a problem document.
#[derive(Debug)]
struct ApiError(QueryError);

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl From<crate::storage::Error> for ApiError {
    fn from(error: crate::storage::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let told = self.0.to_string();
        let (status, kind, told, cause) = match self.0 {
            QueryError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data", told, None),
            QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", told, None),
            QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout", told, None),
            QueryError::Storage(error) if error.is_passing() => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the database is busy; ask again later".to_owned(),
                None,
            ),
            QueryError::Storage(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the server could not answer".to_owned(),
                Some(told),
            ),
        };
        let body = json!({ "status": "error", "errorType": kind, "error": told });
        let mut response = (status, axum::Json(body)).into_response();
        response.extensions_mut().insert(Problem { kind, cause });
        response
    }
}

type Answered = Result<Response, ApiError>;

fn bad_data(what: impl Into<String>) -> ApiError {
    ApiError(QueryError::BadData(what.into()))
}

/// An expression at one moment.
async fn query(State(state): State<AppState>, form: Form) -> Answered {
    let now = state.clock.now();
    let time = form.time("time")?.unwrap_or(now.as_millisecond());
    let expression = form.required("query")?;
    let _turn = turn(&state).await;
    let answer = promql::query(&state.database, now, expression, time).await?;
    Ok(Success(Data::at(time, answer, form.limit()?)).into_response())
}

/// An expression over time.
async fn query_range(State(state): State<AppState>, form: Form) -> Answered {
    let needed = |name| form.time(name)?.ok_or_else(|| form::missing(name));
    let (start, end) = (needed("start")?, needed("end")?);
    let step = promql::duration(form.required("step")?)?;
    if end < start {
        return Err(bad_data(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    let count = usize::try_from((end - start) / step).unwrap_or(usize::MAX).saturating_add(1);
    let grid = Grid { start, step, count };
    let expression = form.required("query")?;
    let _turn = turn(&state).await;
    let answer = promql::query_range(&state.database, state.clock.now(), expression, grid).await?;
    Ok(Success(Data::over(grid, answer, form.limit()?)).into_response())
}

/// The series that are selected.
async fn series(State(state): State<AppState>, form: Form) -> Answered {
    if form.all("match[]").next().is_none() {
        return Err(bad_data("no match[] parameter provided"));
    }
    let selection = selection(&form)?;
    let _turn = turn(&state).await;
    let found = selection.series(&state.database, state.clock.now()).await?;
    Ok(Success(found.into_iter().take(form.limit()?).collect::<Vec<_>>()).into_response())
}

/// The names of all labels, or of those that the selected series have.
async fn labels(State(state): State<AppState>, form: Form) -> Answered {
    let selection = selection(&form)?;
    let _turn = turn(&state).await;
    let names = selection.label_names(&state.database, state.clock.now()).await?;
    Ok(Success(names.into_iter().take(form.limit()?).collect::<Vec<_>>()).into_response())
}

/// The values of one label, in all series or in those that are selected.
async fn label_values(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    form: Form,
) -> Answered {
    let Path(name) = name.map_err(|_| bad_data("the name of the label is not UTF-8"))?;
    let selection = selection(&form)?;
    let _turn = turn(&state).await;
    let values = selection.label_values(&state.database, state.clock.now(), &name).await?;
    Ok(Success(values.into_iter().take(form.limit()?).collect::<Vec<_>>()).into_response())
}

/// The series of each `match[]`. `start` and `end` are checked, as in Prometheus, and then make
/// no difference: every series lasts.
fn selection(form: &Form) -> Result<Discovery, ApiError> {
    let (_, _) = (form.time("start")?, form.time("end")?);
    Ok(Discovery::parse(form.all("match[]"))?)
}

#[derive(Debug, Serialize)]
struct Metadata {
    r#type: String,
    help: String,
    unit: &'static str,
}

/// Type and meaning of each metric.
async fn metadata(State(state): State<AppState>, form: Form) -> Answered {
    let own = state.metrics.descriptions();
    let wanted = form.get("metric");
    let mut known = BTreeMap::new();
    for description in Metric::ALL.map(Metric::description).into_iter().chain(own) {
        let Description { family, kind, help } = description;
        if wanted.is_none_or(|wanted| wanted == family) {
            known.insert(family, [Metadata { r#type: kind, help, unit: "" }]);
        }
    }
    let limit = form.limit()?;
    let known: BTreeMap<_, _> = known.into_iter().take(limit).collect();
    Ok(Success(known).into_response())
}

/// The version of the server.
async fn buildinfo() -> Response {
    Success(json!({ "application": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
        .into_response()
}
