use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::{ApiError, ProblemSchema},
    extract::Parameters,
};
use crate::{
    domain::{Dimension, Hour, Window},
    storage::{Breakdown, Interval},
};

/// Periods that one time series may have.
const MAX_PERIODS: i64 = 2000;
/// Rows of one answer.
const MAX_ROWS: u32 = 20_000;

/// Declares a count by one dimension and the route that answers it.
macro_rules! breakdown {
    ($handler:ident, $count:ident, $field:ident, $path:literal, $dimension:expr, $words:literal) => {
        #[doc = concat!("Starts of one ", $words, ".")]
        #[derive(Debug, Serialize, ToSchema)]
        pub struct $count {
            /// The value, in its normal form.
            pub $field: String,
            /// Starts: reports with `event: start`.
            pub count: u64,
        }

        impl From<Breakdown> for $count {
            fn from(of: Breakdown) -> Self {
                Self { $field: of.value.into(), count: of.starts }
            }
        }

        #[doc = concat!("Starts by ", $words, ", most first.")]
        #[utoipa::path(
            get, path = $path, tag = "statistics",
            responses(
                (status = 200, body = Vec<$count>),
                (status = 401, body = ProblemSchema, content_type = "application/problem+json"),
            )
        )]
        pub async fn $handler(
            State(state): State<AppState>,
        ) -> Result<Json<Vec<$count>>, ApiError> {
            let counts = state.database.breakdown($dimension).await?;
            Ok(Json(counts.into_iter().map($count::from).collect()))
        }
    };
}

breakdown!(
    architecture,
    ArchitectureCount,
    architecture,
    "/stats/architecture",
    Dimension::Architecture,
    "architecture"
);
breakdown!(version, VersionCount, version, "/stats/version", Dimension::ImageVersion, "version");
breakdown!(os, OsCount, os, "/stats/os", Dimension::Os, "operating system");
breakdown!(
    container_runtime,
    RuntimeCount,
    container_runtime,
    "/stats/container_runtime",
    Dimension::ContainerRuntime,
    "container runtime"
);
breakdown!(db_type, DbTypeCount, db_type, "/stats/db_type", Dimension::DbType, "kind of database");

/// Of which starts, and by what.
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
    /// Value of the dimension that was asked for; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Starts that told their startup time.
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
        (status = 400, body = ProblemSchema, content_type = "application/problem+json"),
        (status = 401, body = ProblemSchema, content_type = "application/problem+json"),
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
    let found = state.database.startup(query.by, days).await?;
    let rounded = |ms: f64| (ms * 10.0).round() / 10.0;
    Ok(Json(
        found
            .into_iter()
            .filter(|of| of.startup.count() > 0)
            .map(|of| Startup {
                value: of.value.map(Into::into),
                count: of.startup.count(),
                avg_ms: of.startup.mean_ms().map(rounded),
                p50_ms: of.startup.quantile_ms(0.5).map(rounded),
                p90_ms: of.startup.quantile_ms(0.9).map(rounded),
                p99_ms: of.startup.quantile_ms(0.99).map(rounded),
            })
            .collect(),
    ))
}

/// Which periods, and by what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TimeseriesQuery {
    /// Length of a period; a day unless told otherwise.
    #[serde(default = "TimeseriesQuery::day")]
    interval: Interval,
    /// One row for each value of this dimension in a period, instead of one for all.
    by: Option<Dimension>,
    /// The first period is this time's (RFC 3339); 30 days or 48 hours back unless told
    /// otherwise.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The last period is this time's; the present one unless told otherwise.
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
    /// When the period began, UTC.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Value of the dimension that was asked for; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Reports with `event: start`.
    starts: u64,
    /// Reports with `event: heartbeat`.
    heartbeats: u64,
}

/// Reports by hour or day, oldest first.
///
/// Periods without a report are in the answer, with 0, unless it is by a dimension.
#[utoipa::path(
    get, path = "/stats/timeseries", tag = "statistics", params(TimeseriesQuery),
    responses(
        (status = 200, body = Vec<PeriodCount>),
        (status = 400, body = ProblemSchema, content_type = "application/problem+json"),
        (status = 401, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub async fn timeseries(
    State(state): State<AppState>,
    Parameters(query): Parameters<TimeseriesQuery>,
) -> Result<Json<Vec<PeriodCount>>, ApiError> {
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

    let found = state
        .database
        .timeseries(query.interval, query.by, first, last.plus(step), MAX_ROWS + 1)
        .await?;
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
        }));
        return Ok(Json(periods));
    }
    let mut hour = first;
    while hour <= last {
        let period = found.next_if(|period| period.hour == hour);
        periods.push(PeriodCount {
            time: hour.start(),
            value: None,
            starts: period.as_ref().map_or(0, |period| period.starts),
            heartbeats: period.as_ref().map_or(0, |period| period.heartbeats),
        });
        hour = hour.plus(step);
    }
    Ok(Json(periods))
}

/// By what.
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
    /// When it began: whole hours before the start of the present one.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Value of the dimension that was asked for; absent where none was.
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
        (status = 400, body = ProblemSchema, content_type = "application/problem+json"),
        (status = 401, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub async fn active(
    State(state): State<AppState>,
    Parameters(query): Parameters<ActiveQuery>,
) -> Result<Json<Vec<ActiveCount>>, ApiError> {
    let now = state.clock.now();
    let mut found = state.database.active(now, query.by).await?;
    if query.by.is_none() && found.is_empty() {
        found.push(crate::storage::ActiveInstances::default());
    }
    let mut windows = Vec::new();
    for window in Window::ALL {
        let place = window as usize;
        for of in &found {
            if query.by.is_some() && of.activity.active[place] == 0 {
                continue;
            }
            windows.push(ActiveCount {
                window: window.name(),
                since: window.first_hour(Hour::of(now)).start(),
                value: of.value.clone().map(Into::into),
                active_instances: of.activity.active[place],
                returning_instances: of.activity.returning[place],
            });
        }
    }
    Ok(Json(windows))
}
