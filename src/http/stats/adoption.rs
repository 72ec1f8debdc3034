//! `/stats/adoption`: when half of the active instances ran a version.

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{Hour, day_of},
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        list,
        responses::{DatabaseErrors, ParameterErrors, TokenErrors},
    },
};

/// Memory of a row, in bytes.
const BYTES: usize = 128;

/// Query parameters of `/stats/adoption`: none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptionQuery {}

/// Adoption of a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionAdoption {
    /// The version.
    #[schema(example = "v11.0.0")]
    version: String,
    /// Begin of the first day on which it started, UTC.
    #[schema(value_type = String, format = DateTime)]
    first_day: Timestamp,
    /// End of the hour at which half of the active instances (within 7 days, by their latest report) ran it
    /// for the first time; absent while they never did.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    half_at: Option<Timestamp>,
    /// Days between the two dates; absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u64>,
}

/// Time from the first start of each version until half of the active instances ran it, in the order of
/// the first starts.
#[utoipa::path(
    get, path = "/stats/adoption", tag = "statistics",
    responses(
        (status = 200, body = Vec<VersionAdoption>),
        ParameterErrors, TokenErrors, DatabaseErrors,
    )
)]
pub async fn adoption(
    State(state): State<AppState>,
    Parameters(AdoptionQuery {}): Parameters<AdoptionQuery>,
) -> Result<Response, ApiError> {
    let own = state.clone();
    let found = state.in_turn(async move { own.database.adoptions().await }).await?;
    let rows = found.into_iter().map(|found| {
        let first_day = found.first_day.start();
        let half_at = found.half.map(Hour::start);
        // The end of the last hour of a day is still of that day.
        let half_day = found.half.map(|hour| day_of(hour.plus(-1).start()));
        VersionAdoption {
            version: found.version.to_string(),
            first_day,
            half_at,
            days: half_day.map(|half| u64::try_from(half - day_of(first_day)).unwrap_or(0)),
        }
    });
    Ok(list::array(rows.collect(), BYTES))
}
