//! The flood is put into quarantine, comes back, is taken out again, and labels are decided anew.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    machine::Machine,
    plan::FLOOD_DAY,
    published::{Whole, look},
    row::{Row, Tolerance, number},
    truth::Truth,
    world::FLOOD_OS,
};
use crate::support::milliseconds::DAY;

/// Numbers after each order.
pub struct Undone {
    /// Reports that the preview names.
    pub preview: Row,
    pub before: Vec<Row>,
    pub quarantined: Vec<Row>,
    pub lifted: Vec<Row>,
    pub repaired: Vec<Row>,
}

impl Undone {
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        let Self { preview, quarantined, lifted, repaired, .. } = self;
        let quarantined = quarantined.iter().chain([preview]).map(|row| ("quarantined", row));
        let lifted = lifted.iter().map(|row| ("quarantine lifted", row));
        quarantined.chain(lifted).chain(repaired.iter().map(|row| ("repaired", row)))
    }

    /// A line for each number that was not what it is now.
    pub fn lines(&self) -> String {
        let by_name = |rows: &'_ [Row]| -> BTreeMap<String, f64> {
            rows.iter().map(|row| (row.name.clone(), row.published)).collect()
        };
        let (before, quarantined) = (by_name(&self.before), by_name(&self.quarantined));
        let mut lines = Vec::new();
        for row in &self.repaired {
            let Row { name, published, truth, .. } = row;
            let [before, quarantined] = [&before, &quarantined].map(|rows| rows.get(name).copied());
            let cells = [before, quarantined, Some(*published), Some(*truth)];
            if before != Some(*published) {
                let cells = cells.map(|cell| cell.map_or_else(String::new, number));
                let wrong = if row.holds() { "" } else { ": **wrong**" };
                lines.push(format!("| {name} | {}{wrong} |", cells.join(" | ")));
            }
        }
        lines.join("\n")
    }
}

pub async fn undo(machine: &mut Machine, truth: &mut Truth, from: i64) -> Undone {
    let day = |day: i64| Timestamp::from_millisecond(from + day * DAY).unwrap().to_string();
    let value = format!("os={FLOOD_OS}");
    let (since, until) = (day(FLOOD_DAY), day(FLOOD_DAY + 1));
    let spam = ["quarantine", "--value", &value, "--from", &since, "--until", &until];
    let apply = [&spam[..], &["--apply"]].concat();
    let before = numbers(machine, truth, from).await;
    let preview = machine.command(&spam).await;
    let named = preview.split(' ').next().unwrap().parse().unwrap();
    let name = "reports that the preview of the quarantine names";
    let preview = Row::new(name, named, truth.made_up(), Tolerance::Exact);

    machine.command(&apply).await;
    truth.count_flood(false);
    let quarantined = numbers(machine, truth, from).await;
    machine.verify().await;

    machine.command(&["quarantine", "lift", "1"]).await;
    truth.count_flood(true);
    let lifted = numbers(machine, truth, from).await;
    machine.verify().await;

    machine.command(&apply).await;
    machine.repair().await;
    truth.count_flood(false);
    truth.labels.repair();
    let repaired = numbers(machine, truth, from).await;
    Undone { preview, before, quarantined, lifted, repaired }
}

/// All numbers, but for the adoption of versions.
async fn numbers(machine: &mut Machine, truth: &Truth, from: i64) -> Vec<Row> {
    machine.settle_chores().await;
    let look = look("", machine, truth).await;
    let whole = Whole { adoption: Vec::new(), ..Whole::of(machine, truth, from).await };
    look.shown.into_iter().chain(look.others).chain(whole.rows().cloned()).collect()
}
