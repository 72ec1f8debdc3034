//! A trial: the server, an honest client beside an attack, and the judgement afterwards.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{
    Pid, Resource, Rlimit, getpid, getrlimit, prlimit, setpriority_process, setrlimit,
};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use super::raw;
use crate::support::{Server, named_binary};

/// Memory of the server at its highest, in kB.
const MEMORY_KB: u64 = 64 * 1024;
/// Time in which 99 of 100 honest reports are answered.
const P99: Duration = Duration::from_millis(100);
/// Time after which the stock client gives up.
const GIVES_UP: Duration = Duration::from_secs(10);
/// Time between two honest reports, whatever becomes of them.
const PACE: Duration = Duration::from_millis(10);
/// Honest reports that are sent beside an attack, at least.
pub const REPORTS: usize = 400;
/// Time of a whole trial.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// Paths that a health check and a scraper ask, in turn, after so many honest reports.
const CHECKS: [&str; 2] = ["/ready", "/metrics"];
const REPORTS_A_CHECK: usize = 2;
/// Address of the honest client. Attacks come from others.
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// Files that a process may usually have open. The server has to do with them.
const USUAL_FILES: u64 = 1024;
/// Files that an attack needs.
const FILES: u64 = 4096;

/// A server, an honest client that reports at a steady pace, and what happened so far.
pub struct Trial {
    pub address: SocketAddr,
    pub tally: Tally,
    server: Server,
    folder: TempDir,
    before: u64,
    sent: watch::Receiver<usize>,
    stop: oneshot::Sender<()>,
    honest: thread::JoinHandle<Answers>,
    /// One trial at a time: each measures time and memory.
    _turn: fs::File,
}

/// Statuses of answers, and the time that each took. A status of 0 is no answer at all.
type Times = Vec<(u16, Duration)>;

/// Answers to an honest client.
#[derive(Debug, Default)]
struct Answers {
    reports: Times,
    checks: Times,
}

/// Statuses of the answers to an attack, and how often each came.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<u16, u64>>>);

impl Tally {
    /// Counts an answer. A connection that was closed without one has none.
    pub fn add(&self, status: Option<u16>) {
        self.add_many(status, 1);
    }

    pub fn add_many(&self, status: Option<u16>, times: u64) {
        *self.0.lock().unwrap().entry(status.unwrap_or_default()).or_default() += times;
    }

    pub fn of(&self, status: u16) -> u64 {
        self.0.lock().unwrap().get(&status).copied().unwrap_or_default()
    }

    pub fn total(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }
}

impl Trial {
    /// Starts a server on an empty database.
    pub async fn begin() -> Self {
        Self::begin_with(|_, _| ()).await
    }

    /// Starts a server by a command that `change` completes; it may also fill the database.
    pub async fn begin_with(change: impl FnOnce(&mut Command, &Path)) -> Self {
        let turn = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("abuse")).unwrap();
        turn.lock().unwrap();
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("telemetry.db");
        let mut command = named_binary();
        command.env("DATABASE_URL", format!("sqlite://{}", database.display()));
        // In force, and not reached by the honest client.
        command.env("RATE_LIMIT_PER_MINUTE", "100000").env("INSTANCE_RATE_LIMIT_PER_HOUR", "60");
        change(&mut command, &database);
        let server = Server::start_command(&mut command);
        limit_files(&server);
        let address = server.address;
        let before = starts(address).await;
        let (stop, stopped) = oneshot::channel();
        let (sending, sent) = watch::channel(0);
        // Its own thread, so that the attack's own work does not count as the server's.
        let attackers = threads();
        let honest = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(report_until(stopped, address, &sending))
        });
        yield_to_others(&attackers);
        let tally = Tally::default();
        Self { address, tally, server, folder, before, sent, stop, honest, _turn: turn }
    }

    /// Returns when the honest client has sent so many more reports.
    pub async fn honest_reports(&self, more: usize) {
        let mut sent = self.sent.clone();
        let wanted = *sent.borrow() + more;
        let reached = sent.wait_for(|sent| *sent >= wanted);
        timeout(TIME_LIMIT, reached).await.expect("the honest client is held up").unwrap();
    }

    /// Returns when the honest client has sent so many more reports, and so many parts of the attack were
    /// dealt with.
    pub async fn honest_reports_and(&self, more: usize, attacks: usize) {
        let begun = Instant::now();
        self.honest_reports(more).await;
        while self.tally.total() < attacks as u64 {
            assert!(begun.elapsed() < TIME_LIMIT, "the server does not deal with the attack");
            self.honest_reports(1).await;
        }
    }

    /// Ends the attack and judges. Each answer with 200 to a report of the attack is in `acknowledged`.
    pub async fn judge(self, name: &str, acknowledged: u64) {
        let _ = self.stop.send(());
        let answers = self.honest.join().unwrap();
        let reports = Spread::of(&answers.reports);
        let checks = Spread::of(&answers.checks);
        let memory = peak_memory(self.server.pid());
        let tally = self.tally.0.lock().unwrap().clone();
        println!(
            "{name}: {reports}; {checks} of {CHECKS:?}; memory {} MB, answers to the attack by \
             status (0: closed) {tally:?}",
            memory / 1024,
        );
        for (kind, answers) in [("reports", &answers.reports), ("checks", &answers.checks)] {
            let refused: Vec<_> = answers.iter().filter(|(status, _)| *status != 200).collect();
            assert!(refused.is_empty(), "{} {kind} refused: {refused:?}", refused.len());
        }
        let stored = starts(self.address).await - self.before;
        assert_eq!(stored, answers.reports.len() as u64 + acknowledged, "stored, and acknowledged");
        let (status, log) = self.server.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
        let database = format!("sqlite://{}/telemetry.db", self.folder.path().display());
        let verified =
            named_binary().args(["verify", "--database-url", &database]).output().unwrap();
        let verdict = String::from_utf8(verified.stdout).unwrap();
        assert!(verified.status.success() && verdict.ends_with("\nclean\n"), "{verdict}");
        let broken = tally.keys().filter(|status| **status >= 500 && **status != 503);
        assert_eq!(broken.count(), 0, "{tally:?}");
        assert!(memory <= MEMORY_KB, "{memory} kB");
        assert!(reports.p99 <= P99 && checks.p99 <= P99, "{reports}; {checks}");
    }
}

/// Spread of the times of some answers.
struct Spread {
    number: usize,
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

impl Spread {
    fn of(answers: &Times) -> Self {
        let mut times: Vec<_> = answers.iter().map(|(_, time)| *time).collect();
        times.sort();
        let number = times.len();
        let (p50, p99) = (times[number / 2], times[number * 99 / 100]);
        Self { number, p50, p99, longest: times[number - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, p50, p99, longest } = self;
        write!(formatter, "{number}, p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}")
    }
}

/// Gives the server as many files as it usually has, and this process as many as an attack needs.
fn limit_files(server: &Server) {
    let own = getrlimit(Resource::Nofile);
    let usual = Rlimit { current: Some(USUAL_FILES), maximum: own.maximum };
    let process = Pid::from_raw(server.pid().try_into().unwrap());
    prlimit(process, Resource::Nofile, usual).unwrap();
    if own.current.is_some_and(|current| current < FILES) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: own.maximum }).unwrap();
    }
}

/// The threads of this process, but for the first one, which starts those of the next trial.
fn threads() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let threads = names.map(|name| Pid::from_raw(name.parse().unwrap()).unwrap());
    threads.filter(|thread| *thread != getpid()).collect()
}

/// Lets the threads of the attack use what the server and the honest client leave of the processors: an
/// attack comes from other machines.
fn yield_to_others(attackers: &[Pid]) {
    const LEAST: i32 = 19;
    for thread in attackers {
        // A thread of another test may just have ended.
        let _ = setpriority_process(Some(*thread), LEAST);
    }
}

/// Sends a report at each tick, in a connection of its own as the stock client does, and checks now and then.
async fn report_until(
    mut stopped: oneshot::Receiver<()>,
    address: SocketAddr,
    sent: &watch::Sender<usize>,
) -> Answers {
    let mut tick = interval(PACE);
    let (mut reports, mut checks) = (JoinSet::new(), JoinSet::new());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = &mut stopped => break,
        }
        let number = *sent.borrow();
        reports.spawn(async move {
            let id = format!("h{number}");
            timed(raw::report(address, HONEST, &id)).await
        });
        if number.is_multiple_of(REPORTS_A_CHECK) {
            let path = CHECKS[number / REPORTS_A_CHECK % CHECKS.len()];
            checks.spawn(timed(async move {
                raw::status(&raw::exchange(address, HONEST, &raw::get(path)).await.ok()?)
            }));
        }
        sent.send_replace(number + 1);
    }
    Answers { reports: reports.join_all().await, checks: checks.join_all().await }
}

/// Status of an exchange, and the time that it took.
async fn timed(exchange: impl Future<Output = Option<u16>>) -> (u16, Duration) {
    let begun = Instant::now();
    let status = timeout(GIVES_UP, exchange).await;
    (status.ok().flatten().unwrap_or_default(), begun.elapsed())
}

/// The highest that the memory of a process was, in kB.
fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Starts that the server has counted.
async fn starts(address: SocketAddr) -> u64 {
    let answer = raw::exchange(address, HONEST, &raw::get("/metrics")).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["total_deployments"].as_u64().unwrap()
}
