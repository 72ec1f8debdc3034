//! Limits on how often one client and one instance may report. Addresses live here, in
//! memory, and nowhere else.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};
use lru::LruCache;

/// Clients, and instances, that are remembered. The one not seen for longest is forgotten
/// first, and starts anew with its full allowance.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

/// Who has reported too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The client address.
    Client {
        /// When the next report will be taken.
        retry_after: Duration,
    },
    /// The `instance_id`.
    Instance {
        /// When the next report will be taken.
        retry_after: Duration,
    },
}

/// The limits that are in force.
#[derive(Debug)]
pub struct Limits<C: Clock = DefaultClock> {
    clients: Option<Limiter<C>>,
    instances: Option<Limiter<C>>,
}

impl Limits {
    /// Limits in reports a minute from one client and reports an hour from one instance; 0 is
    /// no limit.
    #[must_use]
    pub fn new(client_per_minute: u32, instance_per_hour: u32) -> Self {
        Self::with_clock(client_per_minute, instance_per_hour, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// As [`Limits::new`], by a given clock.
    #[must_use]
    pub fn with_clock(client_per_minute: u32, instance_per_hour: u32, clock: &C) -> Self {
        Self {
            clients: NonZeroU32::new(client_per_minute)
                .map(|limit| Limiter::new(Quota::per_minute(limit), clock.clone())),
            instances: NonZeroU32::new(instance_per_hour)
                .map(|limit| Limiter::new(Quota::per_hour(limit), clock.clone())),
        }
    }

    /// Counts a report against its client: an IPv4 address, or the /64 of an IPv6 one, which
    /// is the least that a single host is given.
    ///
    /// # Errors
    /// [`Limited::Client`] if it has none left.
    pub fn check_client(&self, address: IpAddr) -> Result<(), Limited> {
        let Some(limiter) = &self.clients else { return Ok(()) };
        limiter.check(client(address)).map_err(|retry_after| Limited::Client { retry_after })
    }

    /// Counts a report against its instance.
    ///
    /// # Errors
    /// [`Limited::Instance`] if it has none left.
    pub fn check_instance(&self, instance_id: &str) -> Result<(), Limited> {
        let Some(limiter) = &self.instances else { return Ok(()) };
        limiter.check(instance_id).map_err(|retry_after| Limited::Instance { retry_after })
    }
}

/// What an address is counted as.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A rate limit by key. Keys are hashed with a secret of this process, so that nobody can
/// choose two that collide.
#[derive(Debug)]
struct Limiter<C: Clock> {
    rate: RateLimiter<u64, Remembered, C, NoOpMiddleware<C::Instant>>,
    hasher: RandomState,
}

impl<C: Clock> Limiter<C> {
    fn new(quota: Quota, clock: C) -> Self {
        Self {
            rate: RateLimiter::new(quota, Remembered::default(), clock),
            hasher: RandomState::new(),
        }
    }

    fn check(&self, key: impl Hash) -> Result<(), Duration> {
        self.rate
            .check_key(&self.hasher.hash_one(key))
            .map_err(|until| until.wait_time_from(self.rate.clock().now()))
    }
}

/// The limiter's state by key, bounded: the one thing that the limiter's own stores are not.
struct Remembered(Mutex<LruCache<u64, Nanos>>);

impl Default for Remembered {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered") // Never what it remembers.
    }
}

impl StateStore for Remembered {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (outcome, state) = measure(remembered.get(key).copied())?;
        remembered.put(*key, state);
        Ok(outcome)
    }
}
