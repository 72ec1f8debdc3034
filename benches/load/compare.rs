//! Comparison of two binaries, this crate's own and another, in alternating pairs: other load on
//! the machine then meets both.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mattermost_telemetry::simulation::panels::{Question, questions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    fleet,
    ingest::{self, Generator},
    median, panels, reads,
    server::{self, Server},
};

const CONNECTIONS: [u32; 3] = [16, 64, 256];
const HISTORIES: [i64; 2] = [90, 365];
const DASHBOARDS: [&str; 2] = ["overview", "startup-time"];
/// Rounds of all questions within one measurement.
const ROUNDS: usize = 5;

/// The parts of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reports a second, memory, and bytes of reports that each have an id of their own.
    Ingest,
    /// `/metrics` over a filled database, and its bytes.
    Reads,
    /// The panels over a filled database.
    Panels,
    All,
}

impl Part {
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "ingest" => Some(Self::Ingest),
            "reads" => Some(Self::Reads),
            "panels" => Some(Self::Panels),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    fn has(self, part: Self) -> bool {
        self == part || self == Self::All
    }
}

/// Prints a line for each figure: the two medians, and the ratio of own to other in the pairs.
pub fn run(other: &Path, part: Part, pairs: usize, installations: u32) {
    // Copies, made alike: the memory of a process depends on how its file lies in the page cache.
    let folder = temporary_folder();
    let binaries = [("own", Path::new(server::OWN)), ("other", other)].map(|(name, binary)| {
        println!("{name:5} {}", binary.display());
        let copy = folder.path().join(name);
        fs::copy(binary, &copy).unwrap();
        copy
    });
    println!("{pairs} pairs; ratios are own / other\n");
    println!("{:62}{:>11}{:>11}{:>8}{:>16}", "figure", "own", "other", "ratio", "min..max");
    if part.has(Part::Ingest) {
        for connections in CONNECTIONS {
            print(&alternate(pairs, |side| measure_ingest(&binaries[side], connections)));
        }
    }
    if part.has(Part::Reads) || part.has(Part::Panels) {
        for days in HISTORIES {
            histories(&binaries, part, pairs, installations, days);
        }
    }
}

fn histories(binaries: &[PathBuf; 2], part: Part, pairs: usize, installations: u32, days: i64) {
    let runtime = Runtime::new().unwrap();
    let until = format!("{:.0}", fleet::now());
    let filled = binaries.each_ref().map(|binary| Filled::new(binary, installations, days, &until));
    if part.has(Part::Reads) {
        let bytes =
            |side: usize| vec![(format!("bytes a report, {days} days"), filled[side].bytes)];
        print(&alternate(1, bytes));
        print(&alternate(pairs, |side| {
            let server = filled[side].serve();
            let url = format!("http://{}/metrics", server.address);
            let (p50, _) = runtime.block_on(reads::time(&url, reads::REQUESTS));
            vec![(format!("/metrics p50 ms, {days} days"), p50)]
        }));
    }
    if part.has(Part::Panels) {
        print(&alternate(pairs, |side| {
            let server = filled[side].serve();
            let mut figures = Vec::new();
            for (dashboard, questions) in &filled[side].questions {
                let panels = runtime.block_on(panels::ask(&server.address, questions, ROUNDS));
                let name = |panel: &str| format!("{dashboard} ms, {days} days: {panel}");
                let panels: Vec<_> = panels
                    .into_iter()
                    .map(|(panel, times)| (name(&panel), median(times)))
                    .collect();
                let sum = panels.iter().map(|(_, time)| time).sum();
                figures.extend(panels);
                figures.push((name("(all)"), sum));
            }
            figures.push((format!("memory MB after panels, {days} days"), server.memory("VmHWM")));
            figures
        }));
    }
}

/// A database that a binary has filled by its own command, with the questions of that binary's own
/// dashboards: series may have other names in the other one.
struct Filled {
    binary: PathBuf,
    folder: TempDir,
    bytes: f64,
    questions: Vec<(&'static str, Vec<Question>)>,
}

impl Filled {
    fn new(binary: &Path, installations: u32, days: i64, until: &str) -> Self {
        eprintln!("{}: {installations} installations over {days} days", binary.display());
        let folder = temporary_folder();
        let file = folder.path().join("telemetry.db");
        let output = server::command(binary, &file)
            .args(["simulate", "--until", until])
            .args(["--instances", &installations.to_string(), "--days", &days.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let reports: u32 = printed.split(' ').find_map(|word| word.parse().ok()).unwrap();
        let bytes = fs::metadata(&file).unwrap().len() as f64 / f64::from(reports);

        let output = server::command(binary, &file)
            .args(["grafana", "provision"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let end = until.parse::<jiff::Timestamp>().unwrap().as_second();
        let questions = DASHBOARDS.map(|name| {
            let path = folder.path().join(format!("dashboards/{name}.json"));
            let dashboard = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            (name, questions(&dashboard, end, days * 86_400).unwrap())
        });
        Self { binary: binary.to_owned(), folder, bytes, questions: questions.into() }
    }

    fn serve(&self) -> Server {
        Server::start_binary(&self.binary, &self.folder.path().join("telemetry.db"))
    }
}

fn measure_ingest(binary: &Path, connections: u32) -> Vec<(String, f64)> {
    let folder = temporary_folder();
    let file = folder.path().join("telemetry.db");
    let server = Server::start_binary(binary, &file);
    let idle = server.memory("VmRSS");
    let load = ingest::load(Generator::Reqwest, &server, connections);
    assert_eq!(load.refused, 0);
    let loaded = server.memory("VmHWM");
    // Stopping empties SQLite's log into the file.
    drop(server);
    let bytes = fs::metadata(&file).unwrap().len();
    let figure = |name: &str, value| (format!("{name}, {connections} connections"), value);
    vec![
        figure("reports a second", load.per_second),
        figure("p99 ms", load.p99_ms),
        figure("memory MB idle", idle),
        figure("memory MB under load", loaded),
        figure("bytes a report, each id new", bytes as f64 / load.reports as f64),
    ]
}

fn temporary_folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The figures of one measurement by their names, in the order in which they are printed.
type Figures = Vec<(String, f64)>;

/// Measures both sides, `0` and `1`, in each pair. The first one is another from pair to pair.
/// Returns the figures of each pair.
fn alternate(pairs: usize, mut measure: impl FnMut(usize) -> Figures) -> Vec<[Figures; 2]> {
    let pair = |number: usize| {
        if number.is_multiple_of(2) {
            let own = measure(0);
            [own, measure(1)]
        } else {
            let other = measure(1);
            [measure(0), other]
        }
    };
    (0..pairs).map(pair).collect()
}

/// Prints each figure that both sides have.
fn print(pairs: &[[Figures; 2]]) {
    let sides: Vec<[BTreeMap<&str, f64>; 2]> = pairs
        .iter()
        .map(|pair| {
            pair.each_ref()
                .map(|figures| figures.iter().map(|(name, value)| (&**name, *value)).collect())
        })
        .collect();
    for (name, _) in pairs.iter().flat_map(|[own, _]| own).take(pairs[0][0].len()) {
        let both: Option<Vec<(f64, f64)>> = sides
            .iter()
            .map(|[own, other]| Some((*own.get(&**name)?, *other.get(&**name)?)))
            .collect();
        let Some(both) = both else {
            println!("{name:62}  only in one of the two");
            continue;
        };
        let ratios: Vec<f64> = both.iter().map(|(own, other)| own / other).collect();
        let (least, most) = (
            ratios.iter().copied().fold(f64::MAX, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
        let (own, other) = both.into_iter().unzip();
        println!(
            "{name:62}{:>11.2}{:>11.2}{:>8.3}{:>16}",
            median(own),
            median(other),
            median(ratios),
            format!("{least:.3}..{most:.3}"),
        );
    }
}
