//! Extractors whose failures are problem documents.

#[expect(clippy::disallowed_types, reason = "the one place that wraps it")]
use axum::extract::Query;
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, IgnoredAny};
use validator::{ValidationErrors, ValidationErrorsKind};

use super::{
    MAX_BODY, MAX_PIECES,
    error::{ApiError, FieldError},
    media_type::{is_encoded, is_json},
};
use crate::domain::{Accepted, ReportBody};

/// Mark that some programs on Windows write before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The report in the body, in its normal form and by all rules.
#[derive(Debug)]
pub struct ReportJson(pub Accepted);

impl<S: Sync> FromRequest<S> for ReportJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::NotJson);
        }
        if is_encoded(request.headers()) {
            return Err(ApiError::Encoded);
        }
        let body = read_body(request.into_body(), MAX_BODY).await?;
        parse_report(&body).map(Self)
    }
}

/// The query string.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    #[expect(clippy::disallowed_types, reason = "the one place that wraps it")]
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let text = rejection.body_text();
                let cause = text.strip_prefix("Failed to deserialize query string: ");
                Err(ApiError::InvalidParameter(cause.unwrap_or(&text).to_owned()))
            }
        }
    }
}

/// A whole body of at most so many bytes.
pub async fn read_body(body: Body, most: usize) -> Result<Bytes, ApiError> {
    let mut body = Limited::new(body, most);
    let mut read = Vec::new();
    let mut pieces = 0..MAX_PIECES;
    while let Some(frame) = body.frame().await {
        pieces.next().ok_or(ApiError::TooLarge(most))?;
        match frame {
            // Copied: a frame may be a single byte, and takes more memory than that.
            Ok(frame) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => return Err(ApiError::TooLarge(most)),
            Err(_) => return Err(ApiError::BrokenBody),
        }
    }
    Ok(read.into())
}

/// Parses the body of a report.
///
/// # Errors
/// If the body is no JSON, or each broken rule.
pub fn parse_report(body: &[u8]) -> Result<Accepted, ApiError> {
    parse(body)?.accept().map_err(|errors| field_errors(&errors))
}

fn parse(body: &[u8]) -> Result<ReportBody, ApiError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let first = body.trim_ascii_start().first();
    // An array would be read as the fields in their order.
    if first.is_some_and(|first| *first != b'{') {
        return Err(match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => broken_field(String::new(), "must be an object".into()),
            Err(error) => ApiError::MalformedJson(format!("{error}.")),
        });
    }
    serde_json::from_slice(body).or_else(|error| {
        if !error.is_data() {
            return Err(ApiError::MalformedJson(format!("{error}.")));
        }
        // It is JSON, of the wrong shape. Read it again to learn where: only errors pay.
        let json = &mut serde_json::Deserializer::from_slice(body);
        serde_path_to_error::deserialize(json).map_err(|error| {
            let pointer = pointer(error.path());
            let text = error.into_inner().to_string();
            // Without serde's position: the pointer says it.
            let text = text.split(" at line ").next().unwrap_or_default();
            broken_field(pointer, format!("has the wrong type: {text}"))
        })
    })
}

fn broken_field(pointer: String, detail: String) -> ApiError {
    ApiError::InvalidReport(vec![FieldError { pointer, detail }])
}

/// The JSON pointer of a path within a report, which has no nested fields.
fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            serde_path_to_error::Segment::Map { key } => Some(format!("/{key}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = parse_report(&body);
        }
    }
}
