//! How long to wait before the next try: exponential, capped, with full jitter.

use std::time::Duration;

/// Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): anything from zero to a bound
/// that doubles with each failure up to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure.
    pub base: Duration,
    /// The bound never passes this.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 1 s … 5 min.
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The longest wait after `failures` failures in a row (0 counts as 1).
    pub fn bound(&self, failures: u32) -> Duration {
        let factor = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .filter(|factor| *factor != 0)
            .unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The wait after `failures` failures, with `jitter` from 0 up to 1; never less than `at_least`, which the
    /// receiver asked for.
    pub fn delay(&self, failures: u32, jitter: f64, at_least: Option<Duration>) -> Duration {
        let delay = self.bound(failures).mul_f64(jitter.clamp(0.0, 1.0));
        delay.max(at_least.unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_is_within_its_bound_and_the_bound_within_the_cap(failures in 0..u32::MAX, jitter in 0.0..1.0_f64, base in 1..10_000_u64, cap in 1..1_000_000_u64) {
            let backoff = Backoff { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
            prop_assert!(backoff.delay(failures, jitter, None) <= backoff.bound(failures));
            prop_assert!(backoff.bound(failures) <= backoff.cap);
            prop_assert!(backoff.bound(failures) <= backoff.bound(failures.saturating_add(1)));
        }

        #[test]
        fn waits_at_least_as_long_as_it_was_asked(failures in 0..100_u32, jitter in 0.0..1.0_f64, asked in 0..100_000_u64) {
            let asked = Duration::from_millis(asked);
            prop_assert!(Backoff::default().delay(failures, jitter, Some(asked)) >= asked);
        }
    }
}
