//! Gaps: moments at which a server that was down, or whose clock was wrong, has nothing to show.

use super::Reader;
use crate::{
    domain::Hour,
    promql::{error::Result, series::Series},
};

/// Time for which a value outlasts the last moment of running, as in Prometheus.
const LOOKBACK_MS: i64 = 5 * 60_000;

impl Reader<'_> {
    /// Takes the values of gaps from series of the fleet.
    ///
    /// Growth has a gap where the server was out for more than half of the range and no report is known of
    /// it, imported ones included: a zero would be a guess. A value has a gap where the server had been
    /// out for five minutes, unless reports of that hour are known. The present has none.
    pub(super) async fn leave_gaps(&self, series: &mut [Series]) -> Result<()> {
        if series.is_empty() {
            return Ok(());
        }
        let open_hour = Hour::of_ms(self.now);
        let range = self.wanted.growth.map_or(0, |growth| growth.range_ms);
        let (Some(first), Some(last)) = (self.times().next(), self.times().last()) else {
            return Ok(());
        };
        let outages =
            self.database.outages(first.saturating_sub(range), last.min(self.now)).await?;
        if outages.is_empty() {
            return Ok(());
        }
        let (mut places, mut hours) = (Vec::new(), Vec::new());
        for (place, time) in self.times().enumerate() {
            if range > 0 {
                let (from, until) = (time.saturating_sub(range), time.min(self.now));
                if outages.within(from, until) > until.saturating_sub(from).max(0) / 2 {
                    places.push(place);
                    // The hours that are counted for these moments.
                    let past = if until > open_hour.start_ms() { 0 } else { -1 };
                    hours.push((Hour::of_ms(from), Hour::of_ms(until).plus(past)));
                }
            } else if time <= open_hour.start_ms()
                && outages.lasted_at(time).is_some_and(|lasted| lasted >= LOOKBACK_MS)
            {
                places.push(place);
                hours.push((Hour::of_ms(time), Hour::of_ms(time)));
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let known = self.database.have_reports(&hours).await?;
        for (place, _) in places.into_iter().zip(known).filter(|(_, known)| !known) {
            series.iter_mut().for_each(|series| series.points[place] = None);
        }
        Ok(())
    }
}
