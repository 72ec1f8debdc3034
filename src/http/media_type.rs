//! Media types of requests: the one in `Content-Type`, and those in `Accept`; and `Content-Encoding`.

use axum::http::{HeaderMap, header};
use headers_accept::Accept;
use mediatype::{MediaType, MediaTypeBuf, Name, ReadParams as _, names};

const FORM: MediaType =
    MediaType::new(names::APPLICATION, Name::new_unchecked("x-www-form-urlencoded"));

/// Returns whether `Content-Type` is `application/json` or another JSON type.
pub fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|given| {
        given.ty == names::APPLICATION
            && (given.subty == names::JSON || given.suffix == Some(names::JSON))
    })
}

/// Returns whether `Content-Type` is that of a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|given| given == FORM)
}

/// Returns whether the body is compressed, or encoded in another way.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// `Content-Type` without its parameters: no route needs them, and clients get them wrong.
fn content_type(headers: &HeaderMap) -> Option<MediaType<'_>> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    MediaType::parse(given.split(';').next()?.trim()).ok()
}

/// The answer that `Accept` asks for most, of those that `offer` has for a media range.
pub fn preferred<T>(headers: &HeaderMap, offer: impl Fn(&MediaTypeBuf) -> Option<T>) -> Option<T> {
    let accept: Accept = headers.get(header::ACCEPT)?.try_into().ok()?;
    accept
        .media_types()
        .filter_map(|range| Some((offer(range)?, quality(range))))
        .filter(|(_, quality)| *quality > 0.0)
        // Of several that are wanted as much the first one is taken.
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .map(|(offered, _)| offered)
}

fn quality(range: &MediaTypeBuf) -> f32 {
    let given = range.get_param(names::Q).and_then(|q| q.as_str().parse().ok());
    given.unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_content_type(value: &str) -> HeaderMap {
        [(header::CONTENT_TYPE, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn json_by_any_of_its_names() {
        for name in [
            "application/json",
            "APPLICATION/Json ; charset=utf-8",
            "application/json;",
            "application/a+json",
        ] {
            assert!(is_json(&with_content_type(name)), "{name}");
        }
        for name in ["text/json", "json", "+json", "text/plain", "application/jsonp"] {
            assert!(!is_json(&with_content_type(name)), "{name}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn each_coding_of_each_line_counts() {
        let headers = |values: &[&'static str]| -> HeaderMap {
            let values = values.iter().map(|value| value.parse().unwrap());
            let mut headers = HeaderMap::new();
            values.for_each(|value| {
                headers.append(header::CONTENT_ENCODING, value);
            });
            headers
        };
        for plain in [&[][..], &[""], &["identity"], &["Identity , IDENTITY", ""]] {
            assert!(!is_encoded(&headers(plain)), "{plain:?}");
        }
        for encoded in [&["gzip"][..], &["identity", "br"], &["identity,gzip"], &["identity;q=1"]] {
            assert!(is_encoded(&headers(encoded)), "{encoded:?}");
        }
    }

    #[test]
    fn forms_with_and_without_parameters() {
        for name in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=utf-8",
        ] {
            assert!(is_form(&with_content_type(name)), "{name}");
        }
        for name in ["multipart/form-data", "application/json", "x-www-form-urlencoded"] {
            assert!(!is_form(&with_content_type(name)), "{name}");
        }
    }
}
