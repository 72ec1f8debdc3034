//! A clock that is wrong loses nothing, and once it is right every number is right.

mod machine;

use jiff::Timestamp;
use mattermost_telemetry::domain::ClockState;
use proptest::{collection::vec, prelude::*};

use self::machine::Machine;
use crate::support::{
    BEGIN,
    milliseconds::{DAY, HOUR, MINUTE, SECOND},
    properties::{cases, run},
};

/// An error of the clock: seconds to decades, ahead or behind.
fn error() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 * SECOND..2 * MINUTE,
        MINUTE..3 * HOUR,
        HOUR..40 * DAY,
        30 * DAY..500 * DAY,
        5 * 365 * DAY..30 * 365 * DAY
    ]
    .prop_flat_map(|size| prop_oneof![Just(size), Just(-size)])
}

#[derive(Debug, Clone)]
enum Event {
    Report(u8, u8),
    Pass(i64),
    Set(i64),
    Restart(i64, i64),
    Import(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4u8, 1..3u8).prop_map(|(instance, version)| Event::Report(instance, version)),
        4 => prop_oneof![MINUTE..HOUR, HOUR..30 * HOUR].prop_map(Event::Pass),
        2 => prop_oneof![Just(0), error()].prop_map(Event::Set),
        1 => (MINUTE..3 * DAY, prop_oneof![Just(0), error()])
            .prop_map(|(off, ahead)| Event::Restart(off, ahead)),
        1 => (HOUR..60 * DAY).prop_map(Event::Import),
    ]
}

async fn follow(
    begin: i64,
    retention: Option<i64>,
    events: Vec<Event>,
) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(begin).await;
    machine.retention = retention;
    for event in events {
        match event {
            Event::Report(instance, version) => machine.report(instance, version).await,
            Event::Pass(ms) => machine.pass(ms).await,
            Event::Set(ahead) => machine.set(ahead).await,
            Event::Restart(off, ahead) => machine.restart(off, ahead).await,
            Event::Import(ago) => machine.import(ago).await,
        }
    }
    machine.check().await?;
    machine.set(0).await;
    // A clock that contradicts the record is believed after a day.
    machine.pass(26 * HOUR).await;
    machine.report(1, 1).await;
    machine.keep_house().await;
    prop_assert!(machine.state() != ClockState::Wrong);
    machine.writer.close_hours(machine.now()).await.unwrap();
    machine.check().await?;
    machine.check_order_of_outages().await?;
    if machine.imported.is_empty() { machine.check_snapshots().await } else { Ok(()) }
}

/// A fault in one run: right, wrong for some hours, right again.
async fn fault(error: i64, before: Vec<i64>, during: Vec<i64>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    machine.report_twice(before, [1, 2], 1).await;
    machine.set(error).await;
    machine.report_twice(during, [1, 3], 2).await;
    machine.set(0).await;
    machine.pass(26 * HOUR).await;
    machine.check().await?;
    machine.check_snapshots().await?;
    machine.check_outages(0).await?;
    machine.check_truth().await
}

/// A fault of a clock whose machine has pruned reports.
async fn pruned(
    retention: i64,
    before: Vec<i64>,
    error: i64,
    during: Vec<i64>,
) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    machine.retention = Some(retention);
    machine.report(4, 1).await;
    machine.report_twice(before, [1, 2], 1).await;
    machine.pass(30 * HOUR).await;
    machine.set(error).await;
    machine.report_twice(during, [1, 3], 2).await;
    machine.set(0).await;
    machine.pass(26 * HOUR).await;
    machine.check().await?;
    machine.check_snapshots().await?;
    machine.check_truth().await?;
    machine.report_twice(vec![20 * HOUR, 12 * DAY], [1, 2], 3).await;
    machine.pass(32 * DAY).await;
    machine.check().await?;
    machine.check_snapshots().await
}

/// A run with a wrong clock from its start, until it is set right.
async fn wrong_start(error: i64, off: i64, during: Vec<i64>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    machine.report(1, 1).await;
    machine.pass(30 * HOUR).await;
    machine.report(2, 1).await;
    machine.restart(off, error).await;
    machine.report_twice(during, [1, 3], 2).await;
    machine.set(0).await;
    machine.pass(26 * HOUR).await;
    machine.check().await?;
    machine.check_snapshots().await?;
    machine.check_outages(0).await?;
    machine.check_truth().await
}

/// Runs that end well or are killed, with a clock that is right.
async fn runs(runs: Vec<(Vec<i64>, i64, bool, i64)>) -> Result<(), TestCaseError> {
    let mut machine = Machine::start(0).await;
    for (reports, since, killed, off) in runs {
        machine.report_twice(reports, [1, 2], 1).await;
        machine.time += since;
        if killed {
            machine.kill(off, 0).await;
        } else {
            machine.restart(off, 0).await;
        }
    }
    machine.check_outages(MINUTE).await?;
    let all: i64 = machine.down.iter().map(|(began, ended)| ended - began).sum();
    let counted = machine.database.outage_seconds(false).await.unwrap();
    let killed = i64::try_from(machine.down.len()).unwrap() * 62;
    prop_assert!((all / SECOND - 2..=all / SECOND + killed).contains(&counted.cast_signed()));
    // They stay when the stretches beside them are forgotten.
    machine.pass(40 * DAY).await;
    machine.restart(HOUR, 0).await;
    machine.keeper.forget();
    machine.writer.record_clock(&machine.keeper, &[]).await.unwrap();
    machine.check_outages(MINUTE).await
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_derived_follows_the_times_whatever_the_clock_does(
        begin in prop_oneof![Just(0), error()],
        retention in prop::option::of(DAY..40 * DAY),
        events in vec(event(), 1..14),
    ) {
        run(follow(begin, retention, events))?;
    }

    #[test]
    fn a_fault_leaves_every_report_at_its_true_time(
        error in error(),
        before in vec(MINUTE..20 * HOUR, 0..3),
        during in vec(MINUTE..8 * HOUR, 0..3),
    ) {
        run(fault(error, before, during))?;
    }

    #[test]
    fn outages_are_the_times_in_which_no_server_ran(
        lives in vec(
            (vec(MINUTE..20 * HOUR, 0..3), 0..MINUTE, any::<bool>(), 100..3 * DAY),
            1..5
        ),
    ) {
        run(runs(lives))?;
    }

    #[test]
    fn a_clock_that_is_set_after_the_start_leaves_every_report_at_its_true_time(
        error in error(),
        off in MINUTE..20 * DAY,
        during in vec(MINUTE..8 * HOUR, 0..3),
    ) {
        run(wrong_start(error, off, during))?;
    }
}

proptest! {
    // Months pass in each.
    #![proptest_config(ProptestConfig { cases: cases().cases / 3, ..cases() })]

    #[test]
    fn a_fault_after_reports_were_pruned_leaves_every_number_right(
        retention in prop_oneof![DAY..4 * DAY, 4 * DAY..40 * DAY],
        before in vec(HOUR..9 * DAY, 1..7),
        error in error(),
        during in vec(MINUTE..8 * HOUR, 1..3),
    ) {
        run(pruned(retention, before, error, during))?;
    }
}

/// A machine that goes on from the time at which it was switched off, until it finds a time server.
#[test]
fn a_clock_that_stood_still_leaves_every_report_at_its_true_time() {
    for off in [MINUTE, 3 * DAY, 100 * DAY] {
        run(wrong_start(-off, off, vec![MINUTE])).unwrap();
        run(wrong_start(-off - 40 * MINUTE, off, vec![MINUTE])).unwrap();
    }
}

/// A machine that starts 400 days ahead deletes nothing.
#[test]
fn nothing_is_deleted_by_a_clock_that_is_far_ahead() {
    run(async {
        let mut machine = Machine::start(0).await;
        machine.report(1, 1).await;
        machine.pass(30 * HOUR).await;
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        machine.restart(HOUR, 400 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        machine.pass(29 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        machine.pass(2 * DAY).await;
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        Ok(())
    })
    .unwrap();
}

/// An operator's word is enough.
#[test]
fn a_confirmed_clock_is_trusted() {
    run(async {
        let mut machine = Machine::start(0).await;
        machine.report(1, 1).await;
        machine.restart(400 * DAY, 0).await;
        prop_assert_eq!(machine.state(), ClockState::Far);
        prop_assert!(machine.writer.confirm_clock().await.unwrap());
        prop_assert!(machine.writer.is_confirmed(machine.keeper.stretch()).await.unwrap());
        let last = machine.writer.last_report().await.unwrap();
        let reading = machine.reading();
        prop_assert_eq!(machine.keeper.confirm(reading, last).len(), 0);
        prop_assert_eq!(machine.state(), ClockState::Confirmed);
        Ok(())
    })
    .unwrap();
}

/// Reports of 1970 count in all time, and are in no period and active in no window.
#[test]
fn a_report_without_a_date_counts_in_no_period() {
    run(async {
        let now = BEGIN.parse::<Timestamp>().unwrap();
        let mut machine = Machine::start(-now.as_millisecond()).await;
        machine.report(1, 1).await;
        machine.report(1, 1).await;
        machine.keep_house().await;
        prop_assert_eq!(machine.state(), ClockState::Wrong);
        machine.check().await?;
        let totals = machine.database.totals().await.unwrap();
        prop_assert_eq!((totals.starts, totals.instances, totals.returning_instances), (2, 1, 0));
        let active = machine.database.active(now, None).await.unwrap();
        prop_assert!(active.iter().all(|row| row.activity.active == [0; 3]), "{:?}", active);
        machine.pass(10 * MINUTE).await;
        machine.set(0).await;
        machine.check().await?;
        machine.check_truth().await?;
        let active = machine.database.active(machine.now(), None).await.unwrap();
        prop_assert_eq!(active[0].activity.active, [1; 3]);
        machine.pass(30 * HOUR).await;
        let totals = machine.database.totals().await.unwrap();
        prop_assert_eq!(totals.returning_instances, 0);
        Ok(())
    })
    .unwrap();
}
