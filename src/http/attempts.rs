//! Limit of attempts to sign in.
//!
//! Each client has a bound, and all clients together have one, since addresses are cheap. An attacker with
//! many of them could use up the common one and keep the operator out. A browser that has signed in
//! before therefore has a bound of its own, by a cookie that only the server can make.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::ingest::{Limiter, client_network};

/// Attempts of one client or browser at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Time after which it has one more.
const EVERY: Duration = Duration::from_secs(30);
/// Attempts a minute of all clients, and at once.
const TOGETHER: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Number of clients, and of browsers, that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");

/// The limits, and the attempts of late.
#[derive(Debug)]
pub struct Attempts<C: Clock = DefaultClock> {
    clients: Limiter<C>,
    browsers: Limiter<C>,
    together: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self::with_clock(&DefaultClock::default())
    }
}

impl<C: Clock + Clone> Attempts<C> {
    fn with_clock(clock: &C) -> Self {
        let quota = Quota::with_period(EVERY).expect("the time is not zero").allow_burst(AT_ONCE);
        Self {
            clients: Limiter::new(quota, REMEMBERED, clock.clone()),
            browsers: Limiter::new(quota, REMEMBERED, clock.clone()),
            together: RateLimiter::direct_with_clock(Quota::per_minute(TOGETHER), clock.clone()),
        }
    }

    /// Counts an attempt against the browser, where it has signed in before, or else against the client,
    /// unless a proxy hides it, and all clients.
    ///
    /// # Errors
    /// The time until the next attempt is let in.
    pub fn check(&self, browser: Option<&str>, client: Option<IpAddr>) -> Result<(), Duration> {
        if let Some(browser) = browser {
            return self.browsers.check(browser);
        }
        if let Some(client) = client {
            self.clients.check(client_network(client))?;
        }
        let now = self.together.clock().now();
        self.together.check().map_err(|until| until.wait_time_from(now))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    /// An attempt from an address.
    fn check(attempts: &Attempts<FakeRelativeClock>, address: u32) -> Result<(), Duration> {
        attempts.check(None, Some(IpAddr::from(address.to_be_bytes())))
    }

    #[test]
    fn a_client_has_ten_attempts_and_one_more_each_half_a_minute() {
        let clock = FakeRelativeClock::default();
        let attempts = Attempts::with_clock(&clock);
        for _ in 0..10 {
            assert_eq!(check(&attempts, 1), Ok(()));
        }
        assert_eq!(check(&attempts, 1), Err(EVERY));
        assert_eq!(check(&attempts, 2), Ok(()));
        clock.advance(EVERY);
        assert_eq!(check(&attempts, 1), Ok(()));
        assert!(check(&attempts, 1).is_err());
    }

    #[test]
    fn many_clients_share_a_bound_that_keeps_no_known_browser_out() {
        let clock = FakeRelativeClock::default();
        let attempts = Attempts::with_clock(&clock);
        let let_in = (0..100_000).filter(|number| check(&attempts, *number).is_ok());
        assert_eq!(let_in.count(), 60);
        assert!(attempts.check(None, None).is_err());
        for _ in 0..10 {
            assert_eq!(attempts.check(Some("a"), None), Ok(()));
        }
        assert!(attempts.check(Some("a"), None).is_err());
        assert_eq!(attempts.check(Some("b"), None), Ok(()));
        clock.advance(Duration::from_secs(1));
        assert_eq!(check(&attempts, 200_000), Ok(()));
    }

    #[test]
    fn clients_that_a_proxy_hides_have_the_bound_of_all() {
        let attempts = Attempts::with_clock(&FakeRelativeClock::default());
        assert_eq!((0..100).filter(|_| attempts.check(None, None).is_ok()).count(), 60);
    }
}
