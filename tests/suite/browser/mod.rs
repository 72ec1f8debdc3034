//! The pages in a real browser. These tests need `chromium`, `chromedriver`, and axe-core, whose file `AXE`
//! names; `.ci/browser` runs them.

mod dashboard;
mod driver;
mod public;
mod sign_in;

/// Widths of screens: the narrowest phone, a tablet, and a wide monitor.
const WIDTHS: [u32; 3] = [320, 1024, 2560];
