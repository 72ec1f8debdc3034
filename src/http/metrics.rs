//! `/metrics`: totals as JSON, or everything for a Prometheus scrape.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use mediatype::{MediaType, MediaTypeBuf, Name, ReadParams as _, names};
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
        ScrapeFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        ScrapeFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Scrape(ScrapeFormat),
}

/// The form that the client prefers; JSON where it does not say.
fn wanted_format(headers: &HeaderMap) -> Format {
    preferred(headers, format_of).unwrap_or(Format::Json)
}

/// The form that a media range asks for, if there is one. `text/*` and `text/plain` without a
/// version come from a person's client and not from a scrape.
fn format_of(range: &MediaTypeBuf) -> Option<Format> {
    const JSON: MediaType = MediaType::new(names::APPLICATION, names::JSON);
    const PLAIN: MediaType = MediaType::new(names::TEXT, names::PLAIN);
    const OPENMETRICS: Name = Name::new_unchecked("openmetrics-text");
    const VERSION: Name = Name::new_unchecked("version");

    if range.essence() == JSON || range.ty() == names::_STAR {
        Some(Format::Json)
    } else if range.ty() == names::APPLICATION && range.subty() == OPENMETRICS {
        Some(Format::Scrape(ScrapeFormat::OpenMetrics))
    } else if range.essence() == PLAIN
        && range.get_param(VERSION).is_some_and(|version| version == "0.0.4")
    {
        Some(Format::Scrape(ScrapeFormat::Prometheus))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS: Format = Format::Scrape(ScrapeFormat::Prometheus);
    const OPENMETRICS: Format = Format::Scrape(ScrapeFormat::OpenMetrics);

    fn format(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        wanted_format(&headers)
    }

    #[test]
    fn json_is_the_default() {
        assert_eq!(wanted_format(&HeaderMap::new()), Format::Json);
        for accept in ["*/*", "application/json", "text/html, */*;q=0.8", "text/plain", "nonsense"]
        {
            assert_eq!(format(accept), Format::Json, "{accept}");
        }
    }

    #[test]
    fn a_scrape_gets_the_format_that_it_prefers() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,\
             */*;q=0.1";
        assert_eq!(format(prometheus_3), OPENMETRICS);
        assert_eq!(format("text/plain;version=0.0.4"), PROMETHEUS);
        assert_eq!(
            format("application/openmetrics-text;q=0.2, text/plain;version=0.0.4;q=0.9"),
            PROMETHEUS
        );
        assert_eq!(format("application/json, text/plain;version=0.0.4;q=0.9"), Format::Json);
        assert_eq!(format("text/plain;version=0.0.4;q=0"), Format::Json);
    }
}
