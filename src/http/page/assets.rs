//! The stylesheet and the script of the pages. The path of each has a part of its hash, so that a browser
//! keeps it for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use super::html::{Compressed, short_hash};
use crate::http::error::ApiError;

/// Path of the assets, as the router spells it.
pub const PATH: &str = "/assets/{name}";

/// The stylesheet.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "css",
        "text/css; charset=utf-8",
        include_bytes!("../../../templates/assets/page.css"),
    )
});
/// The script.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let script = include_bytes!("../../../templates/assets/page.js");
    Asset::new("js", "text/javascript; charset=utf-8", script)
});
/// The icon of the pages' tab.
pub static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("svg", "image/svg+xml", include_bytes!("../../../templates/assets/icon.svg"))
});

/// A file that the pages need.
#[derive(Debug)]
pub struct Asset {
    /// Its path on the server.
    pub path: String,
    media_type: &'static str,
    bytes: Compressed,
}

impl Asset {
    fn new(extension: &str, media_type: &'static str, bytes: &[u8]) -> Self {
        let path = format!("/assets/{}.{extension}", short_hash(bytes));
        Self { path, media_type, bytes: Compressed::new(bytes) }
    }
}

/// Answers an asset. An older one is gone with the server that had it.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let mut assets = [&STYLE, &SCRIPT, &ICON].into_iter();
    let asset = assets.find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    let asset = asset.ok_or(ApiError::NotFound)?;
    let mut response = asset.bytes.answer(&headers)?.into_response();
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    let media_type = HeaderValue::from_static(asset.media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}
