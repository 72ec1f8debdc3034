//! Outages: times of which the server knows nothing, since it was down or its clock was wrong.

use super::stretch::Stretch;

/// Number of the run of a stretch that stands for a history of which no record was kept: that of an
/// older version, or of another server.
pub const BEFORE_RECORDS: i64 = 0;
/// Time between two stretches of one run from which on it is an outage: steps are in whole seconds.
const WITHIN_A_RUN: i64 = 2000;

/// A time between two stretches of the clock. See the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Number of the stretch after it.
    pub stretch: i64,
    /// First moment, in milliseconds since 1970.
    pub began_at: i64,
    /// Last moment; `None` while the clock is known to be wrong.
    pub ended_at: Option<i64>,
    /// False where the clock was wrong.
    pub down: bool,
}

impl Outage {
    /// The outages between the stretches of a record and the one that goes on.
    #[must_use]
    pub fn between(past: &[Stretch], now: &Stretch) -> Vec<Self> {
        let mut outages = Vec::new();
        let mut dated = past.iter().filter(|stretch| stretch.dated);
        let Some(mut before) = dated.next() else { return outages };
        let mut began_at = before.ended_at;
        for stretch in dated.chain([now]) {
            let ended_at = stretch.dated.then_some(stretch.began_at);
            let shortest = if before.run == stretch.run { WITHIN_A_RUN } else { 1 };
            if before.run != BEFORE_RECORDS
                && ended_at.is_none_or(|ended_at| ended_at - began_at >= shortest)
            {
                // A run in between whose stretches are gone never knew the date.
                let down = stretch.dated && stretch.run == before.run + 1;
                outages.push(Self { stretch: stretch.id, began_at, ended_at, down });
            }
            (before, began_at) = (stretch, began_at.max(stretch.ended_at));
        }
        outages
    }
}

/// Times of outages, apart from each other and in order, in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutageTimes {
    /// Begin and end of each, and the length of all before it.
    times: Vec<(i64, i64, i64)>,
}

impl OutageTimes {
    /// Of outages with these begins and ends.
    #[must_use]
    pub fn new(mut outages: Vec<(i64, i64)>) -> Self {
        outages.sort_unstable();
        let (mut times, mut all): (Vec<(i64, i64, i64)>, i64) = (Vec::new(), 0);
        for (began, ended) in outages {
            let began = times.last().map_or(began, |last| began.max(last.1));
            if began < ended {
                times.push((began, ended, all));
                all += ended - began;
            }
        }
        Self { times }
    }

    /// True if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Time for which the outage that a moment lies in has lasted by then.
    #[must_use]
    pub fn lasted_at(&self, moment: i64) -> Option<i64> {
        let after = self.times.partition_point(|time| time.0 <= moment);
        let (began, ended, _) = self.times[after.checked_sub(1)?];
        (moment < ended).then_some(moment - began)
    }

    /// Length of the outages between two moments.
    #[must_use]
    pub fn within(&self, from: i64, until: i64) -> i64 {
        (self.until(until) - self.until(from)).max(0)
    }

    fn until(&self, moment: i64) -> i64 {
        let after = self.times.partition_point(|time| time.0 <= moment);
        after.checked_sub(1).map_or(0, |last| {
            let (began, ended, before) = self.times[last];
            before + moment.min(ended) - began
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(id: i64, run: i64, began_at: i64, ended_at: i64) -> Stretch {
        Stretch { ended_at, ..Stretch::begin(id, run, true, began_at, 0) }
    }

    #[test]
    fn an_outage_lies_between_two_stretches() {
        let past = [stretch(1, 1, 0, 1000), stretch(2, 2, 5000, 6000), stretch(4, 4, 6500, 7000)];
        let outage =
            |stretch, began_at, ended_at, down| Outage { stretch, began_at, ended_at, down };
        // A restart of no time, and a clock that is now known to be wrong.
        let now = stretch(5, 5, 7000, 8000);
        let expected = [outage(2, 1000, Some(5000), true), outage(4, 6000, Some(6500), false)];
        assert_eq!(Outage::between(&past, &now), expected);
        let now = Stretch { dated: false, ..now };
        assert_eq!(Outage::between(&past, &now)[2], outage(5, 7000, None, false));
        assert_eq!(Outage::between(&[], &now), []);
    }

    /// A clock that stepped by a second, and one that jumped by an hour after days of running.
    #[test]
    fn a_step_within_a_run_is_no_outage_unless_it_is_one() {
        let past = [stretch(1, 1, 0, 1000)];
        assert_eq!(Outage::between(&past, &stretch(2, 1, 2500, 3000)), []);
        let [outage] = Outage::between(&past, &stretch(2, 1, 9000, 9500))[..] else { panic!() };
        assert!(!outage.down);
    }

    #[test]
    fn a_history_without_a_record_is_followed_by_no_outage() {
        let past = [stretch(1, BEFORE_RECORDS, 0, 1000)];
        assert_eq!(Outage::between(&past, &stretch(2, 1, 900_000, 900_000)), []);
    }

    #[test]
    fn stretches_that_reach_into_each_other_have_no_outage_between_them() {
        let past = [stretch(1, 1, 0, 9000), stretch(2, 2, 5000, 6000)];
        assert_eq!(Outage::between(&past, &stretch(3, 3, 8000, 8000)), []);
        let later = Outage::between(&past, &stretch(3, 3, 9500, 9500));
        assert_eq!((later.len(), later[0].began_at), (1, 9000));
    }

    #[test]
    fn times_that_overlap_count_once() {
        let times = OutageTimes::new(vec![(50, 60), (10, 20), (15, 30), (12, 13), (40, 40)]);
        assert_eq!(times.within(0, 100), 30);
        assert_eq!(times.within(15, 55), 20);
        assert_eq!(times.within(31, 49), 0);
        assert_eq!(times.within(60, 0), 0);
        let at = |moment| times.lasted_at(moment);
        assert_eq!([at(9), at(10), at(55), at(60)], [None, Some(0), Some(5), None]);
        assert!(OutageTimes::new(vec![(5, 5)]).is_empty());
    }
}
