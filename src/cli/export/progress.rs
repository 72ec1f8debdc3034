//! Progress of an export.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// Progress on standard error, where that is a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub fn begin() -> Self {
        Self { shown: None, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows a line in the place of the one before, at most twice a second.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        const PAUSE: Duration = Duration::from_millis(500);
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() > PAUSE) {
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line());
            self.shown = Some(Instant::now());
        }
    }

    /// Removes the line.
    pub fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
