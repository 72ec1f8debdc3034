//! Measures the real binary under load, beside a reference measured in the same run.
//!
//! ```sh
//! cargo bench --bench load               # everything: about 50 minutes
//! cargo bench --bench load -- ingest     # throughput and memory
//! cargo bench --bench load -- ingest OTHER   # of another binary, such as the static one
//! cargo bench --bench load -- reads 10000 1000000      # made-up histories of these sizes
//! cargo bench --bench load -- reads FILE               # a database that is there
//! cargo bench --bench load -- deployments [REPORTS|FILE]   # each filter; over a database that is there
//! cargo bench --bench load -- deployments make received|imported-later|scattered FILE REPORTS
//! cargo bench --bench load -- panels     # the overview over a fleet of 100,000
//! cargo bench --bench load -- upkeep [REPORTS]         # a correction, a repair, a purge beside reports
//! cargo bench --bench load -- locks [REPORTS [OTHER]]  # time for which commands hold the lock
//! cargo bench --bench load -- compare OTHER [ingest|reads|panels|all] [PAIRS [INSTALLATIONS]]
//! ```
//!
//! `compare` measures this crate's binary and OTHER, such as that of an earlier commit, in ten
//! alternating pairs, over fleets of 100,000.
//!
//! Where `wrk` is installed (Debian: `apt install wrk`), it is a second load generator: it costs a
//! third of the processor time, so that more of it is left to both servers.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]
#![expect(clippy::cast_precision_loss, reason = "figures of three digits")]

mod compare;
mod deployments;
mod fleet;
mod generate;
mod ingest;
mod locks;
mod panels;
mod parse_only;
mod reads;
mod server;
mod upkeep;

use std::{env, path::Path};

use self::{compare::Part, deployments::Order};

/// Installations of the fleet whose panels are measured.
const INSTALLATIONS: u32 = 100_000;
/// Reports of the largest database whose read routes are measured.
const LARGEST: u64 = 10_000_000;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            ingest::run(Path::new(server::OWN));
            reads::run(&[10_000, 1_000_000, LARGEST]);
            deployments::run(LARGEST);
            panels::run(INSTALLATIONS);
        }
        ["ingest"] => ingest::run(Path::new(server::OWN)),
        ["ingest", other] => ingest::run(Path::new(other)),
        ["reads", file] if file.parse::<u64>().is_err() => reads::measure(Path::new(file)),
        ["reads", sizes @ ..] => {
            reads::run(&sizes.iter().map(|size| size.parse().unwrap()).collect::<Vec<_>>());
        }
        ["deployments"] => deployments::run(LARGEST),
        ["deployments", word] => match word.parse() {
            Ok(size) => deployments::run(size),
            Err(_) => deployments::measure(Path::new(word)),
        },
        ["deployments", "make", order, file, size] => {
            let order = Order::from_word(order).unwrap();
            deployments::make(size.parse().unwrap(), order, Path::new(file));
        }
        ["panels"] => panels::run(INSTALLATIONS),
        ["upkeep"] => upkeep::run(1_000_000),
        ["upkeep", size] => upkeep::run(size.parse().unwrap()),
        ["locks"] => locks::run(1_000_000, None),
        ["locks", size] => locks::run(size.parse().unwrap(), None),
        ["locks", size, other] => locks::run(size.parse().unwrap(), Some(Path::new(other))),
        ["compare", other, words @ ..] => {
            let part = words.first().and_then(|word| Part::from_word(word));
            let numbers = &words[usize::from(part.is_some())..];
            let (pairs, installations) = match numbers {
                [] => (10, INSTALLATIONS),
                [pairs] => (pairs.parse().unwrap(), INSTALLATIONS),
                [pairs, installations] => (pairs.parse().unwrap(), installations.parse().unwrap()),
                more => panic!("unknown words {more:?}; see the head of benches/load/main.rs"),
            };
            compare::run(Path::new(other), part.unwrap_or(Part::All), pairs, installations);
        }
        // This program as the load generator, and as the reference server.
        ["generate", address, connections, seconds] => {
            generate::run(address, connections.parse().unwrap(), seconds.parse().unwrap());
        }
        ["parse-only"] => parse_only::serve(),
        other => panic!("unknown words {other:?}; see the head of benches/load/main.rs"),
    }
}

/// The middle one of some figures, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
}
