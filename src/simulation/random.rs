//! Random numbers that are the same on every machine.

use rand_pcg::{Pcg64, rand_core::Rng as _};

/// Random numbers from a seed. PCG's definition fixes its output for a seed, and the crate's tests
/// hold reference vectors. The output of a general "standard" generator may change with a version.
/// The distributions are made here, from whole numbers only, for the same reason.
#[derive(Debug)]
pub struct Random(Pcg64);

/// The stream of PCG's own examples.
const STREAM: u128 = 0x000a_02bd_bf7b_b3c0_a7ac_28fa_16a6_4abf;

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::new(seed.into(), STREAM))
    }

    /// A number from `low` to just below `high`; `low` where there is none.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.saturating_sub(low).max(1);
        let share = u128::from(self.0.next_u64()) * u128::from(width.unsigned_abs());
        low.saturating_add(i64::try_from(share >> 64).unwrap_or(0))
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: i64) -> bool {
        self.between(0, 1000) < per_mille
    }

    /// One element of a list, as often as its weight says.
    pub fn pick<T: Copy, const N: usize>(&mut self, list: &[(i64, T); N]) -> T {
        let mut left = self.between(0, list.iter().map(|(weight, _)| weight).sum());
        let found = list.iter().find(|(weight, _)| {
            left -= weight;
            left < 0
        });
        found.unwrap_or(&list[0]).1
    }

    /// A time around `median`, of a distribution that is nearly log-normal: the product of
    /// several things that each make it up to half longer or shorter.
    pub fn around(&mut self, median: i64) -> i64 {
        (0..4).fold(median, |time, _| {
            let factor = self.between(1024, 1536);
            if self.chance(500) { time * factor / 1024 } else { time * 1024 / factor }
        })
    }

    /// A number that no other call returns.
    pub fn id(&mut self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }
}
