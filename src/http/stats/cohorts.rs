//! `/stats/cohorts`: instances by the week in which they were first seen, and by later weeks.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::calendar::range;
use crate::{
    domain::{CalendarWindow, day_of, start_of_day},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        list,
        responses::{DatabaseErrors, ParameterErrors, TokenErrors},
    },
};

/// Rows of one answer.
const MAX_ROWS: usize = 20_000;
/// Memory of a row, in bytes.
const BYTES: usize = 96;

/// Query parameters of `/stats/cohorts`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CohortsQuery {
    /// Time in the first week whose cohort is in the answer (RFC 3339); 29 weeks before the last one by
    /// default.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Time in the last week whose cohort is in the answer (RFC 3339); now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Instances of a cohort in a later week.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohortWeek {
    /// Begin of the ISO week in which they were first seen, UTC.
    #[schema(value_type = String, format = DateTime)]
    week: Timestamp,
    /// Weeks from there; 0 is the week itself.
    later_weeks: u64,
    /// Distinct `instance_id`s of the cohort that were seen in that week; for 0 weeks all of them.
    instances: u64,
    /// False where it is not known to be exact: reports were pruned before a correction or an import
    /// changed it, or it is being counted anew.
    complete: bool,
}

/// Retention of cohorts by week: of the instances first seen in a week, how many were seen so many weeks
/// later. One row for each pair of weeks up to the present one, where a cohort has instances.
#[utoipa::path(
    get, path = "/stats/cohorts", tag = "statistics", params(CohortsQuery),
    responses(
        (status = 200, body = Vec<CohortWeek>),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn cohorts(
    State(state): State<AppState>,
    Parameters(query): Parameters<CohortsQuery>,
) -> Result<Response, ApiError> {
    let now = state.clock.now();
    let (first, last) = range(CalendarWindow::Week, query.since, query.until, now)?;
    let own = state.clone();
    let found = state.in_turn(async move { own.database.cohorts(first, last, MAX_ROWS + 1).await });
    let found = found.await?;
    let present = CalendarWindow::Week.first_day(day_of(now));
    let mut last_weeks: BTreeMap<i64, i64> = BTreeMap::new();
    for row in &found {
        let last = last_weeks.entry(row.week).or_insert((present - row.week) / 7);
        *last = row.later_weeks.max(*last);
    }
    let pairs: i64 = last_weeks.values().map(|last| last + 1).sum();
    let rows = usize::try_from(pairs).unwrap_or(usize::MAX);
    if rows > MAX_ROWS {
        return Err(ApiError::InvalidParameter(format!(
            "That is more than {MAX_ROWS} rows: ask for less time."
        )));
    }
    let mut found = found.into_iter().peekable();
    let mut rows = Vec::with_capacity(rows);
    for (week, last) in last_weeks {
        for later in 0..=last {
            let seen = found.next_if(|row| (row.week, row.later_weeks) == (week, later));
            rows.push(CohortWeek {
                week: start_of_day(week),
                later_weeks: later.unsigned_abs(),
                instances: seen.map_or(0, |row| row.instances),
                complete: seen.is_none_or(|row| row.complete),
            });
        }
    }
    Ok(list::array(rows, BYTES))
}
