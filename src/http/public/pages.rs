//! `/public` and `/public/fields`: the public view for people.

use std::fmt;

use askama::{Template, filters::HtmlSafe};
use axum::{extract::State, http::HeaderMap, response::Response};
use jiff::SignedDuration;

use super::{PublicAnswer, PublicView};
use crate::{
    domain::{Collected, Dimension, Kept, PublicCounts, PublicNumbers, collected},
    http::{
        AppState,
        error::ApiError,
        page::{
            Html,
            format::{Count, Share, Time, part},
        },
    },
};

/// A count that was rounded down.
struct AtLeast {
    count: u64,
    minimum: u64,
}

impl HtmlSafe for AtLeast {}

impl fmt::Display for AtLeast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => write!(f, "fewer than {}", Count(self.minimum)),
            count => write!(f, "{}+", Count(count)),
        }
    }
}

struct Tile {
    id: &'static str,
    title: &'static str,
    definition: &'static str,
    value: AtLeast,
}

struct Adoption {
    version: String,
    active: AtLeast,
    share: Share,
    shown_since: String,
    half_on: Option<String>,
}

struct Breakdown {
    id: &'static str,
    title: &'static str,
    rows: Vec<Row>,
}

/// A value: its instances of 30 days and of all time, where they are shown.
struct Row {
    value: String,
    active: Option<(AtLeast, Share)>,
    ever: Option<AtLeast>,
}

struct Shown {
    day: String,
    minimum: u64,
    newest_version: Option<String>,
    tiles: Vec<Tile>,
    adoption: Vec<Adoption>,
    breakdowns: Vec<Breakdown>,
}

#[derive(Template)]
#[template(path = "public.html")]
struct Public {
    numbers: Option<Shown>,
    next_at: Time,
}

#[derive(Template)]
#[template(path = "fields.html")]
struct Fields {
    fields: Vec<Field>,
}

struct Field {
    collected: Collected,
    kept: String,
}

/// Answers the page of the numbers.
pub async fn public(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let PublicAnswer { numbers, next_at } = PublicAnswer::read(&state).await?;
    let page = Public { numbers: numbers.as_ref().map(show), next_at: Time(next_at) };
    Html::new(&page)?.answer(&headers)
}

fn show(numbers: &PublicNumbers) -> Shown {
    let at_least = |count| AtLeast { count, minimum: numbers.minimum };
    let (month, ever) = (&numbers.last_30_days, &numbers.all_time);
    let tile =
        |id, title, count, definition| Tile { id, title, definition, value: at_least(count) };
    let share = |part| Share { part, whole: month.instances };
    Shown {
        day: numbers.day.to_string(),
        minimum: numbers.minimum,
        newest_version: numbers.newest_version(),
        tiles: vec![
            tile(
                "active-30d",
                "Active, 30 d",
                month.instances,
                "Instances that sent a report within the 30 days up to the end of the day, each counted once.",
            ),
            tile(
                "starts-30d",
                "Starts, 30 d",
                month.starts,
                "Reports of a start within the 30 days up to the end of the day, one for each start of a container.",
            ),
            tile(
                "instances",
                "Instances, ever",
                ever.instances,
                "Different instance ids in all reports since the first one.",
            ),
            tile("starts", "Starts, ever", ever.starts, "Reports of a start since the first one."),
        ],
        adoption: numbers
            .adoption
            .iter()
            .map(|adoption| Adoption {
                version: adoption.version.clone(),
                active: at_least(adoption.instances),
                share: share(adoption.instances),
                shown_since: adoption.shown_since.to_string(),
                half_on: adoption.half_on.map(|day| day.to_string()),
            })
            .collect(),
        breakdowns: month
            .breakdowns
            .keys()
            .map(|dimension| breakdown(numbers, *dimension))
            .collect(),
    }
}

fn breakdown(numbers: &PublicNumbers, dimension: Dimension) -> Breakdown {
    let (id, title) = part(dimension);
    let groups = |counts: &PublicCounts| -> Vec<(String, u64)> {
        let groups = counts.groups(dimension).iter();
        groups.map(|group| (group.value.clone(), group.instances)).collect()
    };
    let (month, ever) = (groups(&numbers.last_30_days), groups(&numbers.all_time));
    let mut values: Vec<String> = month.iter().map(|(value, _)| value.clone()).collect();
    for (value, _) in &ever {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    let at_least = |count| AtLeast { count, minimum: numbers.minimum };
    let whole = numbers.last_30_days.instances;
    let find = |groups: &[(String, u64)], value: &str| {
        groups.iter().find(|(own, _)| own == value).map(|(_, instances)| *instances)
    };
    let row = |value: String| Row {
        active: find(&month, &value).map(|part| (at_least(part), Share { part, whole })),
        ever: find(&ever, &value).map(at_least),
        value,
    };
    Breakdown { id, title, rows: values.into_iter().map(row).collect() }
}

/// Answers the page of everything that is collected.
pub async fn fields(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let retention = state.public.and_then(|PublicView { retention, .. }| retention);
    let field = |collected: Collected| Field { kept: kept(collected.kept, retention), collected };
    let page = Fields { fields: collected().map(field).collect() };
    Html::new(&page)?.answer(&headers)
}

/// The time for which something is kept, in words.
fn kept(kept: Kept, retention: Option<SignedDuration>) -> String {
    let report = match retention.map(|age| age.as_hours() / 24) {
        None => "for ever".to_owned(),
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{days} days"),
    };
    match kept {
        Kept::WithReport => format!("With the single report: {report}"),
        Kept::WithReportAndCounts if retention.is_none() => "For ever".to_owned(),
        Kept::WithReportAndCounts => {
            format!("With the single report: {report}. Counts by it are kept for ever")
        }
        Kept::UntilPurged => format!(
            "With the single report: {report}. With the first and the last time at which it reported, the \
             number of its days and reports and its latest values: until the operator purges it"
        ),
        Kept::TwoDays => "A hash of it, for 48 hours in which the server runs".to_owned(),
        Kept::InMemory => "In memory, until the server ends at the latest".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_stated_where_it_ends_something() {
        let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
        assert_eq!(kept(Kept::WithReport, None), "With the single report: for ever");
        assert_eq!(kept(Kept::WithReport, days(30)), "With the single report: 30 days");
        assert_eq!(kept(Kept::WithReportAndCounts, None), "For ever");
        assert!(kept(Kept::WithReportAndCounts, days(1)).contains(": 1 day. Counts"));
        assert!(kept(Kept::UntilPurged, days(90)).contains(": 90 days. With"));
    }
}
