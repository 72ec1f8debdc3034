//! The time at which something is tried again that failed. It is a moment, which stays while other things happen.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// See the module.
#[derive(Debug)]
pub(crate) struct Retry {
    first: Duration,
    last: Duration,
    distance: Duration,
    /// `None` while nothing fails.
    at: Option<Instant>,
}

impl Retry {
    /// No try planned yet. `first` is the time after the first failure, which doubles with each try up to `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        let first = first.min(last);
        Self { first, last, distance: first, at: None }
    }

    /// Plans a try, unless one is planned: a failure meanwhile puts none off.
    pub fn plan(&mut self) {
        let distance = self.distance;
        self.at.get_or_insert_with(|| Instant::now() + distance);
    }

    /// Plans the next try after one that failed, twice as far as that was. Returns the time until then.
    pub fn plan_next(&mut self) -> Duration {
        if self.at.is_some() {
            self.distance = self.last.min(self.distance * 2);
        }
        self.at = Some(Instant::now() + self.distance);
        self.distance
    }

    /// Waits until it is time to try.
    pub async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// True while a try is planned and not due.
    pub fn waits(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() < at)
    }

    /// Forgets the plan after a try that worked.
    pub fn end(&mut self) {
        (self.distance, self.at) = (self.first, None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_come_whatever_happens_meanwhile() {
        let mut retry = Retry::new(Duration::from_secs(1), Duration::from_mins(1));
        retry.plan();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let begun = Instant::now();
            loop {
                tokio::select! {
                    () = retry.due() => break,
                    // An operator's orders are looked for more often than that.
                    () = sleep(Duration::from_millis(300)) => retry.plan(),
                }
                assert!(
                    begun.elapsed() <= Duration::from_secs(seconds),
                    "no try after {seconds} s"
                );
            }
            assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
            // It may take a while to fail: another process holds the lock.
            sleep(Duration::from_secs(5)).await;
            retry.plan_next();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_while_nothing_fails() {
        let mut retry = Retry::new(Duration::from_secs(1), Duration::from_mins(1));
        retry.plan();
        assert!(retry.waits());
        retry.end();
        assert!(!retry.waits());
        let tried = tokio::time::timeout(Duration::from_hours(1), retry.due()).await;
        assert!(tried.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_doubles_the_time_up_to_the_longest() {
        let minutes = |minutes| Duration::from_mins(minutes);
        let mut retry = Retry::new(minutes(1), minutes(6));
        for _ in 0..2 {
            for expected in [1, 2, 4, 6, 6] {
                assert_eq!(retry.plan_next(), minutes(expected));
                sleep(minutes(expected)).await;
                assert!(!retry.waits());
            }
            retry.end();
        }
        assert_eq!(Retry::new(minutes(9), minutes(6)).plan_next(), minutes(6));
    }
}
