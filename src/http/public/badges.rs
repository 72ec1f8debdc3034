//! `/badge/…`: a number of the public view as a picture, or as JSON for shields.io.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::PublicNumbers,
    http::{
        AppState,
        error::ApiError,
        extract::Parameters,
        media_type,
        responses::{DatabaseErrors, ParameterErrors, PublicErrors},
    },
};

pub const PATH: &str = "/badge/{name}";

const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";

/// Width of a character of Verdana at 11 pixels, on average; the picture stretches the text to it.
const CHARACTER: usize = 7;
/// Width of the blank at each side of a text.
const BLANK: usize = 6;
/// Background of a number: white text on it has a contrast of 5 to 1.
const BLUE: &str = "0969da";
/// Background where there is no number.
const GREY: &str = "6e7781";

/// A number that has a badge.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub enum Badge {
    /// Instances of the last 30 days.
    #[serde(rename = "active-30d")]
    Active,
    /// Instances of all time.
    #[serde(rename = "instances")]
    Instances,
    /// The newest release of the last 30 days.
    #[serde(rename = "newest-version")]
    NewestVersion,
}

/// Form of a badge.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BadgeForm {
    /// A picture.
    Svg,
    /// JSON for shields.io.
    Json,
}

/// Query parameters of a badge.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BadgeQuery {
    /// Form of the answer; without it the one that `Accept` wants most, a picture of both.
    #[param(inline)]
    format: Option<BadgeForm>,
}

/// A badge in the form of shields.io's endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BadgeJson {
    /// Version of the form.
    #[schema(example = 1)]
    schema_version: u8,
    /// Name of the number.
    #[schema(example = "active in 30 days")]
    label: &'static str,
    /// The number.
    #[schema(example = "25+")]
    message: String,
    /// Background of the number, in hexadecimal digits.
    color: &'static str,
}

impl Badge {
    fn show(self, numbers: Option<&PublicNumbers>) -> BadgeJson {
        let label = match self {
            Self::Active => "active in 30 days",
            Self::Instances => "instances",
            Self::NewestVersion => "newest version",
        };
        let at_least = |instances: u64, minimum: u64| match instances {
            0 => format!("fewer than {minimum}"),
            instances => format!("{instances}+"),
        };
        let message = numbers.and_then(|numbers| match self {
            Self::Active => Some(at_least(numbers.last_30_days.instances, numbers.minimum)),
            Self::Instances => Some(at_least(numbers.all_time.instances, numbers.minimum)),
            Self::NewestVersion => numbers.newest_version(),
        });
        let color = if message.is_some() { BLUE } else { GREY };
        let message = message.unwrap_or_else(|| "not known yet".to_owned());
        BadgeJson { schema_version: 1, label, message, color }
    }
}

impl BadgeJson {
    /// The picture. Its texts need no escaping: they are words, digits and releases.
    fn svg(&self) -> String {
        let Self { label, message, color, .. } = self;
        let (label_text, text) = (label.len() * CHARACTER, message.len() * CHARACTER);
        let (label_width, message_width) = (label_text + 2 * BLANK, text + 2 * BLANK);
        let width = label_width + message_width;
        let place = label_width + BLANK;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {message}"><title>{label}: {message}</title><clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="{label_width}" height="20" fill="#444d56"/><rect x="{label_width}" width="{message_width}" height="20" fill="#{color}"/></g><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{BLANK}" y="14" textLength="{label_text}">{label}</text><text x="{place}" y="14" textLength="{text}">{message}</text></g></svg>"##
        )
    }
}

/// A number of the public view as a badge: a picture, or JSON for shields.io.
#[utoipa::path(
    get, path = PATH, tag = "public",
    params(("name" = inline(Badge), Path, description = "The number"), BadgeQuery),
    responses(
        (status = 200, content((String = "image/svg+xml"), (BadgeJson = "application/json"))),
        PublicErrors, ParameterErrors, DatabaseErrors,
    )
)]
pub async fn badge(
    State(state): State<AppState>,
    name: Result<Path<Badge>, PathRejection>,
    Parameters(query): Parameters<BadgeQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    const VARY: [(HeaderName, &str); 1] = [(header::VARY, "accept")];
    let Path(badge) = name.map_err(|_| ApiError::NotFound)?;
    let wanted =
        || media_type::preferred(&headers, &[(SVG, BadgeForm::Svg), (JSON, BadgeForm::Json)]);
    let shown = badge.show(state.database.public_numbers().await?.as_ref());
    Ok(match query.format.or_else(wanted) {
        Some(BadgeForm::Json) => (VARY, Json(shown)).into_response(),
        _ => (VARY, [(header::CONTENT_TYPE, SVG)], shown.svg()).into_response(),
    })
}
