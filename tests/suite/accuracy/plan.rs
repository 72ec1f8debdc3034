//! The faults of the server, at fixed days of a world.

use crate::support::milliseconds::{DAY, HOUR, MINUTE};

/// Days of the shortest world: all faults lie in it.
pub const SHORTEST: i64 = 30;

/// Something that happens to the server, between two slots.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// It starts, on a machine whose clock is ahead by so much.
    Start(i64),
    Stop,
    /// The clock of the machine steps: it is ahead by so much from now on.
    Set(i64),
    Flood,
    /// Its numbers are held to the truth.
    Look(&'static str),
}

/// The time in which the server is down.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub from: i64,
    pub until: i64,
}

impl Outage {
    pub fn of(from: i64) -> Self {
        Self { from: from + 20 * DAY, until: from + 22 * DAY }
    }

    pub fn covers(self, time: i64) -> bool {
        (self.from..self.until).contains(&time)
    }

    /// Length of the part of it between two moments.
    pub fn within(self, from: i64, until: i64) -> u64 {
        (self.until.min(until) - self.from.max(from)).max(0).unsigned_abs()
    }
}

/// Day of the flood.
pub const FLOOD_DAY: i64 = 25;

/// Times in which the server is down, as the plan has them.
pub fn down(from: i64, days: i64) -> Vec<Outage> {
    let (mut down, mut stopped) = (Vec::new(), None);
    for (at, act) in plan(from, days) {
        match act {
            Act::Stop => stopped = Some(at),
            Act::Start(_) => {
                down.extend(stopped.take().map(|from| Outage { from, until: at }));
            }
            _ => {}
        }
    }
    down
}

/// Acts in a world of some days, in the order of time.
pub fn plan(from: i64, days: i64) -> Vec<(i64, Act)> {
    use Act::{Flood, Look, Set, Start, Stop};
    assert!(days >= SHORTEST);
    let at = |day: i64, time: i64| from + day * DAY + time;
    let in_1970 = |moment: i64| -moment;
    let outage = Outage::of(from);
    vec![
        (at(0, 0), Start(in_1970(from))),
        (at(0, 5 * HOUR), Set(0)),
        (at(1, 0), Look("first start in 1970, set right after five hours")),
        (at(4, 10 * HOUR), Set(400 * DAY)),
        (at(4, 13 * HOUR), Set(0)),
        (at(5, 0), Look("400 days ahead for three hours")),
        (at(7, 9 * HOUR), Set(-2 * HOUR)),
        (at(7, 13 * HOUR), Set(0)),
        (at(8, 0), Look("two hours behind for four hours")),
        (at(11, 6 * HOUR), Stop),
        (at(11, 6 * HOUR + 10 * MINUTE), Start(3 * DAY)),
        (at(11, 12 * HOUR), Set(0)),
        (at(12, 0), Look("restart three days ahead, set right after six hours")),
        (at(15, 6 * HOUR), Stop),
        (at(15, 6 * HOUR + 10 * MINUTE), Start(-10 * MINUTE)),
        (at(15, 7 * HOUR), Set(0)),
        (at(16, 0), Look("restart with a clock that stood still, set right after an hour")),
        (at(18, 6 * HOUR), Stop),
        (at(18, 6 * HOUR + 10 * MINUTE), Start(in_1970(at(18, 6 * HOUR)))),
        (at(18, 8 * HOUR), Set(0)),
        (at(19, 0), Look("restart in 1970, set right after two hours")),
        (outage.from, Stop),
        (outage.until, Start(0)),
        (at(22, 6 * HOUR), Look("six hours after an outage of two days")),
        (at(FLOOD_DAY, 12 * HOUR), Flood),
        (at(FLOOD_DAY + 1, 0), Look("twelve hours after a flood of made-up reports")),
        (at(days, 0), Look("the end")),
    ]
}
