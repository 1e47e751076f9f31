//! Whether a sink may be called: closed, open, half-open.

use std::time::Duration;

use crate::{Timestamp, backoff::Backoff};

/// Failures without a success between that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How many of the latest requests are looked at for a sink that fails now and then.
pub const RECENT: u32 = 50;
/// So many failures among the last [`RECENT`] requests open the breaker: half of them. A request that was not made yet counts
/// as a success, so a new sink takes as many failures as an old one, and one bad answer of two opens nothing.
pub const RECENT_FAILURES_TO_OPEN: u32 = RECENT / 2;

const RECENT_BITS: u64 = (1 << RECENT) - 1;

/// The breaker of one sink: a pure state machine, given the time and the jitter.
///
/// While it is not closed, only probes speak: a request that began before it opened is part of the same outage, and tells
/// neither how long that is nor that it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    backoff: Backoff,
    state: State,
    /// The last [`RECENT`] requests while closed, the latest in the lowest bit; set: it failed.
    recent: u64,
}

/// What a breaker is in; it survives a change of owner in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Failures in a row that fed the breaker; while open, at least [`FAILURES_TO_OPEN`].
    pub failures: u32,
    /// `None` while closed.
    pub open: Option<Open>,
}

/// An open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When the next probe may go.
    pub next_probe: Timestamp,
    /// When it opened.
    pub since: Timestamp,
    /// Why it opened.
    pub cause: Cause,
}

/// Why a breaker opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// [`FAILURES_TO_OPEN`] failures without a success between.
    #[default]
    InARow,
    /// [`RECENT_FAILURES_TO_OPEN`] of the last [`RECENT`] requests.
    HalfOfRecent,
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
        Self { backoff, state, recent: 0 }
    }

    /// What to remember of it.
    pub fn state(&self) -> State {
        self.state
    }

    /// What is allowed at `now`.
    pub fn gate(&self, now: Timestamp) -> Gate {
        match self.state.open {
            None => Gate::Closed,
            Some(open) if open.next_probe <= now => Gate::HalfOpen,
            Some(open) => Gate::Open(open.next_probe),
        }
    }

    /// A request succeeded. A `probe` closes the breaker.
    pub fn succeeded(&mut self, probe: bool) {
        if self.state.open.is_none() {
            self.state.failures = 0;
            self.recent = (self.recent << 1) & RECENT_BITS;
        } else if probe {
            (self.state, self.recent) = (State::default(), 0);
        }
    }

    /// A request failed. While closed it counts, and may open the breaker; while open only a failed `probe` puts the next one
    /// off. `at_least`: the wait that the receiver asked for.
    pub fn failed(&mut self, now: Timestamp, jitter: f64, at_least: Option<Duration>, probe: bool) {
        let (since, cause) = match self.state.open {
            Some(_) if !probe => return,
            Some(open) => (open.since, open.cause),
            None => match self.count() {
                Some(cause) => (now, cause),
                None => return,
            },
        };
        let failures = match self.state.open {
            Some(_) => self.state.failures.saturating_add(1),
            None => self.state.failures,
        };
        self.state.failures = failures.max(FAILURES_TO_OPEN);
        let probes = self.state.failures - FAILURES_TO_OPEN + 1;
        let next_probe = now.plus(self.backoff.delay(probes, jitter, at_least));
        self.state.open = Some(Open { next_probe, since, cause });
    }

    /// Counts a failure; tells why the breaker opens, if it does.
    fn count(&mut self) -> Option<Cause> {
        self.state.failures = self.state.failures.saturating_add(1);
        self.recent = ((self.recent << 1) | 1) & RECENT_BITS;
        if self.state.failures >= FAILURES_TO_OPEN {
            Some(Cause::InARow)
        } else if self.recent.count_ones() >= RECENT_FAILURES_TO_OPEN {
            Some(Cause::HalfOfRecent)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn breaker() -> Breaker {
        Breaker::new(Backoff::default(), State::default())
    }

    #[test]
    fn opens_after_five_failures_and_closes_on_a_success() {
        let mut breaker = breaker();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(NOW, 1.0, None, false);
            assert_eq!(breaker.gate(NOW), Gate::Closed);
        }
        breaker.failed(NOW, 1.0, None, false);
        assert_eq!(breaker.gate(NOW), Gate::Open(NOW.plus(Duration::from_secs(1))));
        assert_eq!(breaker.gate(NOW.plus(Duration::from_secs(1))), Gate::HalfOpen);
        breaker.failed(NOW.plus(Duration::from_secs(1)), 1.0, None, true);
        let next_probe = NOW.plus(Duration::from_secs(3));
        let open = Open { next_probe, since: NOW, cause: Cause::InARow };
        assert_eq!(breaker.state().open, Some(open), "probes back off");
        breaker.succeeded(true);
        assert_eq!(breaker.state(), State::default());
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut breaker = breaker();
        for _ in 0..100 {
            (1..FAILURES_TO_OPEN).for_each(|_| breaker.failed(NOW, 1.0, None, false));
            (1..FAILURES_TO_OPEN * 2).for_each(|_| breaker.succeeded(false));
        }
        assert_eq!(breaker.gate(NOW), Gate::Closed);
    }

    #[test]
    fn a_sink_that_fails_every_other_time_opens_at_half_of_the_last_fifty() {
        let mut breaker = breaker();
        for _ in 1..RECENT_FAILURES_TO_OPEN {
            breaker.succeeded(false);
            breaker.failed(NOW, 1.0, None, false);
        }
        assert_eq!(breaker.gate(NOW), Gate::Closed);
        breaker.succeeded(false);
        breaker.failed(NOW, 1.0, None, false);
        let open = breaker.state().open.expect("open");
        assert_eq!(open.cause, Cause::HalfOfRecent);
        assert_eq!(open.next_probe, NOW.plus(Duration::from_secs(1)), "as after five in a row");
        breaker.succeeded(true);
        breaker.failed(NOW, 1.0, None, false);
        assert_eq!(breaker.gate(NOW), Gate::Closed, "what was before it closed is forgotten");
    }

    #[test]
    fn while_it_is_open_only_probes_speak() {
        let mut breaker = breaker();
        (0..FAILURES_TO_OPEN).for_each(|_| breaker.failed(NOW, 1.0, None, false));
        let opened = breaker;
        breaker.failed(NOW.plus(Duration::from_secs(9)), 1.0, None, false);
        breaker.succeeded(false);
        assert_eq!(breaker, opened);
    }

    #[test]
    fn a_probe_waits_as_long_as_it_was_asked() {
        let mut breaker = breaker();
        let asked = Some(Duration::from_secs(90));
        (0..FAILURES_TO_OPEN).for_each(|_| breaker.failed(NOW, 0.0, asked, false));
        assert_eq!(breaker.gate(NOW), Gate::Open(NOW.plus(Duration::from_secs(90))));
    }

    proptest! {
        /// Against the rule itself, on the whole history of a sink that is closed.
        #[test]
        fn opens_exactly_when_the_last_requests_say_so(failures in proptest::collection::vec(any::<bool>(), 0..300)) {
            let mut breaker = breaker();
            for at in 0..failures.len() {
                match failures[at] {
                    true => breaker.failed(NOW, 1.0, None, false),
                    false => breaker.succeeded(false),
                }
                let so_far = &failures[..=at];
                let in_a_row = so_far.iter().rev().take_while(|failed| **failed).count() >= 5;
                let half = so_far.iter().rev().take(50).filter(|failed| **failed).count() >= 25;
                prop_assert_eq!(breaker.gate(NOW) != Gate::Closed, in_a_row || half);
                if in_a_row || half {
                    break;
                }
            }
        }

        /// However it came about, an open breaker says when the next probe goes, never before it was asked to.
        #[test]
        fn an_open_breaker_always_has_a_next_probe_within_the_bound(steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0.0..1.0_f64, 0..1_000_i64), 1..200)) {
            let (mut breaker, mut now) = (breaker(), NOW);
            for (failed, probe, jitter, wait) in steps {
                now = now.plus(Duration::from_millis(wait.unsigned_abs()));
                let before = breaker.gate(now);
                match failed {
                    true => breaker.failed(now, jitter, None, probe),
                    false => breaker.succeeded(probe),
                }
                match breaker.state().open {
                    Some(open) => {
                        prop_assert!(breaker.state().failures >= FAILURES_TO_OPEN && open.since <= now);
                        prop_assert!(open.next_probe <= now.plus(Duration::from_secs(300)));
                    }
                    None => prop_assert!(breaker.state().failures < FAILURES_TO_OPEN),
                }
                if !failed && !probe {
                    prop_assert_eq!(breaker.gate(now), before);
                }
            }
        }
    }
}
