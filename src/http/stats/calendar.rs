//! The calendar windows of `/stats/active`, and the range of windows that a request asks for.

use jiff::Timestamp;

use super::ActiveCount;
use crate::{
    domain::{CalendarWindow, day_of, start_of_day},
    http::{AppState, error::ApiError},
};

/// Windows that one answer may have.
const MAX_WINDOWS: usize = 2000;
/// Windows before the last one that are in an answer by default.
const DEFAULT_WINDOWS: usize = 29;

/// First days of the windows from one time to another, the present by default.
pub fn range(
    window: CalendarWindow,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(i64, i64), ApiError> {
    let last = window.first_day(day_of(until.unwrap_or(now)));
    let back = |first, _| window.first_day(first - 1);
    let first = since.map_or_else(
        || (0..DEFAULT_WINDOWS).fold(last, back),
        |since| window.first_day(day_of(since)),
    );
    if first > last {
        return Err(ApiError::InvalidParameter("since must not be after until.".into()));
    }
    let windows = std::iter::successors(Some(first), |first| Some(window.next(*first)));
    if windows.take_while(|first| *first <= last).take(MAX_WINDOWS + 1).count() > MAX_WINDOWS {
        return Err(ApiError::InvalidParameter(format!(
            "That is more than {MAX_WINDOWS} windows: ask for less time or a longer window."
        )));
    }
    Ok((first, last))
}

/// Distinct instances of each window from one time to another.
pub async fn calendar(
    state: &AppState,
    window: CalendarWindow,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Vec<ActiveCount>, ApiError> {
    let now = state.clock.now();
    let (first, last) = range(window, since, until, now)?;
    let own = state.clone();
    let counted = state.in_turn(async move { own.database.calendar(window, first, last).await });
    let rows = counted.await?.into_iter().map(|count| {
        let until = start_of_day(window.next(count.first_day));
        ActiveCount {
            window: window.name(),
            since: start_of_day(count.first_day),
            until: Some(until),
            value: None,
            active_instances: count.instances,
            returning_instances: None,
            over: Some(until <= now),
            complete: Some(count.complete),
        }
    });
    Ok(rows.collect())
}
