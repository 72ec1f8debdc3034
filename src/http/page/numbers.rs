//! The numbers of a view: read from storage, by the same functions as those of the JSON routes and of the
//! Prometheus API.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::view::{Periods, Range, View};
use crate::{
    domain::{
        CalendarWindow, Dimension, Moment, OTHER, Profile, StartupTimes, Value, Window, day_of,
        newer_release,
    },
    storage::{
        Activity, CohortCount, Database, Groups, ReportFilter, Result, StoredReport, groups_by,
    },
};

/// Turns that reading the numbers takes of those that there are for requests that may read much.
pub const TURNS: u32 = 2;
/// Values that a list names; the others are one.
const NAMED: usize = 10;
/// Values that a filter offers.
const CHOICES: usize = 200;
/// Cohorts on the page.
const COHORTS: i64 = 12;
/// The latest reports on the page.
const LATEST: u32 = 10;

/// Values of a dimension with their counts, and those of all others as [`OTHER`], which is the last one.
pub type ByValue<T> = Vec<(String, T)>;

/// See the module.
#[derive(Debug)]
pub struct Numbers {
    /// Periods of the range.
    pub periods: Periods,
    /// Starts in each period.
    pub starts: Vec<u64>,
    /// Seconds of each period in which the server was down or its clock was wrong.
    pub outage_seconds: Vec<i64>,
    /// Distinct instances of all time, whatever the filters.
    pub instances: u64,
    /// Active and returning instances at present.
    pub activity: Activity,
    /// The newest version that started within the filters, and the instances that ran it within 30 days.
    pub newest_version: Option<(String, u64)>,
    /// Instances that were active within 7 days at the end of each period, by version. `None` where that is
    /// not known.
    pub versions: ByValue<Vec<Option<u64>>>,
    /// Instances that were active within 30 days, by value, for each of [`Numbers::BREAKDOWNS`].
    pub breakdowns: Vec<ByValue<u64>>,
    /// Startup times in each period.
    pub startup: Vec<StartupTimes>,
    /// Startup times of the range, by architecture and by version.
    pub startup_by: Vec<ByValue<StartupTimes>>,
    /// The latest cohorts, whatever the filters.
    pub cohorts: Vec<CohortCount>,
    /// The latest reports of a start.
    pub latest: Vec<StoredReport>,
    /// Versions and architectures that are offered as filters.
    pub choices: [Vec<String>; 2],
}

impl Numbers {
    /// Dimensions whose values are listed.
    pub const BREAKDOWNS: [Dimension; 5] = [
        Dimension::ImageVersion,
        Dimension::Architecture,
        Dimension::DbType,
        Dimension::ContainerRuntime,
        Dimension::Os,
    ];

    /// Reads the numbers of a view.
    ///
    /// # Errors
    /// The database's error.
    pub async fn read(database: &Database, now: Timestamp, view: &View) -> Result<Self> {
        let first_report = match view.range() {
            Range::All => database.first_hour().await?,
            _ => None,
        };
        let periods = Periods::new(view.range(), now, first_report);
        let fleet = Fleet::new(database, now, view).await?;
        let moments = periods.moments();

        let begins = periods.begins.iter().map(|begin| begin.start_ms());
        let ends = begins.clone().skip(1).chain([now.as_millisecond()]);
        // These read much, on two connections: see `TURNS`. The database counts who is active at present; most
        // of the rest is unpacked here meanwhile.
        let over_time = async {
            let (startup, startup_by) = fleet.startup(&moments).await?;
            Ok((startup, startup_by, fleet.starts(&moments).await?))
        };
        let ((startup, startup_by, starts), activity) =
            tokio::try_join!(over_time, fleet.activity())?;
        let versions = fleet.versions(&moments).await?;
        let outages = database.outages(periods.first().start_ms(), now.as_millisecond()).await?;
        let (mut breakdowns, mut newest_version) = (Vec::new(), None);
        for dimension in Self::BREAKDOWNS {
            let by_value = fleet.active(dimension).await?;
            if dimension == Dimension::ImageVersion {
                newest_version = newest(&by_value);
            }
            breakdowns.push(ranked(by_value, |active| *active, |other, some| *other += some));
        }
        let instances = database.instances_at(&[Moment::Now]).await?;
        let week = CalendarWindow::Week.first_day(day_of(now));
        Ok(Self {
            starts,
            outage_seconds: begins.zip(ends).map(|(a, b)| outages.within(a, b) / 1000).collect(),
            instances: instances.first().copied().flatten().map_or(0, |[instances, _]| instances),
            activity,
            newest_version,
            versions,
            breakdowns,
            startup,
            startup_by: startup_by
                .map(|by_value| ranked(by_value, StartupTimes::count, add_times))
                .into(),
            cohorts: database.cohorts(week - 7 * (COHORTS - 1), week, usize::MAX).await?,
            latest: fleet.latest().await?,
            choices: [
                fleet.choices(Dimension::ImageVersion).await?,
                fleet.choices(Dimension::Architecture).await?,
            ],
            periods,
        })
    }

    /// Startup times of the whole range.
    pub fn startup_of_range(&self) -> StartupTimes {
        let mut all = StartupTimes::default();
        self.startup.iter().for_each(|times| add_times(&mut all, times));
        all
    }
}

/// The profiles of a view.
struct Fleet<'a> {
    database: &'a Database,
    now: Timestamp,
    view: &'a View,
    profiles: Vec<(i64, Arc<Profile>)>,
    all_profiles: Arc<Vec<(i64, Arc<Profile>)>>,
}

impl<'a> Fleet<'a> {
    async fn new(database: &'a Database, now: Timestamp, view: &'a View) -> Result<Self> {
        let all_profiles = database.profiles().await?;
        let shown = all_profiles.iter().filter(|(_, profile)| view.shows(profile));
        Ok(Self { database, now, view, profiles: shown.cloned().collect(), all_profiles })
    }

    /// Groups the profiles by the values of a dimension, or all in one group.
    fn groups(&self, dimension: Option<Dimension>) -> (Vec<String>, Groups) {
        groups(&self.profiles, dimension)
    }

    /// Active instances at present, of all profiles together.
    async fn activity(&self) -> Result<Activity> {
        let (_, all) = self.groups(None);
        let table = self.database.activity_at(self.now, &[Moment::Now], &all).await?;
        Ok(table.first().and_then(|row| row[0]).unwrap_or_default())
    }

    /// Instances that were active within 30 days, by value.
    async fn active(&self, dimension: Dimension) -> Result<ByValue<u64>> {
        let (values, groups) = self.groups(Some(dimension));
        self.active_of(values, &groups).await
    }

    async fn active_of(&self, values: Vec<String>, groups: &Groups) -> Result<ByValue<u64>> {
        let table = self.database.activity_at(self.now, &[Moment::Now], groups).await?;
        let active = table
            .iter()
            .map(|row| row[0].map_or(0, |activity| activity.active[Window::LONGEST as usize]));
        Ok(values.into_iter().zip(active).filter(|(_, active)| *active > 0).collect())
    }

    /// The values that a filter of a dimension offers: of the whole fleet, most active instances first.
    async fn choices(&self, dimension: Dimension) -> Result<Vec<String>> {
        let (values, groups) = groups(&self.all_profiles, Some(dimension));
        let mut active = self.active_of(values, &groups).await?;
        active.sort_by(|(a, n), (b, m)| (Reverse(n), a).cmp(&(Reverse(m), b)));
        Ok(active.into_iter().take(CHOICES).map(|(value, _)| value).collect())
    }

    async fn versions(&self, moments: &[Moment]) -> Result<ByValue<Vec<Option<u64>>>> {
        let (values, groups) = self.groups(Some(Dimension::ImageVersion));
        // A period shows the state at its end.
        let ends = &moments[1..];
        let table = self.database.activity_at(self.now, ends, &groups).await?;
        let active = |activity: Option<Activity>| Some(activity?.active[Window::Week as usize]);
        let rows = table.into_iter().map(|row| row.into_iter().map(active).collect());
        let sum = |row: &Vec<Option<u64>>| row.iter().flatten().sum();
        Ok(ranked(values.into_iter().zip(rows).collect(), sum, |other, some| {
            for (other, some) in other.iter_mut().zip(some) {
                *other = other.map_or(*some, |other| Some(other + some.unwrap_or(0)));
            }
        }))
    }

    /// Starts between each two moments.
    async fn starts(&self, moments: &[Moment]) -> Result<Vec<u64>> {
        let (_, all) = self.groups(None);
        let table = self.database.starts_at(moments, &all).await?;
        let row = table.first().map(Vec::as_slice).unwrap_or_default();
        Ok(row.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect())
    }

    /// Startup times between each two moments, and of all that time by architecture and by version.
    async fn startup(
        &self,
        moments: &[Moment],
    ) -> Result<(Vec<StartupTimes>, [ByValue<StartupTimes>; 2])> {
        const BY: [Dimension; 2] = [Dimension::Architecture, Dimension::ImageVersion];
        let mut places = BTreeMap::new();
        let groups = self.profiles.iter().map(|(number, profile)| {
            let next = places.len();
            (*number, *places.entry(BY.map(|dimension| profile.get(dimension))).or_insert(next))
        });
        let groups: Groups = groups.collect();
        let (mut over_time, times) = self.database.startup_between(moments, &groups).await?;
        // Nothing is after the present.
        over_time.truncate(moments.len() - 1);
        let by_value = [0, 1].map(|dimension| {
            let mut sums: BTreeMap<&str, StartupTimes> = BTreeMap::new();
            for (values, place) in &places {
                if let Some(times) = times.get(*place) {
                    add_times(sums.entry(&**values[dimension]).or_default(), times);
                }
            }
            sums.into_iter().map(|(value, times)| (value.to_owned(), times)).collect()
        });
        Ok((over_time, by_value))
    }

    async fn latest(&self) -> Result<Vec<StoredReport>> {
        let filter = ReportFilter {
            image_version: self.view.version(),
            architecture: self.view.architecture(),
            starts_only: true,
            ..ReportFilter::default()
        };
        self.database.newest_reports(&filter, LATEST).await
    }
}

fn groups(profiles: &[(i64, Arc<Profile>)], dimension: Option<Dimension>) -> (Vec<String>, Groups) {
    let (groups, values) = groups_by(profiles, dimension);
    let text = |value: Option<Value>| value.map_or_else(String::new, String::from);
    (values.into_iter().map(text).collect(), groups)
}

/// The newest release among versions, with its count.
fn newest(versions: &ByValue<u64>) -> Option<(String, u64)> {
    let names = versions.iter().map(|(version, _)| version.clone());
    let newest = names.fold(None, newer_release)?;
    versions.iter().find(|(version, _)| *version == newest).cloned()
}

fn add_times(sum: &mut StartupTimes, times: &StartupTimes) {
    *sum = std::mem::take(sum).plus(times);
}

/// The values of the highest ranks in the order of these, and the others as one.
fn ranked<T>(
    mut by_value: ByValue<T>,
    rank: impl Fn(&T) -> u64,
    add: impl Fn(&mut T, &T),
) -> ByValue<T> {
    by_value.retain(|(_, count)| rank(count) > 0);
    by_value.sort_by(|(a, n), (b, m)| {
        (a == OTHER, Reverse(rank(n)), a).cmp(&(b == OTHER, Reverse(rank(m)), b))
    });
    let named = by_value.iter().take_while(|(value, _)| value != OTHER).count().min(NAMED);
    let mut others = by_value.split_off(named).into_iter();
    if let Some((_, mut other)) = others.next() {
        others.for_each(|(_, some)| add(&mut other, &some));
        by_value.push((OTHER.to_owned(), other));
    }
    by_value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_values_are_named() {
        let add = |other: &mut u64, some: &u64| *other += some;
        let mut many: ByValue<u64> = (1..=12).map(|n| (format!("v{n:02}"), n)).collect();
        many.push((OTHER.into(), 50));
        many.push(("none".into(), 0));
        let ranked_many = ranked(many, |n| *n, add);
        assert_eq!(ranked_many.len(), 11);
        assert_eq!(ranked_many[0], ("v12".into(), 12));
        assert_eq!(ranked_many[9], ("v03".into(), 3));
        assert_eq!(ranked_many[10], (OTHER.into(), 50 + 2 + 1));
        let few: ByValue<u64> = vec![("b".into(), 2), ("a".into(), 2), ("c".into(), 3)];
        let names: Vec<_> = ranked(few, |n| *n, add).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["c", "a", "b"]);
    }
}
