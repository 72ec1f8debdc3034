//! Dating of what was received while the clock was known to be wrong.

use super::{
    super::{
        correction::{Correction, Corrections, SECOND, next_second, whole_seconds},
        stretch::Reading,
    },
    BEHIND, CONFIRMED, STEP, Timekeeper, needed,
};

impl Timekeeper {
    /// Dates what is not dated, if the clock can be right. `believed` if it is so in any case, but
    /// for one before the release.
    pub(super) fn date(
        &mut self,
        reading: Reading,
        last_report: i64,
        believed: bool,
    ) -> Option<Corrections> {
        let wall = reading.wall;
        if wall < self.released_ms {
            return None;
        }
        let recorded = self.recorded().copied();
        let mut corrections = Vec::new();
        let mut steady_ms = 0;
        let mut needed_ms = needed(recorded.map(|stretch| stretch.ended_at), wall);
        if let Some(recorded) = recorded {
            // Up to a second the server may have been started anew before the record was whole.
            let behind = recorded.ended_at - wall;
            if behind < STEP {
                if needed_ms == CONFIRMED {
                    (steady_ms, needed_ms) = (recorded.steady_ms, recorded.needed_ms);
                }
            } else {
                let step = -whole_seconds(behind + SECOND - 1);
                let last = self.now.after_report;
                corrections = match self.explained(step) {
                    Some(first) if behind > BEHIND || believed => {
                        self.set_back(first, step, wall, last)
                    }
                    _ if believed => self.cut_off(wall, last),
                    _ => return None,
                };
            }
        }
        // Reports of earlier runs are dated by the first right moment, those of this one by the time
        // since then.
        let offset = whole_seconds(wall - reading.running);
        let began_at = self.begin_dated(&mut corrections, wall, offset, last_report);
        self.now.began_at = began_at;
        self.now.ended_at = wall;
        self.now.dated = true;
        (self.now.steady_ms, self.now.needed_ms) = (steady_ms, needed_ms);
        Some(corrections)
    }

    /// Corrections that date all undated stretches; returns when the present one began.
    fn begin_dated(
        &mut self,
        corrections: &mut Vec<Correction>,
        wall: i64,
        offset: i64,
        last_report: i64,
    ) -> i64 {
        let latest = whole_seconds(wall);
        let recorded =
            self.recorded().map_or(i64::MIN, |stretch| next_second(stretch.ended_at)).min(latest);
        let run = self.run;
        for place in 0..self.past.len() {
            let last = self.last_of(place, self.now.after_report);
            let stretch = self.past[place];
            if stretch.dated {
                continue;
            }
            let earliest = if stretch.run == run { recorded } else { latest };
            corrections.push(Correction::of_undated(
                stretch.after_report,
                last,
                offset,
                earliest,
                latest,
            ));
        }
        // Where it is dated now, it is part of the stretch that follows.
        let began = self.past.iter().filter(|stretch| !stretch.dated && stretch.run == run);
        let began = began.map(|stretch| stretch.began_at).min().unwrap_or(self.now.began_at);
        // Reports of earlier runs are dated by this clock, and follow it should it be wrong.
        let first = self.past.iter().find(|stretch| !stretch.dated);
        let first = first.map_or(self.now.after_report, |stretch| stretch.after_report);
        self.past.retain(|stretch| stretch.dated);
        if self.now.after_report < last_report {
            corrections.push(Correction::of_undated(
                self.now.after_report,
                last_report,
                offset,
                recorded,
                latest,
            ));
        }
        self.now.after_report = first;
        (began + offset).max(recorded).min(latest)
    }

    /// Puts what lies after the present there, as nothing better is known.
    fn cut_off(&mut self, present: i64, last_report: i64) -> Corrections {
        let mut corrections = Vec::new();
        for place in 0..self.past.len() {
            let last = self.last_of(place, last_report);
            let stretch = &mut self.past[place];
            if stretch.dated && stretch.ended_at > present {
                stretch.began_at = stretch.began_at.max(present);
                corrections.push(Correction::of_stretch(stretch, last, 0, i64::MIN, present));
                stretch.began_at = stretch.began_at.min(present);
                stretch.ended_at = present;
            }
        }
        corrections
    }
}
