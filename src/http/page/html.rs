//! Answers of HTML: rendered and compressed once, with an `ETag` and the headers that keep a browser to this
//! server.

use std::io::{Read as _, Write as _};

use askama::Template;
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::http::{error::ApiError, media_type::accepts_gzip};

/// Headers of each page. Nothing is loaded from another host, nor from the page's own text
/// (<https://www.w3.org/TR/CSP3/>).
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-embedder-policy"),
        HeaderValue::from_static("require-corp"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
];

/// Bytes in the form in which they are sent: compressed with gzip (RFC 1952).
#[derive(Debug, Clone)]
pub struct Compressed(Bytes);

impl Compressed {
    /// Compresses bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Memory is written to, which does not fail.
        let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
        Self(written.unwrap_or_default().into())
    }

    /// The answer for a request with these headers: compressed where it accepts that.
    pub fn answer(&self, request: &HeaderMap) -> Result<Response, ApiError> {
        let varies = (header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if accepts_gzip(request) {
            let encoding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return Ok(([varies, encoding], self.0.clone()).into_response());
        }
        let mut plain = Vec::new();
        let read = GzDecoder::new(&*self.0).read_to_end(&mut plain);
        read.map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(([varies], plain).into_response())
    }
}

/// First half of a SHA-256 hash, in hexadecimal digits.
pub fn short_hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let half = hash.first_chunk::<16>().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

/// A page that is rendered.
#[derive(Debug, Clone)]
pub struct Html {
    body: Compressed,
    tag: HeaderValue,
}

impl Html {
    /// Renders a template.
    ///
    /// # Errors
    /// An error of the template.
    pub fn new(template: &impl Template) -> Result<Self, ApiError> {
        let text = template.render().map_err(|error| ApiError::Internal(error.to_string()))?;
        let hash = short_hash(text.as_bytes());
        // Weak: it is the same for each encoding.
        let tag = HeaderValue::try_from(format!("W/\"{hash}\""));
        let tag = tag.map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Self { body: Compressed::new(text.as_bytes()), tag })
    }

    /// The answer for a request with these headers: 304 where the client has the page already
    /// (RFC 9110, section 13.1.2).
    ///
    /// # Errors
    /// If the page cannot be decompressed.
    pub fn answer(&self, request: &HeaderMap) -> Result<Response, ApiError> {
        let known = request.get_all(header::IF_NONE_MATCH).iter();
        let known = known.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
        let tag = self.tag.to_str().unwrap_or_default().trim_start_matches("W/");
        let mut response =
            if known.into_iter().any(|known| known.trim().trim_start_matches("W/") == tag) {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                self.body.answer(request)?
            };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, value);
        }
        headers.insert(header::ETAG, self.tag.clone());
        Ok(response)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.0.len()
    }
}
