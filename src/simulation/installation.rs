//! One installation of the made-up fleet: its machine, its habits and its reports.

use jiff::Timestamp;

use super::{Clients, DAY, HOUR, MINUTE, SECOND, random::Random, releases::Releases, rhythm};
use crate::domain::{Dimension, InstanceId, Profile, Report, ReportKind, UNKNOWN, Value};

/// The machine of an installation. A Raspberry Pi starts slowly, and one with 32 bits more so.
#[derive(Debug)]
struct Machine {
    architecture: &'static str,
    /// Median of its startup times, in milliseconds.
    startup_ms: i64,
}

const MACHINES: [(i64, &Machine); 5] = [
    (34, &Machine { architecture: "x86_64", startup_ms: 4_200 }),
    (10, &Machine { architecture: "x86_64", startup_ms: 9_500 }),
    (22, &Machine { architecture: "aarch64", startup_ms: 6_800 }),
    (31, &Machine { architecture: "aarch64", startup_ms: 38_000 }),
    (3, &Machine { architecture: "armv7l", startup_ms: 85_000 }),
];

/// Container runtimes. The stock client finds its runtime on few hosts only.
const RUNTIMES: [(i64, &str); 4] =
    [(78, UNKNOWN), (12, "docker"), (6, "podman"), (4, "kubernetes")];

const DATABASES: [(i64, &str); 2] = [(92, "postgres"), (8, "mysql")];

/// The time from a release to its upgrade.
#[derive(Debug)]
struct Habit {
    /// Shortest and longest time in days; `None` is never.
    upgrades_after: Option<(i64, i64)>,
    /// Days by which its release may be older than the newest at its first report.
    lag: i64,
}

const HABITS: [(i64, &Habit); 4] = [
    (20, &Habit { upgrades_after: Some((0, 4)), lag: 3 }),
    (45, &Habit { upgrades_after: Some((2, 30)), lag: 25 }),
    (23, &Habit { upgrades_after: Some((30, 150)), lag: 150 }),
    (12, &Habit { upgrades_after: None, lag: 500 }),
];

/// The frequency of its starts without an upgrade.
#[derive(Debug)]
struct Temper {
    /// Mean number of days from one start to the next.
    days: i64,
    /// Starts that begin a restart loop, of a thousand.
    loops: i64,
}

const TEMPERS: [(i64, &Temper); 3] = [
    (55, &Temper { days: 9, loops: 4 }),
    (42, &Temper { days: 3, loops: 6 }),
    (3, &Temper { days: 2, loops: 120 }),
];

/// Clients that keep their id, of a thousand.
const KEEPERS: i64 = 420;
/// Those of them that send a heartbeat a day, of a thousand.
const WITH_HEARTBEAT: i64 = 650;
/// Images that do not know their version, of a thousand.
const WITHOUT_VERSION: i64 = 15;
/// Starts that are the last sign of an installation, of a thousand.
const LAST_STARTS: i64 = 8;

/// Time of a report that never comes.
const NEVER: i64 = i64::MAX;

/// One installation of Mattermost: its properties, and its plan of reports.
#[derive(Debug)]
pub struct Installation {
    id: u128,
    machine: &'static Machine,
    runtime: &'static str,
    database: &'static str,
    habit: &'static Habit,
    temper: &'static Temper,
    upgrade_at: i64,
    start_at: i64,
    heartbeat_at: i64,
    release: u16,
    /// Remaining restarts of a loop.
    restarts: u8,
    keeps_id: bool,
    sends_heartbeats: bool,
    knows_version: bool,
}

impl Installation {
    /// An installation that has been running for some time at `from`.
    pub fn present_at(
        from: i64,
        clients: Clients,
        releases: &Releases,
        random: &mut Random,
    ) -> Self {
        let mut new = Self::any(clients, random);
        let lag = random.between(0, new.habit.lag * DAY);
        new.release = releases.newest(from - lag);
        new.plan_upgrade(from, releases, random);
        let wait = new.wait(random);
        let start_at = rhythm::likely(from + random.between(0, wait), random);
        new.start_at = start_at.min(new.upgrade_at);
        if new.sends_heartbeats {
            new.heartbeat_at = from + random.between(0, DAY);
        }
        new
    }

    /// An installation whose first start is at about `at`, with the newest release or one not much
    /// older.
    pub fn new_at(at: i64, clients: Clients, releases: &Releases, random: &mut Random) -> Self {
        let mut new = Self::any(clients, random);
        new.start_at = rhythm::likely(at, random);
        let lag = if random.chance(120) { random.between(0, 90 * DAY) } else { 0 };
        new.release = releases.newest(new.start_at - lag);
        new.plan_upgrade(new.start_at, releases, random);
        new
    }

    fn any(clients: Clients, random: &mut Random) -> Self {
        let keeps_id = random.chance(KEEPERS) && clients == Clients::Mixed;
        Self {
            id: random.id(),
            machine: random.pick(&MACHINES),
            runtime: random.pick(&RUNTIMES),
            database: random.pick(&DATABASES),
            habit: random.pick(&HABITS),
            temper: random.pick(&TEMPERS),
            upgrade_at: NEVER,
            start_at: NEVER,
            heartbeat_at: NEVER,
            release: 0,
            restarts: 0,
            keeps_id,
            sends_heartbeats: keeps_id && random.chance(WITH_HEARTBEAT),
            knows_version: !random.chance(WITHOUT_VERSION),
        }
    }

    /// Time of its next report, if there is one.
    pub fn next(&self) -> Option<i64> {
        Some(self.start_at.min(self.heartbeat_at)).filter(|&at| at < NEVER)
    }

    pub const fn keeps_id(&self) -> bool {
        self.keeps_id
    }

    pub const fn sends_heartbeats(&self) -> bool {
        self.sends_heartbeats
    }

    /// Its report at [`Installation::next`].
    pub fn report(&mut self, at: i64, releases: &Releases, random: &mut Random) -> Report {
        if at < self.start_at {
            self.heartbeat_at = at + DAY;
            return self.says(ReportKind::Heartbeat, None, at, releases, random);
        }
        let upgrades = at >= self.upgrade_at;
        if upgrades {
            self.release = releases.newest(at);
            self.plan_upgrade(at, releases, random);
        }
        if !self.keeps_id {
            self.id = random.id();
        }
        // The first start of a release also migrates the database.
        let startup_ms = random.around(self.machine.startup_ms) * if upgrades { 2 } else { 1 };
        self.plan_start(at, random);
        self.says(ReportKind::Start, Some(startup_ms), at, releases, random)
    }

    fn says(
        &self,
        kind: ReportKind,
        startup_ms: Option<i64>,
        at: i64,
        releases: &Releases,
        random: &mut Random,
    ) -> Report {
        let version = if self.knows_version { releases.version(self.release) } else { UNKNOWN };
        // Clients that keep their id also state the time, and their reports come a little later.
        let said_at = at - random.between(20, 3 * SECOND);
        let profile = Profile::new(|dimension| {
            let value = match dimension {
                Dimension::ImageVersion => version,
                Dimension::Architecture => self.machine.architecture,
                Dimension::Os => "linux",
                Dimension::ContainerRuntime => self.runtime,
                Dimension::DbType => self.database,
                Dimension::TelemetryVersion if self.keeps_id => "1.1",
                Dimension::TelemetryVersion => "1.0",
            };
            Value::parse(dimension, Some(value.to_owned())).unwrap_or_else(Value::unknown)
        });
        Report {
            instance_id: self.written_id(),
            profile,
            kind,
            startup_ms,
            timestamp: Timestamp::from_millisecond(said_at).ok().filter(|_| self.keeps_id),
            report_id: None,
        }
    }

    /// 32 hexadecimal digits, as the stock client writes it, or a UUID.
    fn written_id(&self) -> InstanceId {
        let digits = format!("{:032x}", self.id);
        let id = if self.keeps_id {
            [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]]
                .join("-")
        } else {
            digits
        };
        InstanceId::parse(id).expect("hexadecimal digits are an id")
    }

    fn plan_upgrade(&mut self, at: i64, releases: &Releases, random: &mut Random) {
        self.upgrade_at = match (releases.next(self.release), self.habit.upgrades_after) {
            (Some(out), Some((from, to))) => {
                rhythm::likely(out.max(at) + random.between(from * DAY, to * DAY), random)
            }
            _ => NEVER,
        };
    }

    /// Plans the start after the one at `at`: the next of a restart loop, the first of such a loop,
    /// one after some days, or none.
    fn plan_start(&mut self, at: i64, random: &mut Random) {
        let in_loop = self.restarts > 0;
        if in_loop {
            self.restarts -= 1;
        } else if random.chance(self.temper.loops) {
            self.restarts = u8::try_from(random.between(5, 40)).unwrap_or(u8::MAX);
        }
        if self.restarts > 0 {
            self.start_at = at + random.between(30 * SECOND, 2 * MINUTE);
        } else if random.chance(LAST_STARTS) {
            (self.start_at, self.heartbeat_at) = (NEVER, NEVER);
            return;
        } else {
            let again = rhythm::likely(at + self.wait(random), random);
            self.start_at = again.min(self.upgrade_at.max(at + HOUR));
        }
        if self.sends_heartbeats {
            self.heartbeat_at = at + DAY;
        }
    }

    /// Time from one start to the next.
    fn wait(&self, random: &mut Random) -> i64 {
        random.between(self.temper.days * DAY / 5, self.temper.days * DAY * 9 / 5)
    }
}
