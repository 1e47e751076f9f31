//! How fast the machine is just now: a shared one drifts, and figures that are compared must say by how much.

use std::{collections::HashMap, hint::black_box, time::Instant};

/// Entries of the map: some megabytes and some tens of milliseconds.
const ENTRIES: u64 = 100_000;

/// Milliseconds that a fixed piece of work takes now. It allocates, hashes and waits for memory, as the services do; a chain of
/// operations in registers took the same while what they cost differed by a third.
pub(crate) fn loop_ms() -> f64 {
    let key = |number: u64| format!("event-{number}");
    let started = Instant::now();
    let mut map = HashMap::new();
    for number in 0..ENTRIES {
        map.insert(key(number), [0_u8; 32]);
    }
    let found = (0..ENTRIES).filter(|number| map.contains_key(&key(*number))).count();
    black_box(found);
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

    /// How much slower the slowest was than the fastest, and how long both took.
    pub(crate) fn told(&self) -> String {
        let slowest = self.0.iter().copied().fold(0.0, f64::max);
        let fastest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        format!("{:.2}× (loop {fastest:.1}–{slowest:.1} ms)", slowest / fastest)
    }
}
