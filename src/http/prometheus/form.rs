//! Parameters of the Prometheus API: out of the query string, and of a form.

use std::num::ParseIntError;

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, Request},
    http::Method,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{ApiError, bad_data};
use crate::http::{AppState, MAX_BODY, extract::read_body, media_type::is_form};

/// Largest form, in bytes: as much as an expression may have.
const MAX_FORM: usize = 128 * 1024;
/// Parameters of one request. A pair of strings takes more memory than it has bytes in the form.
const MAX_PARAMETERS: usize = 1000;

/// The parameters of a request: those of a form in its body, and those of the query string. A body of
/// another type is not read, as in Prometheus.
#[derive(Debug)]
pub struct Form {
    parameters: Vec<(String, String)>,
    /// Room of a large form.
    _taken: Option<[OwnedSemaphorePermit; 2]>,
}

impl FromRequest<AppState> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let (mut encoded, mut taken) = (Vec::new(), None);
        if parts.method == Method::POST && is_form(&parts.headers) {
            if body.size_hint().upper().is_none_or(|upper| upper > MAX_BODY as u64) {
                taken =
                    Some(state.room.take_for_form(MAX_FORM).map_err(IntoResponse::into_response)?);
            }
            let body = read_body(body, MAX_FORM).await.map_err(IntoResponse::into_response)?;
            encoded = body.into();
        }
        let query = parts.uri.query().unwrap_or_default();
        let form = Self::parse(&encoded, query).map_err(IntoResponse::into_response)?;
        Ok(Self { _taken: taken, ..form })
    }
}

/// The pairs of `application/x-www-form-urlencoded`.
fn pairs(encoded: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(encoded).into_owned()
}

pub fn missing(name: &str) -> ApiError {
    bad_data(format!("invalid parameter {name:?}: it is missing"))
}

impl Form {
    /// Parses a form and a query string. The form's parameters come first.
    ///
    /// # Errors
    /// If there are too many parameters.
    pub fn parse(encoded: &[u8], query: &str) -> Result<Self, ApiError> {
        let parameters: Vec<_> =
            pairs(encoded).chain(pairs(query.as_bytes())).take(MAX_PARAMETERS + 1).collect();
        if parameters.len() > MAX_PARAMETERS {
            return Err(bad_data(format!(
                "a request may have at most {MAX_PARAMETERS} parameters"
            )));
        }
        Ok(Self { parameters, _taken: None })
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// If it is missing or empty.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    /// A moment, in milliseconds since 1970: RFC 3339, or seconds.
    ///
    /// # Errors
    /// If it is neither, or beyond the year 9999.
    pub fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        const MAX: i64 = MAX_SECONDS * 1000;
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within the calendar")]
        let moment = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Some((seconds * 1000.0).round() as i64),
            Ok(_) => None,
            Err(_) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
        };
        let moment = moment.filter(|moment| (-MAX..=MAX).contains(moment));
        moment.map(Some).ok_or_else(|| {
            bad_data(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
    }

    /// Most series or names in the answer; `None` where any number is wanted. The rules are those of
    /// Prometheus: an empty limit and 0 are none.
    ///
    /// # Errors
    /// If it is no whole number from 0.
    pub fn limit(&self) -> Result<Option<usize>, ApiError> {
        let refused = |text| Err(bad_data(format!("invalid parameter \"limit\": {text}")));
        match self.number("limit") {
            None | Some(Ok(0)) => Ok(None),
            Some(Ok(..0)) => refused("limit must be non-negative"),
            Some(Ok(limit)) => Ok(usize::try_from(limit).ok()),
            Some(Err(_)) => refused("it must be a whole number"),
        }
    }

    /// Most metrics in the answer about metadata, where a negative limit is none and 0 is one.
    ///
    /// # Errors
    /// If it is no whole number.
    pub fn metadata_limit(&self) -> Result<Option<usize>, ApiError> {
        match self.number("limit") {
            None => Ok(None),
            Some(Ok(limit)) => Ok(usize::try_from(limit).ok()),
            Some(Err(_)) => Err(bad_data("limit must be a number")),
        }
    }

    fn number(&self, name: &str) -> Option<Result<i64, ParseIntError>> {
        self.get(name).filter(|text| !text.is_empty()).map(str::parse)
    }
}

/// Seconds from 1970 to the end of the year 9999.
pub const MAX_SECONDS: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoded: &str) -> Form {
        Form::parse(encoded.as_bytes(), "").unwrap()
    }

    #[test]
    fn what_grafana_and_curl_send() {
        let form =
            form("query=sum%28x%7Ba%3D%22b%20c%22%7D%29+%2B+1&match[]=a&match%5B%5D=b&time=");
        assert_eq!(form.get("query"), Some("sum(x{a=\"b c\"}) + 1"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.time("time").unwrap(), None);
        assert!(form.required("time").is_err());
    }

    #[test]
    fn limits_are_those_of_prometheus() {
        let limits = |text: &str| {
            let form = form(&format!("limit={text}"));
            (form.limit().ok(), form.metadata_limit().ok())
        };
        assert_eq!(limits("7"), (Some(Some(7)), Some(Some(7))));
        assert_eq!(limits("007"), (Some(Some(7)), Some(Some(7))));
        assert_eq!(limits("0"), (Some(None), Some(Some(0))));
        assert_eq!(limits(""), (Some(None), Some(None)));
        assert_eq!(limits("-1"), (None, Some(None)));
        for broken in ["99999999999999999999", "1.5", "1e3", "many", "%207"] {
            assert_eq!(limits(broken), (None, None), "{broken}");
        }
        assert_eq!(form("query=1").limit().ok(), Some(None));
    }

    #[test]
    fn moments_in_both_forms() {
        let time = |text: &str| form(&format!("time={text}")).time("time").ok().flatten();
        assert_eq!(time("1435781451.781"), Some(1_435_781_451_781));
        assert_eq!(time("2015-07-01T20:10:51.781Z"), Some(1_435_781_451_781));
        assert_eq!(time("-1"), Some(-1000));
        for broken in ["NaN", "inf", "1e300", "yesterday"] {
            assert_eq!(time(broken), None, "{broken}");
        }
    }
}
