//! The Prometheus HTTP API (<https://prometheus.io/docs/prometheus/latest/querying/api/>), as far as
//! Grafana's data source and `promtool query` use it. Answers and errors have Prometheus' own
//! form. `docs/prometheus-api.md` lists the routes.

pub mod empty;
mod form;
mod json;
pub mod parameters;

use std::{collections::BTreeMap, fmt};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState, Routes,
    error::Problem,
    responses::{PrometheusErrors, SeriesErrors, TokenErrors},
};
use crate::{
    metrics::{Description, Metric},
    promql::{self, Discovery, Grid, MAX_SERIES, QueryError},
};
pub use form::Form;
use json::{Data, LABEL_BYTES, SERIES_BYTES, Success, listed, success};
pub use json::{Failure, number};
use parameters::{
    LabelParameters, MetadataParameters, QueryParameters, RangeParameters, SeriesParameters,
};

/// All routes of the API.
pub fn routes() -> Routes {
    vec![
        ("/api/v1/query", get(query).post(query)),
        ("/api/v1/query_range", get(query_range).post(query_range)),
        ("/api/v1/series", get(series).post(series)),
        ("/api/v1/labels", get(labels).post(labels)),
        ("/api/v1/label/{name}/values", get(label_values)),
        ("/api/v1/metadata", get(metadata)),
        ("/api/v1/status/buildinfo", get(buildinfo)),
        ("/api/v1/rules", get(empty::rules)),
        ("/api/v1/alerts", get(empty::alerts)),
        ("/api/v1/query_exemplars", get(empty::query_exemplars).post(empty::query_exemplars)),
        ("/api/v1/targets", get(empty::targets)),
        ("/api/v1/alertmanagers", get(empty::alertmanagers)),
    ]
}

/// An error in the form of the Prometheus API instead of a problem document.
#[derive(Debug)]
pub struct ApiError(QueryError);

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

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = self.0.to_string();
        let (status, kind, text, cause) = match self.0 {
            QueryError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data", text, None),
            QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", text, None),
            QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout", text, None),
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
                Some(text),
            ),
        };
        let mut response = (status, Json(Failure::new(kind, text))).into_response();
        response.extensions_mut().insert(Problem { kind, cause });
        response
    }
}

type Answered = Result<Response, ApiError>;

fn bad_data(text: impl Into<String>) -> ApiError {
    ApiError(QueryError::BadData(text.into()))
}

/// Answers an expression at one moment.
#[utoipa::path(
    get, path = "/api/v1/query", tag = "prometheus", params(QueryParameters),
    responses((status = 200, body = Success<Data>), PrometheusErrors, SeriesErrors)
)]
pub async fn query(State(state): State<AppState>, form: Form) -> Answered {
    let (now, limit) = (state.clock.now(), form.limit()?);
    let time = form.time("time")?.unwrap_or(now.as_millisecond());
    let (own, expression) = (state.clone(), form.required("query")?.to_owned());
    let work = async move {
        let answer = promql::query(&own.database, now, &expression, time, limit).await?;
        Ok(Data::at(time, answer).answer(limit))
    };
    state.in_turn(work).await
}

/// Answers an expression over time.
#[utoipa::path(
    get, path = "/api/v1/query_range", tag = "prometheus", params(RangeParameters),
    responses((status = 200, body = Success<Data>), PrometheusErrors, SeriesErrors)
)]
pub async fn query_range(State(state): State<AppState>, form: Form) -> Answered {
    let (now, limit) = (state.clock.now(), form.limit()?);
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
    let (own, expression) = (state.clone(), form.required("query")?.to_owned());
    let work = async move {
        let answer = promql::query_range(&own.database, now, &expression, grid, limit).await?;
        Ok(Data::over(grid, answer).answer(limit))
    };
    state.in_turn(work).await
}

/// Lists the selected series.
#[utoipa::path(
    get, path = "/api/v1/series", tag = "prometheus", params(SeriesParameters),
    responses((status = 200, body = Success<Vec<BTreeMap<String, String>>>), PrometheusErrors, SeriesErrors)
)]
pub async fn series(State(state): State<AppState>, form: Form) -> Answered {
    if form.all("match[]").next().is_none() {
        return Err(bad_data("no match[] parameter provided"));
    }
    let (selection, limit) = (selection(&form)?, form.limit()?);
    let own = state.clone();
    let work = async move {
        let found = selection.series(&own.database, own.clock.now(), limit).await?;
        let limit = limit.map(|limit| limit.min(MAX_SERIES));
        Ok(listed(found, limit, SERIES_BYTES))
    };
    state.in_turn(work).await
}

/// Lists the names of the labels of all series, or of the selected ones.
#[utoipa::path(
    get, path = "/api/v1/labels", tag = "prometheus", params(LabelParameters),
    responses((status = 200, body = Success<Vec<String>>), PrometheusErrors, SeriesErrors)
)]
pub async fn labels(State(state): State<AppState>, form: Form) -> Answered {
    let (selection, limit) = (selection(&form)?, form.limit()?);
    let own = state.clone();
    let work = async move {
        let names = selection.label_names(&own.database, own.clock.now()).await?;
        Ok(listed(names, limit, LABEL_BYTES))
    };
    state.in_turn(work).await
}

/// Lists the values of one label, in all series or in the selected ones.
#[utoipa::path(
    get, path = "/api/v1/label/{name}/values", tag = "prometheus", params(LabelParameters, ("name" = String, Path, description = "Name of the label")),
    responses((status = 200, body = Success<Vec<String>>), PrometheusErrors, SeriesErrors)
)]
pub async fn label_values(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    form: Form,
) -> Answered {
    let Path(name) = name.map_err(|_| bad_data("the name of the label is not UTF-8"))?;
    let (selection, limit) = (selection(&form)?, form.limit()?);
    let own = state.clone();
    let work = async move {
        let values = selection.label_values(&own.database, own.clock.now(), &name).await?;
        Ok(listed(values, limit, LABEL_BYTES))
    };
    state.in_turn(work).await
}

/// The series of each `match[]`. `start` and `end` are checked, as in Prometheus, and then make
/// no difference: every series lasts.
fn selection(form: &Form) -> Result<Discovery, ApiError> {
    let (_, _) = (form.time("start")?, form.time("end")?);
    Ok(Discovery::parse(form.all("match[]"))?)
}

/// Type and meaning of a metric.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    r#type: String,
    help: String,
    unit: &'static str,
}

/// Lists type and meaning of each metric.
#[utoipa::path(
    get, path = "/api/v1/metadata", tag = "prometheus", params(MetadataParameters),
    responses((status = 200, body = Success<BTreeMap<String, Vec<Metadata>>>), PrometheusErrors)
)]
pub async fn metadata(
    State(state): State<AppState>,
    form: Form,
) -> Result<Json<Success<BTreeMap<String, [Metadata; 1]>>>, ApiError> {
    let limit = form.metadata_limit()?;
    let own = state.metrics.descriptions();
    let wanted = form.get("metric").filter(|metric| !metric.is_empty());
    let mut known = BTreeMap::new();
    for description in Metric::ALL.map(Metric::description).into_iter().chain(own) {
        let Description { family, kind, help } = description;
        if wanted.is_none_or(|wanted| wanted == family) {
            known.insert(family, [Metadata { r#type: kind, help, unit: "" }]);
        }
    }
    Ok(success(known.into_iter().take(limit.unwrap_or(usize::MAX)).collect()))
}

/// The program that answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildInfo {
    application: &'static str,
    version: &'static str,
}

/// Names the program and its version.
#[utoipa::path(
    get, path = "/api/v1/status/buildinfo", tag = "prometheus",
    responses((status = 200, body = Success<BuildInfo>), TokenErrors)
)]
pub async fn buildinfo() -> Json<Success<BuildInfo>> {
    let (application, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    success(BuildInfo { application, version })
}
