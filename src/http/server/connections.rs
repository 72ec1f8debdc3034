//! Open connections: how many there may be, and which one is closed for a new one.

pub mod connection;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tokio::{sync::Notify, time::Instant};

pub use self::connection::{Connection, Progress};
use crate::ingest::client_network;

/// Connections at a time; more wait in the operating system's queue. Well below the usual limit
/// of 1024 open files, of which the database needs some.
pub const CONNECTIONS: usize = 768;
/// Connections of one address (IPv6: one /64) at a time. A browser opens six.
pub const OF_ONE_ADDRESS: usize = 64;
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
        overdue.for_each(|connection| connection.close());
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
    open.swap_remove(position).close();
    Some(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{
        connection::{FRESH, SLOW},
        *,
    };

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
        advance(FRESH).await;
        let new = open(&connections, "10.0.0.1").unwrap();
        assert!(!is_open(&connections, &slow));
        work_on(&new);
        advance(FRESH).await;
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
