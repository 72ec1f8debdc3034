//! Properties over cases that are the same in each run.

use proptest::{
    prelude::{ProptestConfig, TestCaseError},
    test_runner::RngSeed,
};

/// The same cases in each run, or others by `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
pub fn cases() -> ProptestConfig {
    let given = |name| std::env::var_os(name).is_some();
    let mut config = ProptestConfig::default();
    if !given("PROPTEST_CASES") {
        config.cases = 24;
    }
    if !given("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

/// Runs one case to its end.
pub fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
