//! Whether a sink may be called: closed, open, half-open.

use std::time::Duration;

use crate::{Timestamp, backoff::Backoff};

/// Failures without a success between that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 5;

/// The breaker of one sink: a pure state machine, given the time and the jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    backoff: Backoff,
    state: State,
}

/// What a breaker is in; it survives a change of owner in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Failures in a row that fed the breaker.
    pub failures: u32,
    /// While open: when the next probe may go. `None` while closed.
    pub next_probe: Option<Timestamp>,
}

/// What the breaker allows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Attempt freely.
    Closed,
    /// Attempt nothing before this time.
    Open(Timestamp),
    /// One attempt, alone.
    HalfOpen,
}

impl Breaker {
    /// A breaker in `state`, which for a sink that nothing is known of is the default.
    pub fn new(backoff: Backoff, state: State) -> Self {
        Self { backoff, state }
    }

    /// What to remember of it.
    pub fn state(&self) -> State {
        self.state
    }

    /// What is allowed at `now`.
    pub fn gate(&self, now: Timestamp) -> Gate {
        match self.state.next_probe {
            None => Gate::Closed,
            Some(at) if at <= now => Gate::HalfOpen,
            Some(at) => Gate::Open(at),
        }
    }

    /// A success closes it.
    pub fn succeeded(&mut self) {
        self.state = State::default();
    }

    /// A failure counts, and from [`FAILURES_TO_OPEN`] on opens it until the next probe. `at_least`: the wait
    /// that the receiver asked for.
    pub fn failed(&mut self, now: Timestamp, jitter: f64, at_least: Option<Duration>) {
        self.state.failures = self.state.failures.saturating_add(1);
        if self.state.failures >= FAILURES_TO_OPEN {
            let probes = self.state.failures - FAILURES_TO_OPEN + 1;
            self.state.next_probe = Some(now.plus(self.backoff.delay(probes, jitter, at_least)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn opens_after_five_failures_and_closes_on_a_success() {
        let mut breaker = Breaker::new(Backoff::default(), State::default());
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(NOW, 1.0, None);
            assert_eq!(breaker.gate(NOW), Gate::Closed);
        }
        breaker.failed(NOW, 1.0, None);
        assert_eq!(breaker.gate(NOW), Gate::Open(NOW.plus(Duration::from_secs(1))));
        assert_eq!(breaker.gate(NOW.plus(Duration::from_secs(1))), Gate::HalfOpen);
        breaker.failed(NOW, 1.0, None);
        assert_eq!(
            breaker.gate(NOW),
            Gate::Open(NOW.plus(Duration::from_secs(2))),
            "probes back off"
        );
        breaker.succeeded();
        assert_eq!(breaker.gate(NOW), Gate::Closed);
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut breaker = Breaker::new(Backoff::default(), State::default());
        for _ in 0..100 {
            breaker.failed(NOW, 1.0, None);
            breaker.succeeded();
        }
        assert_eq!(breaker.gate(NOW), Gate::Closed);
    }
}
