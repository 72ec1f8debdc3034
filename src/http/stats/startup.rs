//! `/stats/startup`: startup times, of all time or of some days.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Dimension, Hour},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        responses::{DatabaseErrors, ParameterErrors, TokenErrors},
    },
};

/// Query parameters of `/stats/startup`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StartupQuery {
    /// One answer for each value of this dimension, instead of one for all.
    by: Option<Dimension>,
    /// Only starts of this time's day (RFC 3339; UTC) and later days.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only starts of days before this time's.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Startup times of some starts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Startup {
    /// Value of the dimension `by`; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Starts with a startup time.
    count: u64,
    /// Mean in milliseconds.
    avg_ms: Option<f64>,
    /// Half of the starts took no longer, in milliseconds. This and the next two are
    /// interpolated within the buckets of the stored histogram.
    p50_ms: Option<f64>,
    /// Nine of ten starts took no longer.
    p90_ms: Option<f64>,
    /// 99 of a hundred starts took no longer.
    p99_ms: Option<f64>,
}

/// Startup times: mean and percentiles, of all time or of some days.
#[utoipa::path(
    get, path = "/stats/startup", tag = "statistics", params(StartupQuery),
    responses(
        (status = 200, body = Vec<Startup>),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn startup(
    State(state): State<AppState>,
    Parameters(query): Parameters<StartupQuery>,
) -> Result<Json<Vec<Startup>>, ApiError> {
    let days = (query.since.is_some() || query.until.is_some()).then(|| {
        (
            query.since.map_or(Hour::MIN, |time| Hour::of(time).day()),
            query.until.map_or(Hour::MAX, |time| Hour::of(time).day()),
        )
    });
    let own = state.clone();
    let found = state.in_turn(async move { own.database.startup(query.by, days).await }).await?;
    let rounded = |ms: f64| (ms * 10.0).round() / 10.0;
    let measured = found.into_iter().filter(|group| group.startup.count() > 0);
    Ok(Json(
        measured
            .map(|group| Startup {
                value: group.value.map(Into::into),
                count: group.startup.count(),
                avg_ms: group.startup.mean_ms().map(rounded),
                p50_ms: group.startup.quantile_ms(0.5).map(rounded),
                p90_ms: group.startup.quantile_ms(0.9).map(rounded),
                p99_ms: group.startup.quantile_ms(0.99).map(rounded),
            })
            .collect(),
    ))
}
