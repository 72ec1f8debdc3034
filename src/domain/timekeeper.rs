//! The judge of the clock of the machine, which may be wrong: it knows the stretches in which the clock
//! agreed with the monotonic one. Pure: times of both clocks come in, decisions go out.
//!
//! A machine without a battery clock starts in 1970, or at the time at which it was switched off, and
//! steps when it finds a time server. A fault may put a clock years ahead, and back again.

mod dating;

use jiff::Timestamp;

use super::{
    correction::{Correction, Corrections, SECOND, whole_seconds},
    stretch::{Reading, Stretch, undated},
};

const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Difference between the two clocks from which on the clock has stepped. Time servers slew it by
/// less, and the monotonic clock with it.
const STEP: i64 = SECOND;
/// A clock that is behind by no more waits until it has caught up: one that was set from the last
/// time on disk, which is written each hour.
const BEHIND: i64 = 2 * HOUR;
/// Time of running after which the clock is trusted if it agreed throughout.
const CONFIRMED: i64 = Stretch::CONFIRMED_MS;
/// The same for a clock that stands further than [`FAR`] after the last moment on record.
const CONFIRMED_FAR: i64 = 30 * DAY;
/// See [`CONFIRMED_FAR`].
const FAR: i64 = 30 * DAY;
/// Time by which a stretch may reach into the one before it once it is put back: steps are in whole
/// seconds, and clocks drift.
const SLACK: i64 = HOUR / 60;
/// Time of running that a clock which comes back can call wrong. One that ran for longer outweighs it.
const OUTWEIGHS: i64 = 30 * DAY;

/// All stretches that can still matter, and the rules.
#[derive(Debug, Clone)]
pub struct Timekeeper {
    released_ms: i64,
    run: i64,
    past: Vec<Stretch>,
    now: Stretch,
    last: Reading,
    /// Time of running at the last step of the clock, or at the start.
    stepped: i64,
}

impl Timekeeper {
    /// Begins a run. `past` are the stretches on record, `last_report` the number of the last report.
    /// A clock that shows a time before `released` is wrong.
    #[must_use]
    pub fn start(
        released: Timestamp,
        past: Vec<Stretch>,
        reading: Reading,
        last_report: i64,
    ) -> (Self, Corrections) {
        let (id, run) = past.last().map_or((1, 1), |last| (last.id + 1, last.run + 1));
        let mut keeper = Self {
            released_ms: released.as_millisecond(),
            run,
            now: Stretch::begin(id, run, false, reading.running, last_report),
            past,
            last: reading,
            stepped: reading.running,
        };
        let change = keeper.date(reading, last_report, false).unwrap_or_default();
        (keeper, change)
    }

    /// The stretch that goes on.
    #[must_use]
    pub const fn stretch(&self) -> &Stretch {
        &self.now
    }

    /// Stretches before it.
    #[must_use]
    pub fn past(&self) -> &[Stretch] {
        &self.past
    }

    /// Received time of a report now.
    #[must_use]
    pub const fn received_at(&self, reading: Reading) -> i64 {
        if self.now.dated { reading.wall } else { undated(reading.running) }
    }

    /// The best guess of the present, for those who ask for the last hours: the clock's or, where that
    /// is known to be wrong, the time since the last moment on record.
    #[must_use]
    pub fn present(&self, reading: Reading) -> i64 {
        if self.now.dated {
            return reading.wall;
        }
        let recorded = self.recorded().map_or(self.released_ms, |stretch| stretch.ended_at);
        recorded + reading.running - self.now.began_at
    }

    /// True if the clock agrees with the monotonic one since the last call: nothing is to be done.
    #[must_use]
    pub const fn agrees(&self, reading: Reading) -> bool {
        let step = self.step(reading);
        step.abs() < STEP && self.now.dated
    }

    const fn step(&self, reading: Reading) -> i64 {
        (reading.wall - self.last.wall) - (reading.running - self.last.running)
    }

    /// Confirms the present clock for an operator.
    pub fn confirm(&mut self, reading: Reading, last_report: i64) -> Corrections {
        let change = if self.now.dated {
            Corrections::new()
        } else {
            self.date(reading, last_report, true).unwrap_or_default()
        };
        self.now.needed_ms = 0;
        change
    }

    /// Takes note of a moment. `last_report` is the number of the last report so far. Returns what is
    /// to be changed where the clock has stepped or is right again.
    pub fn observe(&mut self, reading: Reading, last_report: i64) -> Option<Corrections> {
        let step = self.step(reading);
        let passed = reading.running - self.last.running;
        let before = self.last;
        self.last = reading;
        if !self.now.dated {
            self.run_on(passed);
            self.now.ended_at = reading.running;
            if step.abs() >= STEP {
                self.stepped = reading.running;
            }
            let outwaited = reading.running - self.stepped >= CONFIRMED;
            return self.date(reading, last_report, outwaited);
        }
        if step.abs() < STEP {
            self.run_on(passed);
            self.now.ended_at = self.now.ended_at.max(reading.wall);
            return None;
        }
        // The last moment by the clock as it was.
        self.now.ended_at = self.now.ended_at.max(before.wall + passed);
        self.now.ran_ms += passed;
        let settled = reading.running - self.stepped >= CONFIRMED;
        self.stepped = reading.running;
        if reading.wall < self.released_ms {
            self.doubt(reading, last_report);
            return Some(Corrections::new());
        }
        let step = whole_seconds(step);
        if step > 0 {
            return Some(self.step_forward(step, settled, reading, last_report));
        }
        Some(self.step_back(step, reading, last_report))
    }

    const fn run_on(&mut self, passed: i64) {
        self.now.ran_ms += passed;
        self.now.steady_ms += passed;
    }

    /// Last dated stretch before the present one.
    fn recorded(&self) -> Option<&Stretch> {
        self.dated_before(self.past.len())
    }

    /// Last dated stretch before a place.
    fn dated_before(&self, place: usize) -> Option<&Stretch> {
        self.past[..place].iter().rev().find(|stretch| stretch.dated)
    }

    /// Last report of the stretch at a place, where the last of all past ones is `last_report`.
    fn last_of(&self, place: usize, last_report: i64) -> i64 {
        self.past.get(place + 1).map_or(last_report, |next| next.after_report)
    }

    fn begin(&mut self, dated: bool, moment: i64, last_report: i64) {
        self.past.push(self.now);
        self.now = Stretch::begin(self.now.id + 1, self.run, dated, moment, last_report);
    }

    /// The clock is known to be wrong from now on.
    fn doubt(&mut self, reading: Reading, last_report: i64) {
        self.begin(false, reading.running, last_report);
    }

    /// The clock was behind: one that was set right after its start, or a fault.
    fn step_forward(
        &mut self,
        step: i64,
        settled: bool,
        reading: Reading,
        last_report: i64,
    ) -> Corrections {
        let mut corrections = Corrections::new();
        if settled {
            let ended = self.now.ended_at;
            self.begin(true, reading.wall, last_report);
            self.now.needed_ms = needed(Some(ended), reading.wall);
        } else {
            corrections = self.restore(reading.wall);
            let recorded = self.recorded().map_or(self.now.ended_at, |before| before.ended_at);
            corrections.push(Correction::of_stretch(
                &self.now,
                last_report,
                step,
                i64::MIN,
                reading.wall,
            ));
            self.now.began_at += step;
            self.now.ended_at = reading.wall;
            self.now.steady_ms = 0;
            self.now.needed_ms = needed(Some(recorded), self.now.began_at);
        }
        corrections
    }

    /// Undoes what this run has put back, where that lies before the clock as it is now.
    fn restore(&mut self, present: i64) -> Corrections {
        let mut corrections = Vec::new();
        for place in 0..self.past.len() {
            let last = self.last_of(place, self.now.after_report);
            let stretch = &mut self.past[place];
            let moved = stretch.moved_ms;
            if moved != 0 && stretch.ended_at - moved <= present {
                corrections.push(Correction::of_stretch(stretch, last, -moved, i64::MIN, present));
                stretch.began_at -= moved;
                stretch.ended_at -= moved;
                stretch.moved_ms = 0;
            }
        }
        corrections
    }

    /// The clock was ahead, or is wrong now.
    fn step_back(&mut self, step: i64, reading: Reading, last_report: i64) -> Corrections {
        self.past.push(self.now);
        let Some(first) = self.explained(step) else {
            self.past.pop();
            self.doubt(reading, last_report);
            return Corrections::new();
        };
        let corrections = self.set_back(first, step, reading.wall, last_report);
        // It goes on, by the clock as it is now.
        self.now = self.past.pop().unwrap_or(self.now);
        self.now.ended_at = reading.wall;
        self.now.steady_ms = 0;
        self.now.moved_ms = 0;
        let recorded = self.recorded().map(|before| before.ended_at);
        self.now.needed_ms = needed(recorded, self.now.began_at);
        corrections
    }

    /// Place of the first of the latest stretches that were all ahead by the same time, if that can
    /// be: it began with a gap of at least this time. `None` if they ran for so long that they
    /// outweigh the clock as it is now.
    fn explained(&self, step: i64) -> Option<usize> {
        let mut ran = 0;
        for place in (0..self.past.len()).rev() {
            let stretch = &self.past[place];
            if !stretch.dated {
                continue;
            }
            ran += stretch.ran_ms;
            if ran > OUTWEIGHS {
                return None;
            }
            let earliest =
                self.dated_before(place).map_or(self.released_ms, |before| before.ended_at);
            if stretch.began_at + step >= earliest - SLACK {
                return Some(place);
            }
        }
        None
    }

    /// Puts the stretches from a place on back, in the order of their numbers.
    fn set_back(&mut self, first: usize, step: i64, present: i64, last_report: i64) -> Corrections {
        let earliest = self
            .dated_before(first)
            .map_or(i64::MIN, |before| before.ended_at)
            // They may reach into each other, see SLACK.
            .min(present);
        let mut corrections = Vec::new();
        for place in first..self.past.len() {
            let last = self.last_of(place, last_report);
            let stretch = &mut self.past[place];
            if stretch.dated {
                corrections.push(Correction::of_stretch(stretch, last, step, earliest, present));
                stretch.began_at = (stretch.began_at + step).clamp(earliest, present);
                stretch.ended_at = (stretch.ended_at + step).clamp(earliest, present);
                stretch.moved_ms += step;
            }
        }
        corrections
    }

    /// Forgets the stretches that ran so long ago that nothing can call them wrong. Returns the
    /// number of the first that is left.
    pub fn forget(&mut self) -> i64 {
        let mut ran = 0;
        let kept = self.past.iter().rposition(|stretch| {
            ran += stretch.ran_ms;
            stretch.dated && ran > OUTWEIGHS
        });
        if let Some(place) = kept {
            self.past.drain(..place);
        }
        self.past.first().map_or(self.now.id, |stretch| stretch.id)
    }
}

/// Time for which a clock must agree that stands at a time after the last moment on record.
fn needed(recorded: Option<i64>, wall: i64) -> i64 {
    if recorded.is_some_and(|recorded| wall - recorded > FAR) { CONFIRMED_FAR } else { CONFIRMED }
}
