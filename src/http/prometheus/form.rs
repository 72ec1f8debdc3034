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
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within the calendar")]
        let moment = match text.parse::<f64>() {
            Ok(seconds) if seconds.abs() <= MAX_SECONDS => Some((seconds * 1000.0).round() as i64),
            Ok(_) => None,
            Err(_) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
        };
        moment.map(Some).ok_or_else(|| {
            bad_data(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
    }

    /// How many series or names are wanted at most.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.get("limit").map(str::parse) {
            None | Some(Ok(0)) => Ok(usize::MAX),
            Some(Ok(limit)) => Ok(limit),
            Some(Err(_)) => Err(bad_data("invalid parameter \"limit\": it must be a number")),
        }
    }
}

/// Seconds from 1970 to the end of the year 9999.
const MAX_SECONDS: f64 = 253_402_300_799.0;

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
