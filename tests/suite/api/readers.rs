//! Answers stay the same while hours and days are closed and reports are indexed.

use std::fmt::Debug;

use jiff::SignedDuration;
use mattermost_telemetry::{
    domain::{Dimension, Hour, Moment},
    storage::{Groups, Interval, ReportFilter},
};
use proptest::prelude::*;

use crate::support::history::{History, Step, steps};

/// Answers of the readers, by name.
type Answers = Vec<(String, String)>;

fn note(answers: &mut Answers, name: impl Into<String>, answer: &impl Debug) {
    answers.push((name.into(), format!("{answer:?}")));
}

/// Hours before the present as of which a history is asked: an open hour, open days, days that are
/// over, and before the first report.
const HOURS_BACK: [i64; 9] = [0, 1, 2, 23, 24, 25, 49, 200, 10_000];

/// Moments before the present, and the present, in order.
fn moments(history: &History) -> Vec<Moment> {
    let hour = Hour::of(history.now);
    let mut moments = HOURS_BACK.map(|back| Moment::At(hour.plus(-back))).to_vec();
    moments.reverse();
    moments.push(Moment::Now);
    moments
}

/// The profiles one by one, and then in two groups.
async fn groups(history: &History) -> [Groups; 2] {
    let profiles = history.database.profiles().await.unwrap();
    let numbers = || profiles.iter().map(|(number, _)| *number);
    [numbers().zip(0..).collect(), numbers().zip([0, 1].into_iter().cycle()).collect()]
}

/// Answers that have every stored report.
async fn exact_answers(history: &History) -> Answers {
    let database = &history.database;
    let mut answers = Answers::new();
    let totals = database.totals().await.unwrap();
    note(&mut answers, "totals", &(totals.starts, totals.heartbeats));
    for dimension in Dimension::ALL {
        note(&mut answers, dimension.name(), &database.breakdown(dimension).await.unwrap());
    }
    let (_, [versions]) = database.summary([Dimension::ImageVersion]).await.unwrap();
    note(&mut answers, "summary", &versions);
    note(&mut answers, "starts by profile", &database.starts_by_profile().await.unwrap());
    note(&mut answers, "first days", &database.first_days().await.unwrap());
    for interval in [Interval::Hour, Interval::Day] {
        for dimension in Dimension::ALL.map(Some).into_iter().chain([None]) {
            let series = database
                .timeseries(interval, dimension, Hour::MIN, Hour::MAX, u32::MAX)
                .await
                .unwrap();
            note(&mut answers, format!("{interval:?} by {dimension:?}"), &series);
        }
    }
    for groups in groups(history).await {
        let starts = database.starts_at(&moments(history), &groups).await.unwrap();
        note(&mut answers, "starts at", &starts);
    }
    for hours in [1, 30, 100] {
        let bound = history.now - SignedDuration::from_hours(hours);
        let versions = [None, Some("v11.1.0".to_owned())];
        for (image_version, since) in versions.into_iter().zip([None, Some(bound)]) {
            let filter = ReportFilter { image_version, since, ..ReportFilter::default() };
            let reports = database.newest_reports(&filter, 20).await.unwrap();
            note(&mut answers, format!("{filter:?}"), &reports);
        }
        let filter = ReportFilter { until: Some(bound), ..ReportFilter::default() };
        let reports = database.newest_reports(&filter, 20).await.unwrap();
        note(&mut answers, format!("until {hours} h ago"), &reports);
    }
    answers
}

/// Answers that have every indexed report, as of the present or, for those by snapshots, as of the
/// last hour that is closed.
async fn indexed_answers(history: &History, closed: Hour) -> Answers {
    let database = &history.database;
    let mut answers = Answers::new();
    note(&mut answers, "totals", &database.totals().await.unwrap());
    for dimension in Dimension::ALL.map(Some).into_iter().chain([None]) {
        let startup = database.startup(dimension, None).await.unwrap();
        note(&mut answers, format!("startup by {dimension:?}"), &startup);
        let days = (closed.plus(-48).day(), closed.day());
        let startup = database.startup(dimension, Some(days)).await.unwrap();
        note(&mut answers, format!("startup of two days by {dimension:?}"), &startup);
        let active = database.active(history.now, dimension).await.unwrap();
        note(&mut answers, format!("active by {dimension:?}"), &active);
    }
    let mut past = moments(history);
    past.retain(|&moment| moment == Moment::Now || moment <= Moment::At(closed));
    note(&mut answers, "instances at", &database.instances_at(&past).await.unwrap());
    for groups in groups(history).await {
        let startup = database.startup_at(&moments(history), &groups).await.unwrap();
        note(&mut answers, "startup at", &startup);
        let activity = database.activity_at(history.now, &past, &groups).await.unwrap();
        note(&mut answers, "activity at", &activity);
    }
    answers
}

async fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::of(steps).await;
    let exact = exact_answers(&history).await;
    history.writer.index(history.now).await.unwrap();
    prop_assert_eq!(&exact, &exact_answers(&history).await, "indexing");

    let present = history.now;
    let closed = Hour::of(present);
    history.writer.close_hours(present).await.unwrap();
    prop_assert_eq!(&exact, &exact_answers(&history).await, "closing what is over");
    let indexed = indexed_answers(&history, closed).await;
    // The open hour, then the open day: time passes for the writer, not for who asks.
    for hours in [1, 24] {
        let later = present + SignedDuration::from_hours(hours);
        history.writer.close_hours(later).await.unwrap();
        prop_assert_eq!(&exact, &exact_answers(&history).await, "closing {} h later", hours);
        prop_assert_eq!(&indexed, &indexed_answers(&history, closed).await, "{} h later", hours);
    }
    let verdict = history.database.verify(history.now).await.unwrap();
    prop_assert!(verdict.is_clean(), "{:?}", verdict);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn closing_and_indexing_change_no_answer(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(steps))?;
    }
}
