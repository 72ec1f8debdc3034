//! Stretches of the clock of the machine, and what follows from them.

/// Received time of a report that has no date yet: it is so much later than the milliseconds since
/// the start of the run, and always negative.
pub(super) const UNDATED: i64 = -1_000_000_000_000_000;

/// Milliseconds since 1970 that stand for a time of running, at which the date was not known.
#[must_use]
pub const fn undated(running_ms: i64) -> i64 {
    UNDATED + running_ms
}

/// A time of running in which the clock agreed with the monotonic one. See the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its number; those of later stretches are larger.
    pub id: i64,
    /// Number of the server's start: times of one run lie a known time apart.
    pub run: i64,
    /// False where the clock was known to be wrong.
    pub dated: bool,
    /// Its reports have larger numbers than this one.
    pub after_report: i64,
    /// First moment, in milliseconds since 1970; where it is not dated, since the start of the run.
    pub began_at: i64,
    /// Last moment on record, likewise.
    pub ended_at: i64,
    /// Time of running, in milliseconds.
    pub ran_ms: i64,
    /// Time of running for which the clock agreed, stretches before included.
    pub steady_ms: i64,
    /// Time for which it must have agreed before it is trusted.
    pub needed_ms: i64,
    /// Time by which the present run has put it back, in case that was wrong.
    pub moved_ms: i64,
}

impl Stretch {
    /// Time for which a clock must agree that gives no other reason for doubt.
    pub const CONFIRMED_MS: i64 = 24 * 3600 * 1000;

    /// A stretch that begins at a moment.
    pub(super) const fn begin(
        id: i64,
        run: i64,
        dated: bool,
        moment: i64,
        after_report: i64,
    ) -> Self {
        Self {
            id,
            run,
            dated,
            after_report,
            began_at: moment,
            ended_at: moment,
            ran_ms: 0,
            steady_ms: 0,
            needed_ms: Self::CONFIRMED_MS,
            moved_ms: 0,
        }
    }

    /// State of its clock.
    #[must_use]
    pub const fn state(&self) -> ClockState {
        if !self.dated {
            ClockState::Wrong
        } else if self.steady_ms >= self.needed_ms {
            ClockState::Confirmed
        } else if self.needed_ms > Self::CONFIRMED_MS {
            ClockState::Far
        } else {
            ClockState::Unconfirmed
        }
    }
}

/// Trust in the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// It has agreed with the monotonic one for long enough.
    Confirmed,
    /// It has not agreed for long enough yet: nothing is deleted.
    Unconfirmed,
    /// It stands so far after the last moment on record that it may be wrong: nothing is deleted.
    Far,
    /// It is known to be wrong: reports are counted, and dated later.
    Wrong,
}

impl ClockState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Confirmed, Self::Unconfirmed, Self::Far, Self::Wrong];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Unconfirmed => "unconfirmed",
            Self::Far => "far",
            Self::Wrong => "wrong",
        }
    }

    /// Notice for the operator, where there is something to do.
    #[must_use]
    pub const fn notice(self) -> Option<&'static str> {
        match self {
            Self::Confirmed | Self::Unconfirmed => None,
            Self::Far => Some(
                "The clock stands more than 30 days after the last moment on record. Nothing is deleted \
                 for its age before it has been steady for 30 days, or `clock confirm` is run.",
            ),
            Self::Wrong => Some(
                "The clock is wrong: it is behind. Reports are counted now and dated once it is right.",
            ),
        }
    }
}

/// Both clocks at one moment, in milliseconds: since 1970, and since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The clock.
    pub wall: i64,
    /// The monotonic one.
    pub running: i64,
}
