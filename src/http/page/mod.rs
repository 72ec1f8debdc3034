//! Pages for people. `html` makes an answer of a template, `assets` has what a page loads, and `format` writes
//! numbers and times; the public view uses them, too. The other files are the page of `GET /`: `dashboard` fills
//! it with the `numbers` of its `view`, their `chart`s and the server's `health`, and `cache` keeps it.

pub mod assets;
mod cache;
mod chart;
mod dashboard;
pub mod format;
mod health;
mod html;
mod numbers;
mod view;

use axum::routing::get;

pub use cache::Pages;
pub use html::Html;

use super::Routes;

/// Routes that are open to everyone.
pub fn open_routes() -> Routes {
    vec![(assets::PATH, get(assets::asset))]
}

/// Routes that `READ_TOKEN` closes.
pub fn reading_routes() -> Routes {
    vec![("/", get(dashboard::dashboard))]
}
