//! Limits on the reports of one client and of one instance. Of client addresses
//! only keyed hashes are kept, in memory.

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
    state::{InMemoryState, NotKeyed, StateStore},
};
use lru::LruCache;

/// Number of clients, and of instances, that are remembered. The one not seen for longest is
/// forgotten first and starts again with its full allowance.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

/// Reports a minute from all clients together whose address a proxy hides, unless one client alone may
/// send more. Their instances have a limit each, but ids cost nothing, so this is what bounds a flood:
/// 100 reports a second are far below what the server stores. A fleet of 12,000 that restarts within
/// two minutes is not refused; as many as the bound may come at once.
const HIDDEN_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6_000).expect("not zero");

/// The sender that has reported too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The client address.
    Client {
        /// Time until the next report is accepted.
        retry_after: Duration,
    },
    /// The `instance_id`.
    Instance {
        /// Time until the next report is accepted.
        retry_after: Duration,
    },
    /// The clients whose address a proxy hides, together.
    Hidden {
        /// Time until the next report is accepted.
        retry_after: Duration,
    },
}

/// The limits that are in force.
#[derive(Debug)]
pub struct Limits<C: Clock = DefaultClock> {
    clients: Option<Limiter<C>>,
    instances: Option<Limiter<C>>,
    hidden: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
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
    /// Limits as by [`Limits::new`], with a given clock.
    #[must_use]
    pub fn with_clock(client_per_minute: u32, instance_per_hour: u32, clock: &C) -> Self {
        Self {
            clients: NonZeroU32::new(client_per_minute)
                .map(|limit| Limiter::new(Quota::per_minute(limit), REMEMBERED, clock.clone())),
            instances: NonZeroU32::new(instance_per_hour)
                .map(|limit| Limiter::new(Quota::per_hour(limit), REMEMBERED, clock.clone())),
            hidden: NonZeroU32::new(client_per_minute).map(|limit| {
                let quota = Quota::per_minute(limit.max(HIDDEN_PER_MINUTE));
                RateLimiter::direct_with_clock(quota, clock.clone())
            }),
        }
    }

    /// Counts a report against its client; see [`client_network`].
    ///
    /// # Errors
    /// [`Limited::Client`] if it has none left.
    pub fn check_client(&self, address: IpAddr) -> Result<(), Limited> {
        let Some(limiter) = &self.clients else { return Ok(()) };
        limiter
            .check(client_network(address))
            .map_err(|retry_after| Limited::Client { retry_after })
    }

    /// Counts a report against all clients whose address a proxy hides.
    ///
    /// # Errors
    /// [`Limited::Hidden`] if they have none left.
    pub fn check_hidden(&self) -> Result<(), Limited> {
        let Some(limiter) = &self.hidden else { return Ok(()) };
        limiter.check().map_err(|until| Limited::Hidden {
            retry_after: until.wait_time_from(limiter.clock().now()),
        })
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

/// The client that an address stands for: an IPv4 address, or the first one of an IPv6 /64, which is
/// the smallest network that a host gets.
#[must_use]
pub fn client_network(address: IpAddr) -> IpAddr {
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
pub struct Limiter<C: Clock = DefaultClock> {
    rate: RateLimiter<u64, Remembered, C, NoOpMiddleware<C::Instant>>,
    hasher: RandomState,
}

impl<C: Clock> Limiter<C> {
    /// A limit on each of so many keys.
    pub fn new(quota: Quota, remembered: NonZeroUsize, clock: C) -> Self {
        let remembered = Remembered(Mutex::new(LruCache::new(remembered)));
        Self { rate: RateLimiter::new(quota, remembered, clock), hasher: RandomState::new() }
    }

    /// Counts against a key.
    ///
    /// # Errors
    /// The time until it has some left.
    pub fn check(&self, key: impl Hash) -> Result<(), Duration> {
        self.rate
            .check_key(&self.hasher.hash_one(key))
            .map_err(|until| until.wait_time_from(self.rate.clock().now()))
    }
}

/// The limiter's state by key. It is bounded, unlike the limiter's own stores.
struct Remembered(Mutex<LruCache<u64, Nanos>>);

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered") // The keys are client addresses.
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

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_bounded() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(1, 1, &clock);
        let client = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(limits.check_client(client(0)).is_ok());
        assert!(limits.check_client(client(0)).is_err());
        let many = u32::try_from(REMEMBERED.get()).unwrap();
        for number in 1..=many {
            assert!(limits.check_client(client(number)).is_ok());
        }
        // The one not seen for longest was forgotten, and is let in again.
        assert!(limits.check_client(client(0)).is_ok());
        assert!(limits.check_client(client(many)).is_err());
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(6, 0, &clock);
        let address = IpAddr::from([192, 0, 2, 1]);
        while limits.check_client(address).is_ok() {}
        let Err(Limited::Client { retry_after }) = limits.check_client(address) else {
            panic!("not limited");
        };
        assert_eq!(retry_after, Duration::from_secs(10));
        clock.advance(Duration::from_millis(9_999));
        assert!(limits.check_client(address).is_err());
        clock.advance(Duration::from_millis(1));
        assert!(limits.check_client(address).is_ok());
    }

    #[test]
    fn hidden_clients_share_a_bound_that_is_never_below_that_of_one() {
        for (client_per_minute, bound) in [(1, 6_000), (120, 6_000), (9_000, 9_000)] {
            let clock = FakeRelativeClock::default();
            let limits = Limits::with_clock(client_per_minute, 0, &clock);
            for _ in 0..bound {
                assert_eq!(limits.check_hidden(), Ok(()));
            }
            let Err(Limited::Hidden { retry_after }) = limits.check_hidden() else {
                panic!("not limited");
            };
            clock.advance(retry_after);
            assert_eq!(limits.check_hidden(), Ok(()));
            assert!(limits.check_hidden().is_err());
            // The bound of a client that is known is another one.
            assert_eq!(limits.check_client(IpAddr::from([192, 0, 2, 1])), Ok(()));
        }
    }

    proptest! {
        /// The burst and the allowance earned since then bound the reports that are let in,
        /// in any distribution over time.
        #[test]
        fn no_more_than_the_limit(limit in 1..50u32, gaps in prop::collection::vec(0..5000u64, 1..200)) {
            let clock = FakeRelativeClock::default();
            let limits = Limits::with_clock(limit, 0, &clock);
            let (mut let_in, mut passed) = (0u64, 0u64);
            for gap in gaps {
                clock.advance(Duration::from_millis(gap));
                passed += gap;
                let_in += u64::from(limits.check_client(IpAddr::from([192, 0, 2, 1])).is_ok());
                prop_assert!(let_in <= u64::from(limit) + passed * u64::from(limit) / 60_000 + 1);
            }
        }

        #[test]
        fn zero_is_no_limit(reports in 1..500usize) {
            let limits = Limits::new(0, 0);
            for _ in 0..reports {
                prop_assert!(limits.check_client(IpAddr::from([192, 0, 2, 1])).is_ok());
                prop_assert!(limits.check_instance("a").is_ok());
                prop_assert!(limits.check_hidden().is_ok());
            }
        }
    }
}
