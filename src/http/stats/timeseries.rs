//! `/stats/timeseries`: reports by hour or day.

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Dimension, Hour},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        list,
        responses::{DatabaseErrors, ParameterErrors, TokenErrors},
    },
    storage::{self, Interval},
};

/// Periods that one time series may have.
const MAX_PERIODS: i64 = 2000;
/// Rows of one answer.
const MAX_ROWS: u32 = 20_000;
/// Memory of a row, in bytes.
const BYTES: usize = 96;

/// Query parameters of `/stats/timeseries`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TimeseriesQuery {
    /// Length of a period; a day by default.
    #[serde(default = "TimeseriesQuery::day")]
    interval: Interval,
    /// One row for each value of this dimension in a period, instead of one for all.
    by: Option<Dimension>,
    /// Time in the first period (RFC 3339); 29 days or 47 hours before the last one by default.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Time in the last period (RFC 3339); now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl TimeseriesQuery {
    const fn day() -> Interval {
        Interval::Day
    }
}

/// Reports in one period.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodCount {
    /// Begin of the period, UTC.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Value of the dimension `by`; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Reports with `event: start`.
    starts: u64,
    /// Reports with `event: heartbeat`.
    heartbeats: u64,
    /// Seconds of the period in which the server was down, or its clock was wrong.
    outage_seconds: i64,
}

/// Reports by hour or day, oldest first.
///
/// Periods without a report are in the answer, with 0, unless it is by a dimension. `outage_seconds` says
/// for how much of a period a 0 is not known to be true.
#[utoipa::path(
    get, path = "/stats/timeseries", tag = "statistics", params(TimeseriesQuery),
    responses(
        (status = 200, body = Vec<PeriodCount>),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn timeseries(
    State(state): State<AppState>,
    Parameters(query): Parameters<TimeseriesQuery>,
) -> Result<Response, ApiError> {
    let step = query.interval.hours();
    let period = |time| Hour::of(time).period(step);
    let last = period(query.until.unwrap_or_else(|| state.clock.now()));
    let back = match query.interval {
        Interval::Hour => 47,
        Interval::Day => 29 * 24,
    };
    let first = query.since.map_or(last.plus(-back), period);
    if first > last {
        return Err(ApiError::InvalidParameter("since must not be after until.".into()));
    }
    if (last.number() - first.number()) / step >= MAX_PERIODS {
        return Err(ApiError::InvalidParameter(format!(
            "That is more than {MAX_PERIODS} periods: ask for less time or a longer interval."
        )));
    }

    let (own, until) = (state.clone(), last.plus(step));
    let (interval, by) = (query.interval, query.by);
    let reading = async move {
        let now = own.clock.now().as_millisecond();
        let outages = own.database.outages(first.start_ms(), until.start_ms().min(now)).await?;
        let found = own.database.timeseries(interval, by, first, until, MAX_ROWS + 1).await?;
        storage::Result::Ok((found, outages))
    };
    let (found, outages) = state.in_turn(reading).await?;
    let outage_seconds =
        |hour: Hour| outages.within(hour.start_ms(), hour.plus(step).start_ms()) / 1000;
    if found.len() > MAX_ROWS as usize {
        return Err(ApiError::InvalidParameter(format!(
            "That is more than {MAX_ROWS} rows: ask for less time or a longer interval."
        )));
    }
    let mut found = found.into_iter().peekable();
    let mut periods = Vec::new();
    if query.by.is_some() {
        periods.extend(found.map(|period| PeriodCount {
            time: period.hour.start(),
            value: period.value.map(Into::into),
            starts: period.starts,
            heartbeats: period.heartbeats,
            outage_seconds: outage_seconds(period.hour),
        }));
        return Ok(list::array(periods, BYTES));
    }
    let mut hour = first;
    while hour <= last {
        let period = found.next_if(|period| period.hour == hour);
        periods.push(PeriodCount {
            time: hour.start(),
            value: None,
            starts: period.as_ref().map_or(0, |period| period.starts),
            heartbeats: period.as_ref().map_or(0, |period| period.heartbeats),
            outage_seconds: outage_seconds(hour),
        });
        hour = hour.plus(step);
    }
    Ok(list::array(periods, BYTES))
}
