//! `/stats/active`: instances that reported within the last 24 hours, 7 days and 30 days.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Dimension, Hour, Window},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        responses::{DatabaseErrors, ParameterErrors, TokenErrors},
    },
    storage::ActiveInstances,
};

/// Query parameters of `/stats/active`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ActiveQuery {
    /// One answer for each value of this dimension in the instances' latest reports, instead
    /// of one for all.
    by: Option<Dimension>,
}

/// Instances that reported within each window.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveCount {
    /// Name of the window.
    #[schema(example = "24h")]
    window: &'static str,
    /// Begin of the window: whole hours before the start of the present one.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Value of the dimension `by`; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Distinct `instance_id`s seen within the window.
    active_instances: u64,
    /// Those of them that were seen on two or more different days, ever.
    returning_instances: u64,
}

/// Instances seen within the last 24 hours, 7 days and 30 days, by time of arrival.
#[utoipa::path(
    get, path = "/stats/active", tag = "statistics", params(ActiveQuery),
    responses(
        (status = 200, body = Vec<ActiveCount>),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn active(
    State(state): State<AppState>,
    Parameters(query): Parameters<ActiveQuery>,
) -> Result<Json<Vec<ActiveCount>>, ApiError> {
    let now = state.clock.now();
    let mut found = state.database.active(now, query.by).await?;
    if query.by.is_none() && found.is_empty() {
        found.push(ActiveInstances::default());
    }
    let mut windows = Vec::new();
    for window in Window::ALL {
        let place = window as usize;
        for group in &found {
            if query.by.is_some() && group.activity.active[place] == 0 {
                continue;
            }
            windows.push(ActiveCount {
                window: window.name(),
                since: window.first_hour(Hour::of(now)).start(),
                value: group.value.clone().map(Into::into),
                active_instances: group.activity.active[place],
                returning_instances: group.activity.returning[place],
            });
        }
    }
    Ok(Json(windows))
}
