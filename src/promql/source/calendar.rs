//! The series of calendar windows and of cohorts.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Reader, fleet::float};
use crate::{
    domain::{CalendarWindow, start_of_day},
    metrics::{LATER_WEEKS_LABEL, Metric, WEEK_LABEL, WINDOW_LABEL},
    promql::{
        error::Result,
        series::{Labels, Series},
    },
};

/// Weeks before the last one that is over whose cohorts have series.
const COHORTS: i64 = 25;

impl Reader<'_> {
    /// The windows of the calendar that are over, each as a series of its kind.
    pub(super) async fn calendar(&self) -> Result<Vec<Series>> {
        let names = CalendarWindow::ALL.map(|window| window.name().to_owned());
        let mut series = Vec::new();
        for (place, name) in self.selected_values(WINDOW_LABEL, names.into()).await {
            let labels = Labels::from([(Cow::Borrowed(WINDOW_LABEL), name.into())]);
            if !self.selects_labels(&labels).await {
                continue;
            }
            let window = CalendarWindow::ALL[place];
            let over: Vec<i64> =
                self.times().map(|time| window.last_over(time.min(self.now))).collect();
            let Some(begin) = self.database.calendar_begin(window).await? else { continue };
            let Some(last) = over.iter().copied().max().filter(|&last| last >= begin) else {
                continue;
            };
            self.held.with(series.len() + 1, self.grid.count)?;
            let first = over.iter().copied().min().map_or(begin, |first| first.max(begin));
            let counts = self.database.calendar(window, first, last).await?;
            let count = |first_day: &i64| {
                let row = counts.binary_search_by_key(first_day, |row| row.first_day).ok()?;
                Some(float(counts[row].instances))
            };
            let points = over.iter().map(count).collect();
            series.push(self.series(Metric::CalendarInstances, labels, points));
        }
        Ok(series)
    }

    /// Cohorts of the latest weeks in each later week that is over, each as a series of its own.
    pub(super) async fn cohorts(&self) -> Result<Vec<Series>> {
        if !self.selects_others(&[WEEK_LABEL, LATER_WEEKS_LABEL]) {
            return Ok(Vec::new());
        }
        let window = CalendarWindow::Week;
        let over: Vec<i64> =
            self.times().map(|time| window.last_over(time.min(self.now))).collect();
        let Some(last) = over.iter().copied().max() else { return Ok(Vec::new()) };
        let found = self.database.cohorts(last - 7 * COHORTS, last, usize::MAX).await?;
        let counts: BTreeMap<(i64, i64), u64> =
            found.iter().map(|row| ((row.week, row.later_weeks), row.instances)).collect();
        let weeks = counts.keys().filter(|(_, later)| *later == 0).map(|(week, _)| *week);
        let mut series = Vec::new();
        for (week, later) in
            weeks.flat_map(|week| (0..=(last - week) / 7).map(move |later| (week, later)))
        {
            let date = start_of_day(week).to_string();
            let date = date.split('T').next().unwrap_or_default();
            let labels = Labels::from([
                (Cow::Borrowed(WEEK_LABEL), date.into()),
                (Cow::Borrowed(LATER_WEEKS_LABEL), later.to_string().into()),
            ]);
            if !self.selects_labels(&labels).await {
                continue;
            }
            self.held.with(series.len() + 1, self.grid.count)?;
            let value = float(counts.get(&(week, later)).copied().unwrap_or(0));
            let points =
                over.iter().map(|&over| (over >= week + 7 * later).then_some(value)).collect();
            series.push(self.series(Metric::CohortInstances, labels, points));
        }
        Ok(series)
    }
}
