//! How fast the machine is just now: a shared one drifts, and figures that are compared must say by how much.

use std::{hint::black_box, time::Instant};

/// Rounds of the loop: some tens of milliseconds.
const ROUNDS: u64 = 20_000_000;

/// Milliseconds that a fixed piece of work takes now.
pub(crate) fn loop_ms() -> f64 {
    let started = Instant::now();
    let mut state = 1_u64;
    for round in 0..ROUNDS {
        // A linear congruential generator (Knuth, MMIX): each round waits for the one before.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(black_box(round));
    }
    black_box(state);
    started.elapsed().as_secs_f64() * 1e3
}

/// What the loop took before each measurement of a case.
#[derive(Debug, Default)]
pub(crate) struct Drift(Vec<f64>);

impl Drift {
    /// Runs the loop once more.
    pub(crate) fn sample(&mut self) {
        self.0.push(loop_ms());
    }

    /// How much slower the slowest was than the fastest; 1: not at all.
    pub(crate) fn factor(&self) -> f64 {
        let slowest = self.0.iter().copied().fold(0.0, f64::max);
        let fastest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        if slowest > 0.0 { slowest / fastest } else { 1.0 }
    }
}
