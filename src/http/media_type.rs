//! Media types of requests: the one in `Content-Type`, and those in `Accept`. Also encodings: the
//! one in `Content-Encoding`, and whether `Accept-Encoding` has gzip.

use axum::http::{HeaderMap, header};
use mediatype::{MediaType, MediaTypeBuf, Name, ReadParams as _, Value, names};

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

/// Returns whether the client takes an answer that is compressed with gzip (RFC 9110, section 12.5.3).
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let wanted = |coding: &str, name: &str| {
        let mut parts = coding.split(';').map(str::trim);
        let quality = |part: &str| part.strip_prefix("q=")?.parse::<f32>().ok();
        parts
            .next()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
            .then(|| parts.find_map(quality).is_none_or(|quality| quality > 0.0))
    };
    let codings: Vec<&str> = codings.collect();
    let of = |name: &str| codings.iter().find_map(|coding| wanted(coding, name));
    of("gzip").or_else(|| of("*")).unwrap_or(false)
}

/// `Content-Type` without its parameters: no route needs them, and clients get them wrong.
fn content_type(headers: &HeaderMap) -> Option<MediaType<'_>> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    MediaType::parse(given.split(';').next()?.trim()).ok()
}

/// The answer whose media type `Accept` asks for most (RFC 9110, section 12.5.1); of several that
/// it wants as much, the first. `None` where it asks for none of them.
///
/// A range that names an offer without its parameters, or with others, asks for it: a client that
/// knows another version of a format can read ours.
pub fn preferred<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Option<T> {
    let ranges = accepted(headers);
    let mut best = None;
    for (offer, answer) in offers {
        let Ok(offer) = MediaType::parse(offer) else { continue };
        // The range that is most specific counts, even if another one wants the offer more.
        let wanted = ranges
            .iter()
            .filter_map(|range| Some((specificity(range, &offer)?, quality(range))))
            .max_by(|(a, p), (b, q)| a.cmp(b).then(p.total_cmp(q)));
        if let Some((_, quality)) = wanted
            && quality > best.map_or(0.0, |(_, best)| best)
        {
            best = Some((*answer, quality));
        }
    }
    best.map(|(answer, _)| answer)
}

/// The media ranges of all `Accept` lines. One that is malformed is left out.
fn accepted(headers: &HeaderMap) -> Vec<MediaTypeBuf> {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(elements).filter_map(|range| range.trim().parse().ok()).collect()
}

/// The elements of a list with commas between them, which may also stand in a quoted text.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut previous) = (false, ' ');
    list.split(move |character| {
        let escaped = quoted && previous == '\\';
        quoted ^= character == '"' && !escaped;
        // An escaped backslash escapes nothing.
        previous = if escaped { ' ' } else { character };
        character == ',' && !quoted
    })
}

/// Specificity of a media range about an offer; `None` where it is about something else.
fn specificity(range: &MediaTypeBuf, offer: &MediaType<'_>) -> Option<(u8, bool)> {
    let same = |(name, value): (Name<'_>, Value<'_>)| {
        name == names::Q || offer.get_param(name).is_some_and(|own| own == value)
    };
    let (ty, subty) = (range.ty(), range.subty());
    if (ty, subty) == (names::_STAR, names::_STAR) {
        Some((0, false))
    } else if (ty, subty) == (offer.ty, names::_STAR) {
        Some((1, false))
    } else if (ty, subty) == (offer.ty, offer.subty) {
        let parameters = range.params().filter(|(name, _)| *name != names::Q).count();
        Some((2, parameters > 0 && range.params().all(same)))
    } else {
        None
    }
}

/// The weight of a media range: from 0, which is not acceptable, to 1.
fn quality(range: &MediaTypeBuf) -> f32 {
    let Some(given) = range.get_param(names::Q) else { return 1.0 };
    given.as_str().parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        let headers = |value: &str| -> HeaderMap {
            [(header::ACCEPT_ENCODING, value.parse().unwrap())].into_iter().collect()
        };
        for taken in ["gzip", "GZIP", "br, gzip;q=0.5", "gzip ; q=0.001", "*", "br;q=1, *;q=0.1"] {
            assert!(accepts_gzip(&headers(taken)), "{taken}");
        }
        for refused in ["", "br", "gzip;q=0", "*, gzip;q=0.0", "*;q=0", "xgzip", "identity"] {
            assert!(!accepts_gzip(&headers(refused)), "{refused}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

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
