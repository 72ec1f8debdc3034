//! Writes of a server, as a long job beside it in the same process sees them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Numbers of the writes that a server began and ended.
#[derive(Debug, Default)]
pub struct Traffic {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A write that is waiting for SQLite's lock, or has it.
#[derive(Debug)]
pub struct Writing(Arc<Traffic>);

impl Traffic {
    pub fn begin(self: &Arc<Self>) -> Writing {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Writing(Arc::clone(self))
    }

    /// Number of the writes so far.
    pub fn writes(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// True if a write waits, or is under way.
    pub fn waits(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != self.writes()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
