//! Lists of what a Prometheus may have and this server has not. Grafana asks for them, and reports an
//! error where there is no answer.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiError, bad_data,
    form::Form,
    json::{Success, success},
    parameters::{ExemplarParameters, RuleParameters},
};
use crate::http::responses::{PrometheusErrors, TokenErrors};

/// A list that is always empty.
type Nothing = [(); 0];

/// Groups of rules.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Rules {
    #[schema(value_type = Vec<Object>, max_items = 0)]
    groups: Nothing,
}

/// Alerts of rules.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Alerts {
    #[schema(value_type = Vec<Object>, max_items = 0)]
    alerts: Nothing,
}

/// Targets of scrapes.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    #[schema(value_type = Vec<Object>, max_items = 0)]
    active_targets: Nothing,
    #[schema(value_type = Vec<Object>, max_items = 0)]
    dropped_targets: Nothing,
}

/// Receivers of alerts.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alertmanagers {
    #[schema(value_type = Vec<Object>, max_items = 0)]
    active_alertmanagers: Nothing,
    #[schema(value_type = Vec<Object>, max_items = 0)]
    dropped_alertmanagers: Nothing,
}

/// Lists the groups of rules: none, since the server evaluates none.
#[utoipa::path(
    get, path = "/api/v1/rules", tag = "prometheus", params(RuleParameters),
    responses((status = 200, body = Success<Rules>), PrometheusErrors)
)]
pub async fn rules(form: Form) -> Result<Json<Success<Rules>>, ApiError> {
    match form.get("type").unwrap_or_default() {
        "" | "alert" | "record" => Ok(success(Rules::default())),
        other => {
            Err(bad_data(format!("invalid parameter \"type\": not supported value {other:?}")))
        }
    }
}

/// Lists the alerts: none.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "prometheus",
    responses((status = 200, body = Success<Alerts>), TokenErrors)
)]
pub async fn alerts() -> Json<Success<Alerts>> {
    success(Alerts::default())
}

/// Lists the exemplars of an expression's series: none, since reports have no traces.
#[utoipa::path(
    get, path = "/api/v1/query_exemplars", tag = "prometheus", params(ExemplarParameters),
    responses((status = 200, body = Success<Vec<Object>>), PrometheusErrors)
)]
pub async fn query_exemplars(form: Form) -> Result<Json<Success<Nothing>>, ApiError> {
    form.required("query")?;
    let (start, end) = (form.time("start")?, form.time("end")?);
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Err(bad_data("end timestamp must not be before start timestamp"));
    }
    Ok(success([]))
}

/// Lists the targets: none, since nothing is scraped.
#[utoipa::path(
    get, path = "/api/v1/targets", tag = "prometheus",
    responses((status = 200, body = Success<Targets>), TokenErrors)
)]
pub async fn targets() -> Json<Success<Targets>> {
    success(Targets::default())
}

/// Lists the receivers of alerts: none.
#[utoipa::path(
    get, path = "/api/v1/alertmanagers", tag = "prometheus",
    responses((status = 200, body = Success<Alertmanagers>), TokenErrors)
)]
pub async fn alertmanagers() -> Json<Success<Alertmanagers>> {
    success(Alertmanagers::default())
}
