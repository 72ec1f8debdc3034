//! Extractors whose failures are problem documents.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use validator::{ValidationErrors, ValidationErrorsKind};

use super::{
    MAX_BODY,
    error::{ApiError, FieldError},
};
use crate::domain::{Report, ReportBody};

/// The report in the body, in its normal form and by all rules.
#[derive(Debug)]
pub struct ReportJson(pub Report);

impl<S: Sync> FromRequest<S> for ReportJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::NotJson);
        }
        let body = read(request.into_body()).await?;
        let report = parse(&body)?.into_report().map_err(|errors| field_errors(&errors))?;
        Ok(Self(report))
    }
}

/// The query string.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let text = rejection.body_text();
                let what = text.strip_prefix("Failed to deserialize query string: ");
                Err(ApiError::InvalidParameter(what.unwrap_or(&text).to_owned()))
            }
        }
    }
}

/// Whether the content type is `application/json` or another JSON type.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5
            && essence.is_char_boundary(essence.len() - 5)
            && essence[essence.len() - 5..].eq_ignore_ascii_case("+json"))
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
        Err(_) => Err(ApiError::BrokenBody),
    }
}

fn parse(body: &[u8]) -> Result<ReportBody, ApiError> {
    serde_json::from_slice(body).or_else(|error| {
        if !error.is_data() {
            return Err(ApiError::MalformedJson(format!("{error}.")));
        }
        // It is JSON, of the wrong shape. Read it again to learn where: only errors pay.
        let json = &mut serde_json::Deserializer::from_slice(body);
        serde_path_to_error::deserialize(json).map_err(|error| {
            let pointer = pointer(error.path());
            let what = error.into_inner().to_string();
            // Without serde's position: the pointer says it.
            let what = what.split(" at line ").next().unwrap_or_default();
            ApiError::InvalidReport(vec![FieldError {
                pointer,
                detail: format!("has the wrong type: {what}"),
            }])
        })
    })
}

/// The JSON pointer of a path within a report, which has no nested fields.
fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            serde_path_to_error::Segment::Map { key } => Some(format!("/{key}")),
            serde_path_to_error::Segment::Seq { index } => Some(format!("/{index}")),
            _ => None,
        })
        .collect()
}

fn field_errors(errors: &ValidationErrors) -> ApiError {
    let mut fields: Vec<FieldError> = errors
        .errors()
        .iter()
        .filter_map(|(field, kind)| match kind {
            ValidationErrorsKind::Field(broken) => Some((field, broken)),
            _ => None,
        })
        .flat_map(|(field, broken)| {
            broken.iter().map(move |rule| FieldError {
                pointer: format!("/{field}"),
                detail: rule.message.as_deref().unwrap_or(&rule.code).to_owned(),
            })
        })
        .collect();
    fields.sort_by(|a, b| (&a.pointer, &a.detail).cmp(&(&b.pointer, &b.detail)));
    ApiError::InvalidReport(fields)
}
