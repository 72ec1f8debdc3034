//! Pages that were made already. Each is kept until there is a new report, a new hour, or a minute has passed:
//! corrections and other commands change numbers, too.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::time::Instant;

use super::{Html, view::View};
use crate::{domain::Hour, http::AppState};

/// Pages that are kept.
const PAGES: NonZeroUsize = NonZeroUsize::new(32).unwrap();
/// Largest page that is kept, compressed.
const BYTES: usize = 64 * 1024;
/// Longest time for which a page is kept.
const KEPT: Duration = Duration::from_mins(1);

/// State that a page depends on, besides its view. It is taken before the numbers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    reports: u64,
    hour: Hour,
}

impl Basis {
    /// The present state.
    pub fn of(state: &AppState) -> Self {
        Self { reports: state.metrics.stored(), hour: Hour::of(state.clock.now()) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Pages(Mutex<LruCache<View, (Basis, Instant, Html)>>);

impl Default for Pages {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(PAGES)))
    }
}

impl Pages {
    /// The page of a view, if it is still as it would be made now.
    pub fn find(&self, view: &View, basis: Basis) -> Option<Html> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, made, page) = pages.get(view)?;
        (*of == basis && made.elapsed() < KEPT).then(|| page.clone())
    }

    /// Keeps the page of a view.
    pub fn keep(&self, view: View, basis: Basis, page: Html) {
        if page.bytes() <= BYTES {
            let made = (basis, Instant::now(), page);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(view, made);
        }
    }
}
