//! A body that holds a value for as long as it is there.

use axum::{BoxError, body::Body};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Bytes};

/// A body that holds a value until it is dropped.
pub fn holding<B>(body: B, value: impl Send + 'static) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // Unlike other ways to tie a value to a body, this one keeps its length.
    Body::new(body.map_err(move |error| {
        let _ = &value;
        error
    }))
}
