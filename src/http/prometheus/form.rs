//! Parameters of the Prometheus API: out of the query string, and of a form.

use axum::{
    extract::{FromRequest, Request},
    http::Method,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::{ApiError, bad_data};
use crate::http::{extract::read_body, media_type::is_form};

/// The parameters of a request: those of the query string and, of a POST, those of the form in its
/// body.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let mut parameters = Vec::new();
        if parts.method == Method::POST {
            if !is_form(&parts.headers) {
                return Err(bad_data("the body must be a form").into_response());
            }
            let body = read_body(body).await.map_err(IntoResponse::into_response)?;
            parameters.extend(pairs(&body));
        }
        parameters.extend(pairs(parts.uri.query().unwrap_or_default().as_bytes()));
        Ok(Self(parameters))
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
    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    /// A moment, in milliseconds since 1970: RFC 3339, or seconds.
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

    /// Most series or names in the answer. 0 is no limit, and so is more than can be counted.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(usize::MAX) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad_data("invalid parameter \"limit\": it must be a number"));
        }
        Ok(text.parse().ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX))
    }
}

/// Seconds from 1970 to the end of the year 9999.
pub const MAX_SECONDS: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grafana_and_curl_send() {
        let form = Form(
            pairs(b"query=sum%28x%7Ba%3D%22b%20c%22%7D%29+%2B+1&match[]=a&match%5B%5D=b&time=")
                .collect(),
        );
        assert_eq!(form.get("query"), Some("sum(x{a=\"b c\"}) + 1"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.time("time").unwrap(), None);
        assert!(form.required("time").is_err());
    }

    #[test]
    fn a_limit_is_any_whole_number() {
        let limit = |text: &str| Form(vec![("limit".into(), text.into())]).limit().ok();
        assert_eq!(limit("7"), Some(7));
        assert_eq!(limit("0"), Some(usize::MAX));
        assert_eq!(limit("99999999999999999999"), Some(usize::MAX));
        for broken in ["", "-1", "1.5", "many"] {
            assert_eq!(limit(broken), None, "{broken}");
        }
    }

    #[test]
    fn moments_in_both_forms() {
        let time =
            |text: &str| Form(vec![("time".into(), text.into())]).time("time").ok().flatten();
        assert_eq!(time("1435781451.781"), Some(1_435_781_451_781));
        assert_eq!(time("2015-07-01T20:10:51.781Z"), Some(1_435_781_451_781));
        assert_eq!(time("-1"), Some(-1000));
        for broken in ["NaN", "inf", "1e300", "yesterday"] {
            assert_eq!(time(broken), None, "{broken}");
        }
    }
}
