//! Lines in the log about proxies that make many clients share one limit. Each comes once an hour,
//! since every report meets the situation anew.

use std::time::Duration;

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::client_address::Situation;

/// Time between two lines about the same situation.
const EVERY: Duration = Duration::from_hours(1);

/// The times of the last lines.
#[derive(Debug)]
pub struct Notices<C: Clock = DefaultClock> {
    no_header: Once<C>,
    only_proxies: Once<C>,
    no_address: Once<C>,
    unbelieved: Once<C>,
}

type Once<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl Notices {
    /// No line yet.
    pub fn new() -> Self {
        Self::with_clock(&DefaultClock::default())
    }
}

impl<C: Clock + Clone> Notices<C> {
    fn with_clock(clock: &C) -> Self {
        let once = || {
            let quota = Quota::with_period(EVERY).expect("the time is not zero");
            RateLimiter::direct_with_clock(quota, clock.clone())
        };
        Self { no_header: once(), only_proxies: once(), no_address: once(), unbelieved: once() }
    }
}

impl<C: Clock> Notices<C> {
    /// Logs a situation and the setting that ends it, unless it was logged within the hour. No address
    /// gets into the log: it may be a reporter's.
    pub fn log(&self, situation: Situation) {
        if !self.is_due(situation) {
            return;
        }
        match situation {
            Situation::NoHeader => tracing::warn!(
                "a proxy in TRUSTED_PROXIES sends no X-Forwarded-For, so its clients share one limit: \
                 have it send the header, or name only proxies in TRUSTED_PROXIES (docs/proxies.md)"
            ),
            Situation::OnlyProxies => tracing::warn!(
                "X-Forwarded-For has addresses of TRUSTED_PROXIES alone, so clients share one limit: \
                 name the proxies' own networks only, or let the outermost proxy see its clients \
                 (docs/proxies.md)"
            ),
            Situation::NoAddress => tracing::warn!(
                "a proxy in TRUSTED_PROXIES writes no address into X-Forwarded-For, so its clients \
                 share one limit: have it add the client's address (docs/proxies.md)"
            ),
            Situation::Unbelieved(network) => tracing::warn!(
                "a private address sends X-Forwarded-For and is not in TRUSTED_PROXIES: if it is a \
                 proxy, all its clients share the limit of one; name its network, such as \
                 TRUSTED_PROXIES={network} (docs/proxies.md)"
            ),
        }
    }

    fn is_due(&self, situation: Situation) -> bool {
        let once = match situation {
            Situation::NoHeader => &self.no_header,
            Situation::OnlyProxies => &self.only_proxies,
            Situation::NoAddress => &self.no_address,
            Situation::Unbelieved(_) => &self.unbelieved,
        };
        once.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn each_situation_is_due_once_an_hour() {
        let clock = FakeRelativeClock::default();
        let notices = Notices::with_clock(&clock);
        let unbelieved = Situation::Unbelieved("10.0.0.0/8".parse().unwrap());
        for situation in
            [Situation::NoHeader, Situation::OnlyProxies, Situation::NoAddress, unbelieved]
        {
            assert!(notices.is_due(situation), "{situation:?}");
            assert!(!notices.is_due(situation), "{situation:?}");
        }
        clock.advance(Duration::from_mins(59));
        assert!(!notices.is_due(Situation::NoHeader));
        clock.advance(Duration::from_mins(1));
        assert!(notices.is_due(Situation::NoHeader));
        assert!(!notices.is_due(Situation::NoHeader));
    }
}
