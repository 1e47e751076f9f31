//! Randomness that can be had again: the seed of every test is printed.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Names the seed to use instead of a new one.
const SEED: &str = "MILLRACE_TEST_SEED";

/// A source of random numbers (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Random {
    /// Of a seed of its own.
    pub fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// Of the seed in `MILLRACE_TEST_SEED` or a new one, which is printed.
    ///
    /// # Panics
    /// If that seed is no number.
    pub fn announced() -> Self {
        let given =
            std::env::var(SEED).ok().map(|seed| seed.parse().expect("the seed is a number"));
        let seed = given.unwrap_or_else(|| Self::new().0);
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// A number of the range, `to` excluded.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (mixed ^ (mixed >> 31)) % (to - from)
    }

    /// A while between two numbers of milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }
}
