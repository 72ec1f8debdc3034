//! Pages for people. `html` makes an answer of a template, `assets` has what a page loads, and `format` writes
//! numbers and times; the public view uses them, too. The other files are the page of `GET /`: `dashboard` fills
//! it with the `numbers` of its `view`, as `figures` that `chart` draws and as other `parts`, and with the server's
//! `health`; `cache` keeps it.

pub mod assets;
mod cache;
mod chart;
mod dashboard;
mod figures;
pub mod format;
mod health;
mod html;
mod numbers;
mod parts;
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
