//! `/stats/active`: instances that reported within the last 24 hours, 7 days and 30 days, or within windows
//! of the calendar.

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::calendar::calendar;
use crate::{
    domain::{CalendarWindow, Dimension, Hour, Window},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        list,
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
    /// Distinct instances of each day, ISO week, month, quarter or year (UTC) instead, oldest first. Not
    /// together with `by`.
    window: Option<CalendarWindow>,
    /// Time in the first of these windows (RFC 3339); 29 windows before the last one by default.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Time in the last of these windows (RFC 3339); now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Memory of a row, in bytes.
const BYTES: usize = 160;

/// Instances that reported within each window.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveCount {
    /// Name of the window.
    #[schema(example = "24h")]
    pub(super) window: &'static str,
    /// Begin of the window; of the latest 24 hours and days whole hours before the start of the present
    /// one.
    #[schema(value_type = String, format = DateTime)]
    pub(super) since: Timestamp,
    /// End of the window, which is not part of it; absent without the parameter `window`.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    /// Value of the dimension `by`; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    /// Distinct `instance_id`s seen within the window.
    pub(super) active_instances: u64,
    /// Those of them that were seen on two or more different days, ever; absent with the parameter
    /// `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) returning_instances: Option<u64>,
    /// True if the window has ended; absent without the parameter `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) over: Option<bool>,
    /// False where the number is not known to be exact: reports of the window were pruned before a
    /// correction or an import changed it, or it is being counted anew. Absent without the parameter
    /// `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) complete: Option<bool>,
}

/// Instances seen within the last 24 hours, 7 days and 30 days, by time of arrival; or, with `window`,
/// within each day, week, month, quarter or year.
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
) -> Result<Response, ApiError> {
    let ActiveQuery { by, window, since, until } = query;
    if let Some(window) = window {
        if by.is_some() {
            return Err(ApiError::InvalidParameter("window cannot be combined with by.".into()));
        }
        return Ok(list::array(calendar(&state, window, since, until).await?, BYTES));
    }
    if since.is_some() || until.is_some() {
        return Err(ApiError::InvalidParameter("since and until need a window.".into()));
    }
    let now = state.clock.now();
    let mut found = state.database.active(now, by).await?;
    if by.is_none() && found.is_empty() {
        found.push(ActiveInstances::default());
    }
    let mut windows = Vec::new();
    for window in Window::ALL {
        let place = window as usize;
        for group in &found {
            if by.is_some() && group.activity.active[place] == 0 {
                continue;
            }
            windows.push(ActiveCount {
                window: window.name(),
                since: window.first_hour(Hour::of(now)).start(),
                until: None,
                value: group.value.clone().map(Into::into),
                active_instances: group.activity.active[place],
                returning_instances: Some(group.activity.returning[place]),
                over: None,
                complete: None,
            });
        }
    }
    Ok(list::array(windows, BYTES))
}
