//! The time of day, as an argument of all code that depends on it. A time before [`RELEASED`] is wrong.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::domain::Reading;

/// A time before this version was released. A clock that shows an earlier one is wrong. Raised by
/// hand with a release, so that builds stay reproducible.
pub const RELEASED: Timestamp = Timestamp::constant(1_767_225_600, 0); // 2026-01-01

/// Stands for a clock that is not known to be wrong.
const RIGHT: i64 = i64::MAX;

/// A source of the time of day. All code that depends on the time takes one, so that a test can
/// set it.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    running_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    released: Timestamp,
    /// While the clock is known to be wrong: the present at the start of `running_ms`, as guessed by
    /// the writer.
    guessed_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        // The time of running, sleep included.
        let running = || {
            let time = clock_gettime(ClockId::Boottime);
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        let begun = running();
        Self::new(Timestamp::now, move || running() - begun, RELEASED)
    }

    /// A clock that shows the result of `time`, agrees with the monotonic one, and is never wrong.
    pub fn from_fn(time: impl Fn() -> Timestamp + Clone + Send + Sync + 'static) -> Self {
        let running = time.clone();
        Self::new(time, move || running().as_millisecond(), Timestamp::MIN)
    }

    /// A clock that shows the result of `wall`, beside a monotonic one of milliseconds. The first is
    /// wrong while it shows a time before `released`.
    pub fn new(
        wall: impl Fn() -> Timestamp + Send + Sync + 'static,
        running_ms: impl Fn() -> i64 + Send + Sync + 'static,
        released: Timestamp,
    ) -> Self {
        Self {
            wall: Arc::new(wall),
            running_ms: Arc::new(running_ms),
            released,
            guessed_ms: Arc::new(AtomicI64::new(RIGHT)),
        }
    }

    /// The time of day. Where the clock is known to be wrong, the time of day at best guess.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.guessed_ms.load(Ordering::Relaxed) {
            RIGHT => (self.wall)(),
            guessed => {
                let guess = guessed.saturating_add((self.running_ms)());
                Timestamp::from_millisecond(guess).unwrap_or(self.released)
            }
        }
    }

    /// Both clocks, at one moment. Where the thread had to wait between the two, they are read again: else the
    /// wait would be a step of the clock, and reports would get other times for it.
    #[must_use]
    pub fn reading(&self) -> Reading {
        /// Longest time between two looks that counts as one moment.
        const MOMENT_MS: i64 = 10;
        /// Looks after which a wait is accepted.
        const LOOKS: u32 = 20;
        let mut before = (self.running_ms)();
        let mut looks = 1;
        loop {
            let wall = (self.wall)().as_millisecond();
            let running = (self.running_ms)();
            if running - before <= MOMENT_MS || looks == LOOKS {
                return Reading { wall, running };
            }
            (before, looks) = (running, looks + 1);
        }
    }

    /// A time before this version was released.
    #[must_use]
    pub const fn released(&self) -> Timestamp {
        self.released
    }

    /// The time of day, for a command that is of no use without the right one.
    ///
    /// # Errors
    /// If the clock shows a time before the release.
    pub fn right(&self) -> anyhow::Result<Timestamp> {
        let now = (self.wall)();
        anyhow::ensure!(
            now >= self.released,
            "the clock shows {now:.0}, which is wrong: set it first"
        );
        Ok(now)
    }

    /// Lets [`Clock::now`] return a guess, in milliseconds since 1970, until the next call.
    pub fn guess(&self, present_ms: Option<i64>) {
        let guessed = present_ms.map_or(RIGHT, |present| present - (self.running_ms)());
        self.guessed_ms.store(guessed, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_between_the_clocks_is_no_step() {
        // Time passes while the clocks are read: a second at each of the first looks.
        for waits in [0, 1, 5] {
            let running = Arc::new(AtomicI64::new(0));
            let left = AtomicI64::new(waits);
            let (shown, passing) = (Arc::clone(&running), running);
            let wall = move || {
                let now = shown.load(Ordering::Relaxed);
                if left.fetch_sub(1, Ordering::Relaxed) > 0 {
                    shown.fetch_add(1000, Ordering::Relaxed);
                }
                Timestamp::from_millisecond(1_000_000 + now).unwrap()
            };
            let clock = Clock::new(wall, move || passing.load(Ordering::Relaxed), Timestamp::MIN);
            let Reading { wall, running } = clock.reading();
            assert_eq!((wall, running), (1_000_000 + 1000 * waits, 1000 * waits));
        }
    }

    #[test]
    fn a_machine_that_always_waits_has_a_reading() {
        let running = AtomicI64::new(0);
        let running = move || running.fetch_add(1000, Ordering::Relaxed);
        let clock = Clock::new(|| Timestamp::UNIX_EPOCH, running, Timestamp::MIN);
        assert_eq!(clock.reading().wall, 0);
    }
}
