//! The time at which writing is tried again that failed. It is a moment, which stays while other things happen.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Time after the first failure, doubled with each try.
const FIRST: Duration = Duration::from_secs(1);
/// The longest such time.
const LAST: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Retry {
    distance: Duration,
    /// `None` while writing works.
    at: Option<Instant>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { distance: FIRST, at: None }
    }
}

impl Retry {
    /// Plans a try, unless one is planned: a report that fails puts none off.
    pub(super) fn plan(&mut self) {
        let distance = self.distance;
        self.at.get_or_insert_with(|| Instant::now() + distance);
    }

    /// Waits until it is time to try.
    pub(super) async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Plans the next try after one, twice as far.
    pub(super) fn plan_next(&mut self) {
        self.distance = LAST.min(self.distance * 2);
        self.at = Some(Instant::now() + self.distance);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_come_whatever_happens_meanwhile() {
        let mut retry = Retry::default();
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
    async fn nothing_is_tried_while_writing_works() {
        let retry = Retry::default();
        let tried = tokio::time::timeout(10 * LAST, retry.due()).await;
        assert!(tried.is_err());
    }
}
