//! Errors as the client sees them: problem documents (RFC 9457). The inner cause is never
//! in an answer: `respond` logs it.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http::Uri;
use problem_details::{JsonProblemDetails, ProblemDetails};
use serde::Serialize;
use utoipa::ToSchema;

use super::MAX_PIECES;
use crate::{
    domain::Attention,
    ingest::{Limited, Refused},
    storage,
};

/// Time after which a client may try again where no better one is known.
const RETRY: Duration = Duration::from_secs(5);

/// Ends of a request other than its answer.
#[derive(Debug)]
pub enum ApiError {
    /// The body is not JSON.
    MalformedJson(String),
    /// The body does not say that it is JSON.
    NotJson,
    /// The body is compressed.
    Encoded,
    /// The body has more than so many bytes.
    TooLarge(usize),
    /// The body ended early or did not arrive.
    BrokenBody,
    /// Fields break rules.
    InvalidReport(Vec<FieldError>),
    /// A part of the query string cannot be used.
    InvalidParameter(String),
    /// The token is missing or wrong.
    Unauthorized,
    /// A page of another site sent the form.
    OtherSite,
    /// No such route.
    NotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The request took too long.
    TooSlow,
    /// Over a rate limit.
    Limited(Limited),
    /// The report was not stored.
    Refused(Refused),
    /// The server does not work at present.
    NotReady(&'static str),
    /// An operator should look at the server.
    NeedsAttention(Vec<Attention>),
    /// Long answers and forms take all the memory that they may have.
    NoRoom,
    /// The database failed.
    Storage(storage::Error),
    /// The server's own fault, and its cause.
    Internal(String),
}

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// The rule.
    pub detail: String,
}

/// A reason for which an operator should look at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonAndRemedy {
    /// The reason: `silence`, `backup`, `disk` or `clock`.
    #[schema(example = "disk")]
    pub reason: &'static str,
    /// The remedy, in one sentence.
    pub remedy: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Extensions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonAndRemedy>,
}

impl Extensions {
    fn of(error: &ApiError) -> Self {
        match error {
            ApiError::InvalidReport(errors) => Self { errors: errors.clone(), ..Self::default() },
            ApiError::NeedsAttention(reasons) => {
                let reasons = reasons.iter();
                let reasons = reasons.map(|reason| ReasonAndRemedy {
                    reason: reason.name(),
                    remedy: reason.remedy(),
                });
                Self { reasons: reasons.collect(), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// Extension of an answer that is a problem, for the counts and the log.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Kind of problem: the last segment of its type.
    pub kind: &'static str,
    /// Inner cause, if the problem is the server's fault.
    pub cause: Option<String>,
}

impl ApiError {
    /// Status, type and title, which are the same each time.
    pub(super) const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson(_) => {
                (S::BAD_REQUEST, "/problems/malformed-json", "The body is not JSON")
            }
            Self::BrokenBody => {
                (S::BAD_REQUEST, "/problems/broken-body", "The body did not arrive whole")
            }
            Self::InvalidParameter(_) => {
                (S::BAD_REQUEST, "/problems/invalid-parameter", "A query parameter is not valid")
            }
            Self::Unauthorized => {
                (S::UNAUTHORIZED, "/problems/unauthorized", "A valid token is needed")
            }
            Self::OtherSite => {
                (S::FORBIDDEN, "/problems/other-site", "The form came from another site")
            }
            Self::NotFound => (S::NOT_FOUND, "/problems/not-found", "There is no such route"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "/problems/method-not-allowed",
                "The route does not know the method",
            ),
            Self::TooSlow => {
                (S::REQUEST_TIMEOUT, "/problems/too-slow", "The request took too long")
            }
            Self::TooLarge(_) => {
                (S::PAYLOAD_TOO_LARGE, "/problems/too-large", "The body is too large")
            }
            Self::NotJson => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "/problems/not-json",
                "The body must be application/json",
            ),
            Self::Encoded => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "/problems/encoded-body",
                "The body must not be compressed",
            ),
            Self::InvalidReport(_) => (
                S::UNPROCESSABLE_ENTITY,
                "/problems/invalid-report",
                "A field of the report breaks a rule",
            ),
            Self::Limited(_) => (S::TOO_MANY_REQUESTS, "/problems/limited", "Too many reports"),
            Self::Refused(Refused::QueueFull) => {
                (S::SERVICE_UNAVAILABLE, "/problems/overloaded", "The server is overloaded")
            }
            Self::Refused(Refused::NotStored) => {
                (S::SERVICE_UNAVAILABLE, "/problems/not-stored", "The report was not stored")
            }
            Self::NotReady(_) | Self::NoRoom => {
                (S::SERVICE_UNAVAILABLE, "/problems/not-ready", "The server is not ready")
            }
            Self::NeedsAttention(_) => (
                S::SERVICE_UNAVAILABLE,
                "/problems/needs-attention",
                "The operator should look at the server",
            ),
            Self::Storage(_) | Self::Internal(_) => {
                (S::INTERNAL_SERVER_ERROR, "/problems/internal", "The server could not answer")
            }
        }
    }

    /// This occurrence, in words that are safe to send.
    fn detail(&self) -> String {
        match self {
            Self::MalformedJson(text) | Self::InvalidParameter(text) => text.clone(),
            Self::NotJson => "Send the report as JSON, with Content-Type: application/json.".into(),
            Self::Encoded => "Send the report without Content-Encoding.".into(),
            Self::TooLarge(most) => {
                format!("A body has at most {most} bytes, in at most {MAX_PIECES} pieces.")
            }
            Self::BrokenBody => "The connection ended or the length was wrong.".into(),
            Self::InvalidReport(errors) => match errors.as_slice() {
                [one] if one.pointer.is_empty() => format!("The report {}.", one.detail),
                [one] => format!("{} {}.", one.pointer, one.detail),
                several => format!("{} fields break a rule.", several.len()),
            },
            Self::Unauthorized => "Send the token as Authorization: Bearer <token>.".into(),
            Self::OtherSite => {
                "Sign in and out on this server's own pages; a proxy must pass Host on.".into()
            }
            Self::NotFound => "See /openapi.json for the routes.".into(),
            Self::MethodNotAllowed => "See the Allow header for the methods.".into(),
            Self::TooSlow => "The request did not end within its time limit.".into(),
            Self::Limited(Limited::Client { .. }) => {
                "This address has sent too many reports.".into()
            }
            Self::Limited(Limited::Instance { .. }) => {
                "This instance has sent too many reports.".into()
            }
            Self::Limited(Limited::Hidden { .. }) => {
                "The clients behind this proxy have sent too many reports.".into()
            }
            Self::Refused(_) => "The report was not stored; send it again later.".into(),
            Self::NotReady(text) => (*text).into(),
            Self::NeedsAttention(reasons) => {
                let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
                format!("Reasons: {}.", names.join(", "))
            }
            Self::NoRoom => "Other clients read too many long answers; ask again later.".into(),
            Self::Storage(_) | Self::Internal(_) => {
                "The cause is in the server's log, under the id of X-Request-Id.".into()
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited(
                Limited::Client { retry_after }
                | Limited::Instance { retry_after }
                | Limited::Hidden { retry_after },
            ) => Some(*retry_after),
            Self::Refused(_) | Self::NotReady(_) | Self::NoRoom => Some(RETRY),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind();
        let (detail, retry_after) = (self.detail(), self.retry_after());
        let unauthorized = matches!(self, Self::Unauthorized);
        let encoded = matches!(self, Self::Encoded);
        let extensions = Extensions::of(&self);
        let cause = match self {
            Self::Storage(error) => Some(error.to_string()),
            Self::Internal(cause) => Some(cause),
            _ => None,
        };
        let problem = ProblemDetails::new()
            .with_type(Uri::from_static(kind))
            .with_status(status)
            .with_title(title)
            .with_detail(detail)
            .with_extensions(extensions);

        let content_type = JsonProblemDetails::<()>::CONTENT_TYPE;
        let mut response =
            (status, [(header::CONTENT_TYPE, content_type)], Json(problem)).into_response();
        let kind = kind.strip_prefix("/problems/").unwrap_or(kind);
        response.extensions_mut().insert(Problem { kind, cause });
        let headers = response.headers_mut();
        if let Some(retry_after) = retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(retry_after).into());
        }
        if encoded {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A time in whole seconds, rounded up: a client that comes back then is let in.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

impl From<storage::Error> for ApiError {
    fn from(error: storage::Error) -> Self {
        if error.is_passing() {
            tracing::warn!(%error, "the database is busy");
            return Self::NotReady("The database is busy; ask again later.");
        }
        Self::Storage(error)
    }
}

impl From<Limited> for ApiError {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

pub async fn not_found() -> ApiError {
    ApiError::NotFound
}

pub async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}
