//! `/metrics`: totals as JSON, or everything for a Prometheus scrape.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    error::ApiError,
    media_type::preferred,
    responses::{DatabaseErrors, TokenErrors},
    scrape::Fleet,
    stats::{ArchitectureCount, VersionCount},
};
use crate::{
    domain::Dimension,
    metrics::{ScrapeFormat, Sizes},
};

/// Counts over everything that was ever reported.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricsSummary {
    /// Starts: reports with `event: start`. For a client that keeps its id, a
    /// restart loop raises this and nothing else.
    total_deployments: u64,
    /// Instances: distinct `instance_id`s, ever.
    unique_instances: u64,
    /// Starts by architecture, most first.
    architecture_breakdown: Vec<ArchitectureCount>,
    /// Starts by version, most first.
    version_breakdown: Vec<VersionCount>,
    /// Mean startup time of the starts that have one; 0 without any.
    avg_startup_time_ms: f64,
    /// Returning instances: ids seen on two or more days, ever.
    returning_instances: u64,
    /// Reports with `event: heartbeat`.
    total_heartbeats: u64,
}

/// Totals: JSON by default, Prometheus text or OpenMetrics to a client that asks for it.
#[utoipa::path(
    get, path = "/metrics", tag = "statistics",
    responses(
        (
            status = 200,
            content(
                (MetricsSummary = "application/json"),
                (String = "text/plain; version=0.0.4"),
                (String = "application/openmetrics-text; version=1.0.0"),
            ),
            headers(("Vary" = String, description = "`Accept`"))
        ),
        TokenErrors, DatabaseErrors,
    )
)]
pub async fn metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut response = match wanted_format(&headers) {
        Format::Json => summary(&state).await?.into_response(),
        Format::Scrape(format) => scrape(&state, format).await?,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

async fn summary(state: &AppState) -> Result<Json<MetricsSummary>, ApiError> {
    let (totals, [architectures, versions]) =
        state.database.summary([Dimension::Architecture, Dimension::ImageVersion]).await?;
    Ok(Json(MetricsSummary {
        total_deployments: totals.starts,
        unique_instances: totals.instances,
        architecture_breakdown: architectures.into_iter().map(Into::into).collect(),
        version_breakdown: versions
            .into_iter()
            .map(|breakdown| VersionCount {
                version: breakdown.value.into(),
                count: breakdown.starts,
            })
            .collect(),
        avg_startup_time_ms: totals.mean_startup_ms.unwrap_or(0.0),
        returning_instances: totals.returning_instances,
        total_heartbeats: totals.heartbeats,
    }))
}

async fn scrape(state: &AppState, format: ScrapeFormat) -> Result<Response, ApiError> {
    let fleet = Fleet::read(&state.database, state.clock.now()).await?;
    let sizes = Sizes::of(&state.database, state.ingest.waiting());
    let text = state
        .metrics
        .scrape(sizes, fleet, format)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let content_type = match format {
        ScrapeFormat::Prometheus => TEXT,
        ScrapeFormat::OpenMetrics => OPENMETRICS,
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Scrape(ScrapeFormat),
}

/// The forms in the order in which the server prefers them. `*/*` comes from people and programs
/// that know no scrape, so JSON is the first.
const FORMATS: [(&str, Format); 3] = [
    ("application/json", Format::Json),
    (TEXT, Format::Scrape(ScrapeFormat::Prometheus)),
    (OPENMETRICS, Format::Scrape(ScrapeFormat::OpenMetrics)),
];
/// The media type of the text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// That of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The form that the client prefers; JSON where it asks for none that there is.
fn wanted_format(headers: &HeaderMap) -> Format {
    preferred(headers, &FORMATS).unwrap_or(Format::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Format = Format::Scrape(ScrapeFormat::Prometheus);
    const OPEN: Format = Format::Scrape(ScrapeFormat::OpenMetrics);

    fn format(lines: &[&str]) -> Format {
        let lines = lines.iter().map(|line| (header::ACCEPT, line.parse().unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, line)| {
            headers.append(name, line);
        });
        wanted_format(&headers)
    }

    #[test]
    fn json_is_the_default() {
        assert_eq!(format(&[]), Format::Json);
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/*",
            "text/html, */*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
            "image/png",
            "nonsense",
            "*/*;q=0",
            "text/plain;q=0",
            "text/plain;version=0.0.4;q=0",
            "text/plain;q=0, text/*;q=0, */*;q=0.1",
            "application/json, text/plain;version=0.0.4;q=0.9",
            "text/plain, application/json",
            "text/plain;q=1.5",
        ] {
            assert_eq!(format(&[accept]), Format::Json, "{accept}");
        }
    }

    #[test]
    fn text_in_any_version_is_the_text_format() {
        for accept in [
            "text/plain",
            "TEXT/Plain ; Q=0.5",
            "text/*",
            "text/plain;version=0.0.4",
            "text/plain; version=\"0.0.4\"; charset=utf-8",
            "text/plain;version=1.0.0",
            "text/plain;version=1.0.0;escaping=underscores;q=0.7",
            "text/plain;charset=utf-8",
            "text/plain, nonsense",
            "text/plain;note=\"a, b\"",
            "text/html, text/plain;q=0.9, */*;q=0.8",
            "application/json;q=0.5, text/plain",
            "application/json;q=0, */*",
            "application/openmetrics-text;q=0.2, text/plain;version=0.0.4;q=0.9",
            "application/openmetrics-text;q=0, text/plain;q=0.1",
        ] {
            assert_eq!(format(&[accept]), PLAIN, "{accept}");
        }
    }

    #[test]
    fn openmetrics_where_it_is_asked_for_most() {
        // Of Prometheus 2 and 3, and of another scraper.
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
             q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,\
             */*;q=0.1",
            "application/openmetrics-text",
            "text/plain;q=0.5, application/openmetrics-text; version=0.0.1",
        ] {
            assert_eq!(format(&[accept]), OPEN, "{accept}");
        }
    }

    #[test]
    fn the_most_specific_range_counts() {
        assert_eq!(
            format(&["text/plain;version=0.0.4;q=0.1, text/plain, */*;q=0.5"]),
            Format::Json
        );
        assert_eq!(format(&["*/*, application/json;q=0.3, application/*;q=0.2"]), PLAIN);
        assert_eq!(format(&["text/*, text/plain;q=0.2, application/json;q=0.3"]), Format::Json);
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(format(&["text/html", "text/plain;q=0.5"]), PLAIN);
        assert_eq!(format(&["application/openmetrics-text;q=0.4", "text/plain;q=0.5"]), PLAIN);
        assert_eq!(format(&["text/plain;q=0.4", "application/openmetrics-text;q=0.5"]), OPEN);
        assert_eq!(format(&["nonsense", "*/*"]), Format::Json);
    }
}
