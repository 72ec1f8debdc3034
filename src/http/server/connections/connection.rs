//! One open connection: in which part of an exchange it is, and whether it may be closed for a new one.

use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Time for which an idle connection is kept. A proxy that keeps it longer may send a report just
/// when it is closed: the report is then lost. Traefik keeps its own for 90 s, Caddy for 2 min,
/// Envoy, the longest of all, for an hour.
pub const IDLE_TIME_LIMIT: Duration = Duration::from_mins(65);
/// Time for the head of a request to arrive.
pub const HEAD_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time for a whole answer, from the end of the request until the client has taken all of it.
pub const ANSWER_TIME_LIMIT: Duration = Duration::from_mins(1);
/// Time that a new connection has for its first request to arrive in full, and an idle one for its next,
/// before it may be closed for another connection. A request follows the connection at once, whatever
/// the distance.
pub(super) const FRESH: Duration = Duration::from_millis(20);
/// Time after which an answer that is not taken may be given up for a new connection. Honest clients wait
/// no longer for their turn.
pub(super) const SLOW: Duration = Duration::from_millis(30);

/// Part of an exchange in which a connection is. They follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests, or before the first one.
    Idle,
    /// Some of a request's head has arrived.
    Head,
    /// The head has arrived, and the body not in full.
    Body,
    /// The request has arrived in full.
    Answer,
    /// The answer was handed over in full, and the client has not taken all of it.
    Leaving,
}

/// Progress of a report that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Its body was not read in full.
    Arriving,
    /// It is being stored, or its answer is under way.
    Arrived,
}

/// State of a connection.
#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    since: Instant,
    /// All bytes of the client were read, and more are awaited. Bytes that nobody has read yet are no
    /// fault of the client.
    awaits_bytes: bool,
    /// The client has to take some of its answer before more is sent.
    awaits_room: bool,
    /// Time at which it left some of the answer for the first time.
    untaken: Option<Instant>,
}

impl State {
    fn new() -> Self {
        Self {
            phase: Phase::Idle,
            since: Instant::now(),
            awaits_bytes: false,
            awaits_room: false,
            untaken: None,
        }
    }

    fn step(&mut self, to: Phase) {
        *self = Self { phase: to, since: Instant::now(), untaken: None, ..*self };
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    /// The client that it counts against; `None` if it counts against none.
    pub(super) client: Option<IpAddr>,
    state: Mutex<State>,
    /// True if the latest request is a report.
    reports: AtomicBool,
    closed: Notify,
}

impl Connection {
    pub(super) fn new(client: Option<IpAddr>) -> Self {
        let state = Mutex::new(State::new());
        Self { client, state, reports: AtomicBool::new(false), closed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, from: Phase, to: Phase) {
        let mut state = self.state();
        if state.phase == from {
            state.step(to);
        }
    }

    /// Some bytes of a request have arrived.
    pub fn receives(&self) {
        self.state().awaits_bytes = false;
        self.step(Phase::Idle, Phase::Head);
    }

    /// All bytes of the client were read.
    pub fn awaits_bytes(&self) {
        self.state().awaits_bytes = true;
    }

    /// The client has taken some of its answer.
    pub fn sends(&self) {
        self.state().awaits_room = false;
    }

    /// The client has not taken enough of its answer for more to be sent.
    pub fn awaits_room(&self) {
        let mut state = self.state();
        state.awaits_room = true;
        state.untaken.get_or_insert_with(Instant::now);
    }

    /// The head of a request has arrived.
    pub fn has_head(&self, is_report: bool) {
        self.reports.store(is_report, Ordering::Relaxed);
        self.state().step(Phase::Body);
    }

    /// The body of the request has arrived, or nobody waits for it.
    pub fn has_body(&self) {
        self.step(Phase::Body, Phase::Answer);
    }

    /// The last bytes of the answer are in the buffer of the connection.
    pub fn is_leaving(&self) {
        // Its time goes on: it is that of the whole answer.
        self.state().phase = Phase::Leaving;
    }

    /// The buffer of the connection is empty.
    pub fn has_left(&self) {
        self.step(Phase::Leaving, Phase::Idle);
    }

    /// The report that is under way.
    pub fn report(&self) -> Option<Progress> {
        let progress = match self.state().phase {
            Phase::Body => Progress::Arriving,
            Phase::Answer | Phase::Leaving => Progress::Arrived,
            Phase::Idle | Phase::Head => return None,
        };
        self.reports.load(Ordering::Relaxed).then_some(progress)
    }

    /// Lets the connection end.
    pub(super) fn close(&self) {
        self.closed.notify_one();
    }

    /// Returns when the connection has to end.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Rank among the connections that may be closed for a new one, lowest first: the longest idle,
    /// then the one whose client is waited for the longest. A proxy's come after others, since it carries
    /// many clients.
    pub(super) fn dispensable(&self, now: Instant) -> Option<(u8, bool, Instant)> {
        let state = *self.state();
        let (rank, waits, since, patience) = match state.phase {
            Phase::Idle => (0, state.awaits_bytes, state.since, FRESH),
            Phase::Head | Phase::Body => (1, state.awaits_bytes, state.since, FRESH),
            Phase::Answer | Phase::Leaving => (1, state.awaits_room, state.untaken?, SLOW),
        };
        (waits && now - since >= patience).then_some((rank, self.client.is_none(), since))
    }

    pub(super) fn is_overdue(&self) -> bool {
        let State { phase, since, .. } = *self.state();
        let limit = match phase {
            Phase::Idle => IDLE_TIME_LIMIT,
            Phase::Head => HEAD_TIME_LIMIT,
            // The request as a whole has a limit, after which there is an answer.
            Phase::Body => return false,
            Phase::Answer | Phase::Leaving => ANSWER_TIME_LIMIT,
        };
        since.elapsed() >= limit
    }
}
