//! `/deployments`: the newest reports, page by page.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::ApiError,
    extract::Parameters,
    list,
    responses::{DatabaseErrors, ParameterErrors, TokenErrors},
};
use crate::{
    domain::{Dimension, ReportKind},
    storage::{ReportFilter, StoredReport},
};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// Memory of a report, in bytes.
const BYTES: usize = 256;

/// Query parameters of `/deployments`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DeploymentQuery {
    /// Most reports in the answer; 100 by default.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Only reports that came before the one with this `id`: the next page.
    before: Option<i64>,
    /// Only this version.
    version: Option<String>,
    /// Only this architecture.
    architecture: Option<String>,
    /// Only reports received at this time (RFC 3339) or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only reports received before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// A stored report, in its normal form.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deployment<'a> {
    /// Number of the report, in the order of arrival.
    id: i64,
    /// Time of arrival by the server's clock; null while that is wrong.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    instance_id: &'a str,
    image_version: &'a str,
    architecture: &'a str,
    os: &'a str,
    container_runtime: &'a str,
    /// Null where the report has none.
    #[schema(required = true)]
    startup_time_ms: Option<i64>,
    db_type: &'a str,
    telemetry_version: &'a str,
    event: ReportKind,
    /// Time of the report by the client's clock; null where the report has none.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    timestamp: Option<Timestamp>,
}

/// A report that is written out when it is sent.
struct Row(StoredReport);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Deployment::from(&self.0).serialize(serializer)
    }
}

/// The newest reports, newest first.
///
/// A header `Link` with `rel="next"` leads to the next page where there may be one.
#[utoipa::path(
    get, path = "/deployments", tag = "reports", params(DeploymentQuery),
    responses(
        (
            status = 200, body = Vec<Deployment>,
            headers(("Link" = String, description = "The next page, with `rel=\"next\"`"))
        ),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn deployments(
    State(state): State<AppState>,
    Parameters(query): Parameters<DeploymentQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::InvalidParameter(format!("limit must be from 1 to {MAX_LIMIT}.")));
    }
    let filter = ReportFilter {
        before: query.before,
        image_version: query
            .version
            .clone()
            .map(|version| Dimension::ImageVersion.normal_form(Some(version))),
        architecture: query
            .architecture
            .clone()
            .map(|name| Dimension::Architecture.normal_form(Some(name))),
        since: query.since,
        until: query.until,
        starts_only: false,
    };
    let own = state.clone();
    let reading = async move { own.database.newest_reports(&filter, limit).await };
    let found = state.in_turn(reading).await?;

    let mut headers = HeaderMap::new();
    if let Some(last) = found.last().filter(|_| found.len() == limit as usize)
        && let Ok(link) = HeaderValue::try_from(next_page(&query, last.id, limit))
    {
        headers.insert(header::LINK, link);
    }
    let page: Vec<Row> = found.into_iter().map(Row).collect();
    Ok((headers, list::array(page, BYTES)).into_response())
}

/// The link to the page after `last` (RFC 8288), with the same filters.
fn next_page(query: &DeploymentQuery, last: i64, limit: u32) -> String {
    let parameters = [
        ("limit", Some(limit.to_string())),
        ("before", Some(last.to_string())),
        ("version", query.version.clone()),
        ("architecture", query.architecture.clone()),
        ("since", query.since.map(|time| time.to_string())),
        ("until", query.until.map(|time| time.to_string())),
    ];
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    format!("</deployments?{query}>; rel=\"next\"")
}

impl<'a> From<&'a StoredReport> for Deployment<'a> {
    fn from(stored: &'a StoredReport) -> Self {
        let profile = &stored.profile;
        Self {
            id: stored.id,
            created_at: stored.received_at,
            instance_id: &stored.instance_id,
            image_version: profile.get(Dimension::ImageVersion),
            architecture: profile.get(Dimension::Architecture),
            os: profile.get(Dimension::Os),
            container_runtime: profile.get(Dimension::ContainerRuntime),
            startup_time_ms: stored.startup_ms,
            db_type: profile.get(Dimension::DbType),
            telemetry_version: profile.get(Dimension::TelemetryVersion),
            event: stored.kind,
            timestamp: stored.timestamp,
        }
    }
}
