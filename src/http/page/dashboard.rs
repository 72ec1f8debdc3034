//! `GET /`: the page that shows what matters.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};

use super::{
    Html,
    cache::Basis,
    figures::{Cell, Figure, figures},
    format::period,
    health::Health,
    numbers::{Numbers, TURNS},
    parts::{
        Breakdown, Cohort, Report, StartupRow, StartupTable, Tile, breakdowns, cohorts, latest,
        startup_tables, tiles,
    },
    view::{Step, View},
};
use crate::http::{AppState, error::ApiError, extract::Parameters};

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    view: View,
    since: String,
    step: &'static str,
    tiles: Vec<Tile>,
    startup: StartupRow,
    figures: Vec<Figure>,
    breakdowns: Vec<Breakdown>,
    startup_tables: Vec<StartupTable>,
    cohorts: Vec<Cohort>,
    latest: Vec<Report>,
    choices: [Vec<String>; 2],
    health: Health,
    grafana: Option<String>,
    /// True if there is a public view.
    public: bool,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct Empty {
    address: String,
    health: Health,
}

/// Answers the page of a view; before the first report the page that shows how to send it.
pub async fn dashboard(
    State(state): State<AppState>,
    headers: HeaderMap,
    Parameters(view): Parameters<View>,
) -> Result<Response, ApiError> {
    let view = view.normal();
    let basis = Basis::of(&state);
    if let Some(page) = state.pages.find(&view, basis) {
        return page.answer(&headers);
    }
    let own = state.clone();
    let reading = async move {
        let now = own.clock.now();
        let numbers = Numbers::read(&own.database, now, &view).await?;
        Ok::<_, ApiError>((view, numbers))
    };
    let (view, numbers) = state.in_turns(TURNS, reading).await?;
    let health = Health::of(&state);
    if numbers.instances == 0 {
        let address = address(&headers);
        return Html::new(&Empty { address, health })?.answer(&headers);
    }
    let page = Html::new(&page(view.clone(), numbers, health, &state)?)?;
    state.pages.keep(view, basis, page.clone());
    page.answer(&headers)
}

/// The address of this server, as the browser knows it. A proxy that ends TLS says so; any other client may,
/// since it alone reads the answer.
fn address(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("localhost:8080");
    let scheme = match headers.get("x-forwarded-proto").map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

fn page(
    view: View,
    numbers: Numbers,
    health: Health,
    state: &AppState,
) -> Result<Dashboard, ApiError> {
    Ok(Dashboard {
        since: period(numbers.periods.first(), numbers.periods.step == Step::Hour),
        step: numbers.periods.step.name(),
        tiles: tiles(&numbers),
        startup: StartupRow::from(&numbers.startup_of_range()),
        figures: figures(&numbers)?,
        breakdowns: breakdowns(&numbers),
        startup_tables: startup_tables(&numbers),
        cohorts: cohorts(&numbers),
        latest: latest(&numbers),
        choices: numbers.choices,
        view,
        health,
        grafana: state.grafana_url.clone(),
        public: state.public.is_some(),
    })
}
