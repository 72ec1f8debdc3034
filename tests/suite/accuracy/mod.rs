//! The table of truth: a made-up world reports through HTTP to a server whose clock is injected, and each
//! number that the server publishes is held to the truth about that world.
//!
//! ```sh
//! cargo test --release --test suite accuracy:: -- --ignored --nocapture     # writes docs/accuracy.md
//! ```

mod adoption;
mod calendar;
mod labels;
mod machine;
mod orders;
mod page;
mod periods;
mod plan;
mod published;
mod row;
mod truth;
mod world;

use jiff::{SignedDuration, Timestamp};
use mattermost_telemetry::simulation::{Clients, Settings};

use self::{
    machine::Machine,
    orders::{Undone, undo},
    plan::{Act, Outage, plan},
    published::{Look, Whole, look},
    row::Row,
    truth::Truth,
    world::World,
};
use crate::support::milliseconds;

/// A world, and the size of the flood.
#[derive(Debug, Clone, Copy)]
struct Size {
    deployments: u32,
    days: i64,
    flood: usize,
    /// Length of a slot of the world, in milliseconds.
    slot: i64,
    seed: u64,
}

impl Size {
    fn settings(self) -> Settings {
        let from: Timestamp = "2026-02-10T00:00:00Z".parse().unwrap();
        let until = from + SignedDuration::from_hours(24 * self.days);
        let (installations, seed) = (self.deployments, self.seed);
        Settings { installations, from, until, seed, clients: Clients::Mixed }
    }
}

/// A world that is over.
struct Outcome {
    looks: Vec<Look>,
    whole: Whole,
    undone: Undone,
    truth: Truth,
    requests: u64,
}

impl Outcome {
    fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        let looks = self.looks.iter().flat_map(|look| {
            look.shown.iter().chain(&look.others).map(move |row| (look.name, row))
        });
        let whole = self.whole.rows().map(|row| ("the whole time", row));
        looks.chain(whole).chain(self.undone.rows())
    }

    /// Holds each number to its tolerance.
    fn check(&self) {
        let wrong: Vec<String> = self
            .rows()
            .filter(|(_, row)| !row.holds())
            .map(|(moment, row)| format!("{moment}: {row}"))
            .collect();
        assert!(wrong.is_empty(), "{} numbers are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Lives through a world. `passed` is called with each day that is over.
async fn live(size: Size, mut passed: impl FnMut(i64)) -> Outcome {
    let settings = size.settings();
    let from = settings.from.as_millisecond();
    let mut world = World::new(settings, size.slot, Outage::of(from));
    let mut machine = Machine::new();
    let mut acts = plan(from, size.days).into_iter().peekable();
    let (mut looks, mut requests, mut day) = (Vec::new(), 0, 0);
    machine.pass_to(from);
    loop {
        let slot = world.next_slot();
        while let Some((at, act)) = acts.next_if(|(at, _)| slot.is_none_or(|slot| *at < slot)) {
            match act {
                Act::Start(ahead) => {
                    machine.pass_to(at);
                    machine.start(ahead).await;
                }
                Act::Stop => {
                    machine.pass_to(at);
                    machine.stop().await;
                }
                Act::Set(ahead) => machine.set(ahead),
                Act::Flood => {
                    machine.pass_to(at);
                    requests += size.flood as u64;
                    machine.send(world.flood(at, size.flood)).await;
                }
                Act::Look(name) => {
                    machine.settle().await;
                    world.truth.pass_to(machine.now());
                    looks.push(look(name, &machine, &world.truth).await);
                }
            }
        }
        let Some(at) = slot else { break };
        let bodies = world.slot(at);
        if !bodies.is_empty() {
            machine.pass_to(at);
            requests += bodies.len() as u64;
            machine.send(bodies).await;
        }
        if day < (at - from) / milliseconds::DAY {
            day = (at - from) / milliseconds::DAY;
            passed(day);
        }
    }
    machine.settle_chores().await;
    let whole = Whole::of(&machine, &world.truth, from).await;
    machine.verify().await;
    let undone = undo(&mut machine, &mut world.truth, from).await;
    machine.verify().await;
    machine.stop().await;
    Outcome { looks, whole, undone, truth: world.truth, requests }
}

/// A month and a half of a hundred deployments. A release comes out after the flood.
async fn small(seed: u64, flood: usize) {
    let size = Size { deployments: 100, days: 38, flood, slot: 2 * milliseconds::HOUR, seed };
    live(size, |_| ()).await.check();
}

#[tokio::test]
async fn the_numbers_of_a_small_world_are_right() {
    small(1, 60).await;
}

#[tokio::test]
async fn the_numbers_of_another_small_world_are_right() {
    small(2, 60).await;
}

#[tokio::test]
async fn the_numbers_of_a_small_world_are_right_beside_a_flood_of_releases() {
    small(3, world::FLOOD_RELEASES + 50).await;
}

/// A year of many deployments. `ACCURACY_DEPLOYMENTS` is another number of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: run it by itself, see docs/accuracy.md"]
async fn the_table_of_truth() {
    let given = std::env::var("ACCURACY_DEPLOYMENTS").ok();
    let deployments = given.map_or(100_000, |given| given.parse().unwrap());
    // A server keeps the unproven values of 100,000 reports: those of the flood, by which it is found, and in
    // a year of 100,000 deployments those of 60,000 reports with releases that wait for their proof.
    let flood = 30_000;
    let slot = 30 * milliseconds::MINUTE;
    let size = Size { deployments, days: 365, flood, slot, seed: 1 };
    let outcome = live(size, |day| eprint!("\rday {day} of {}", size.days)).await;
    eprintln!();
    // A page with a wrong number shows it.
    page::write(size, &outcome);
    outcome.check();
}
