//! Open connections: how many there may be, and which one is closed for a new one.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::{sync::Notify, time::Instant};

use crate::ingest::client_network;

/// Connections at a time; more wait in the operating system's queue. Well below the usual limit
/// of 1024 open files, of which the database needs some.
pub const CONNECTIONS: usize = 768;
/// Connections of one address (IPv6: one /64) at a time. A browser opens six.
pub const OF_ONE_ADDRESS: usize = 64;
/// Time for which an idle connection is kept. A proxy that keeps it longer may send a report just
/// when it is closed: the report is then lost. Traefik keeps its own for 90 s, Caddy for 2 min,
/// Envoy, the longest of all, for an hour.
pub const IDLE_TIME_LIMIT: Duration = Duration::from_mins(65);
/// Time for the head of a request to arrive.
pub const HEAD_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time for a whole answer, from the end of the request until the client has taken all of it.
pub const ANSWER_TIME_LIMIT: Duration = Duration::from_mins(1);
/// Time that a new connection has for its first bytes, and an idle one for its next request, before it may
/// be closed for another connection. They follow the connection at once, whatever the distance.
const FRESH: Duration = Duration::from_millis(20);
/// Time after which a request that does not arrive, or an answer that is not taken, may be given up for a
/// new connection. Honest clients wait no longer for their turn.
const SLOW: Duration = Duration::from_millis(100);

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
    client: Option<IpAddr>,
    state: Mutex<State>,
    /// True if the latest request is a report.
    reports: AtomicBool,
    closed: Notify,
}

impl Connection {
    fn new(client: Option<IpAddr>) -> Self {
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

    /// Returns when the connection has to end.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Rank among the connections that may be closed for a new one, lowest first: the longest idle,
    /// then the one whose client is waited for the longest. A proxy's come after others, since it carries
    /// many clients.
    fn dispensable(&self, now: Instant) -> Option<(u8, bool, Instant)> {
        let state = *self.state();
        let (rank, waits, since, patience) = match state.phase {
            Phase::Idle => (0, state.awaits_bytes, state.since, FRESH),
            Phase::Head | Phase::Body => (1, state.awaits_bytes, state.since, SLOW),
            Phase::Answer | Phase::Leaving => (1, state.awaits_room, state.untaken?, SLOW),
        };
        (waits && now - since >= patience).then_some((rank, self.client.is_none(), since))
    }

    fn is_overdue(&self) -> bool {
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

/// Reason for which there is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All connections are at work.
    All,
    /// All connections of the address are at work.
    Address,
}

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    proxies: Vec<IpNet>,
    open: Mutex<Vec<Arc<Connection>>>,
    room: Notify,
}

impl Connections {
    /// None so far. An address of one of the networks `proxies` may open any number, as may a
    /// private address: it is most likely a proxy, too.
    pub fn new(proxies: Vec<IpNet>) -> Self {
        Self { proxies, open: Mutex::default(), room: Notify::new() }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. One that is dispensable is closed if there is no room otherwise.
    pub fn add(&self, peer: IpAddr) -> Result<Arc<Connection>, Full> {
        let client = self.client(peer.to_canonical());
        let mut open = self.open();
        let same = |connection: &Connection| client.is_some() && connection.client == client;
        if open.iter().filter(|connection| same(connection)).count() >= OF_ONE_ADDRESS {
            close_one(&mut open, same).ok_or(Full::Address)?;
        } else if open.len() >= CONNECTIONS {
            close_one(&mut open, |_| true).ok_or(Full::All)?;
        }
        let connection = Arc::new(Connection::new(client));
        open.push(Arc::clone(&connection));
        Ok(connection)
    }

    /// Removes a connection that has ended.
    pub fn remove(&self, ended: &Arc<Connection>) {
        self.open().retain(|connection| !Arc::ptr_eq(connection, ended));
        self.room.notify_one();
    }

    /// Returns when a connection has ended since the last call.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Closes the connections whose time is over.
    pub fn close_overdue(&self) {
        let open = self.open();
        let overdue = open.iter().filter(|connection| connection.is_overdue());
        overdue.for_each(|connection| connection.closed.notify_one());
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// The client that an address counts against.
    fn client(&self, address: IpAddr) -> Option<IpAddr> {
        let near = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local()
            }
        };
        if near || self.proxies.iter().any(|network| network.contains(&address)) {
            return None;
        }
        Some(client_network(address))
    }
}

/// Closes the most dispensable of some connections.
fn close_one(open: &mut Vec<Arc<Connection>>, among: impl Fn(&Connection) -> bool) -> Option<()> {
    let now = Instant::now();
    let candidates = open.iter().enumerate().filter(|(_, connection)| among(connection));
    let (position, _) = candidates
        .filter_map(|(position, connection)| Some((position, connection.dispensable(now)?)))
        .min_by_key(|(_, rank)| *rank)?;
    open.swap_remove(position).closed.notify_one();
    Some(())
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PROXY: &str = "198.51.100.7";

    fn connections() -> Connections {
        Connections::new(vec![format!("{PROXY}/32").parse().unwrap()])
    }

    fn open(connections: &Connections, address: &str) -> Result<Arc<Connection>, Full> {
        let connection = connections.add(address.parse().unwrap())?;
        connection.awaits_bytes();
        Ok(connection)
    }

    fn work_on(connection: &Connection) {
        connection.receives();
        connection.has_head(false);
        connection.has_body();
    }

    /// Opens connections that are at work.
    fn work(connections: &Connections, address: &str, number: usize) -> Vec<Arc<Connection>> {
        let work = |_| {
            let connection = open(connections, address).unwrap();
            work_on(&connection);
            connection
        };
        (0..number).map(work).collect()
    }

    fn is_open(connections: &Connections, connection: &Arc<Connection>) -> bool {
        connections.open().iter().any(|open| Arc::ptr_eq(open, connection))
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_makes_room() {
        let connections = connections();
        let oldest = open(&connections, "10.0.0.1").unwrap();
        advance(Duration::from_secs(1)).await;
        let older = open(&connections, "10.0.0.1").unwrap();
        advance(Duration::from_secs(1)).await;
        // It has been of use since.
        work_on(&oldest);
        oldest.is_leaving();
        oldest.has_left();
        oldest.awaits_bytes();
        work(&connections, "10.0.0.1", CONNECTIONS - 2);
        let new = open(&connections, "10.0.0.1").unwrap();
        assert!(!is_open(&connections, &older));
        assert!(is_open(&connections, &oldest) && is_open(&connections, &new));
        older.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_arrive_makes_room_and_one_that_did_does_not() {
        let connections = connections();
        work(&connections, "10.0.0.1", CONNECTIONS - 1);
        let slow = open(&connections, "10.0.0.1").unwrap();
        slow.receives();
        slow.awaits_bytes();
        assert_eq!(open(&connections, "10.0.0.1").unwrap_err(), Full::All);
        advance(SLOW).await;
        let new = open(&connections, "10.0.0.1").unwrap();
        assert!(!is_open(&connections, &slow));
        work_on(&new);
        advance(SLOW).await;
        assert_eq!(open(&connections, "10.0.0.1").unwrap_err(), Full::All);
        connections.remove(&new);
        connections.room().await;
        open(&connections, "10.0.0.1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_makes_room_and_one_that_is_does_not() {
        let connections = connections();
        let working = work(&connections, "10.0.0.1", CONNECTIONS);
        for connection in &working[..2] {
            connection.awaits_room();
            connection.awaits_bytes();
        }
        advance(SLOW).await;
        working[0].sends();
        open(&connections, "10.0.0.1").unwrap();
        assert!(is_open(&connections, &working[0]) && !is_open(&connections, &working[1]));
        assert_eq!(open(&connections, "10.0.0.1").unwrap_err(), Full::All);
    }

    /// The bytes of a request may be there, and wait for a thread.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_not_read_yet_does_not_make_room() {
        let connections = connections();
        work(&connections, "10.0.0.1", CONNECTIONS - 1);
        let new = connections.add("10.0.0.1".parse().unwrap()).unwrap();
        advance(Duration::from_secs(1)).await;
        assert_eq!(open(&connections, "10.0.0.1").unwrap_err(), Full::All);
        new.awaits_bytes();
        open(&connections, "10.0.0.1").unwrap();
        assert!(!is_open(&connections, &new));
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_no_more_than_its_share() {
        let connections = connections();
        // Hosts of one network, as an IPv6 client has 2^64 addresses.
        let own: Vec<_> = (0..OF_ONE_ADDRESS)
            .map(|host| open(&connections, &format!("2001:db8::{host:x}")).unwrap())
            .collect();
        let other = open(&connections, "2001:db8:0:1::1").unwrap();
        advance(FRESH).await;
        open(&connections, "2001:db8::ffff").unwrap();
        assert!(!is_open(&connections, &own[0]) && is_open(&connections, &other));
        own.iter().for_each(|connection| work_on(connection));
        let last = connections.open().last().cloned().unwrap();
        work_on(&last);
        assert_eq!(open(&connections, "2001:db8::1").unwrap_err(), Full::Address);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_and_a_neighbour_have_as_many_as_there_are() {
        for address in [PROXY, "::ffff:198.51.100.7", "172.17.0.1", "127.0.0.1", "fd00::1", "::1"] {
            let connections = connections();
            work(&connections, address, CONNECTIONS);
            assert_eq!(open(&connections, address).unwrap_err(), Full::All, "{address}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_does_not_displace_a_proxy() {
        let connections = connections();
        let proxy = open(&connections, PROXY).unwrap();
        advance(Duration::from_secs(1)).await;
        let stranger = open(&connections, "192.0.2.1").unwrap();
        advance(FRESH).await;
        work(&connections, "10.0.0.1", CONNECTIONS - 2);
        open(&connections, "192.0.2.2").unwrap();
        assert!(is_open(&connections, &proxy) && !is_open(&connections, &stranger));
    }
}
