//! How often an account may ask: so many requests a second, after a burst. Each replica counts for itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use millrace_domain::AccountSid;

/// Accounts that are remembered before those are forgotten that are owed their whole burst again.
const REMEMBERED_MIN: usize = 1_024;

/// Counts requests by account. By the generic cell rate algorithm: of an account, only the time is kept by which it has
/// made up for what it asked.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// What one request costs; zero: nobody is held back.
    cost: Duration,
    /// How far ahead of its rate an account may be.
    ahead: Duration,
    started: Instant,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    paid_up: HashMap<AccountSid, Duration>,
    forget_at: usize,
}

impl Throttle {
    /// Lets an account ask `per_second` times a second, and `burst` times at once. 0 a second: as often as it likes.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cost = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self {
            cost,
            ahead: cost.saturating_mul(burst.saturating_sub(1)),
            started: Instant::now(),
            known: Mutex::new(Known { paid_up: HashMap::new(), forget_at: REMEMBERED_MIN }),
        }
    }

    /// Counts a request of `account`.
    ///
    /// # Errors
    /// How long it has to wait; it is not counted.
    pub(crate) fn take(&self, account: AccountSid) -> Result<(), Duration> {
        if self.cost.is_zero() {
            return Ok(());
        }
        self.take_at(account, self.started.elapsed())
    }

    fn take_at(&self, account: AccountSid, now: Duration) -> Result<(), Duration> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_up = known.paid_up.get(&account).copied().unwrap_or_default().max(now);
        let ahead = paid_up.saturating_sub(now);
        if ahead > self.ahead {
            return Err(ahead.saturating_sub(self.ahead));
        }
        known.paid_up.insert(account, paid_up + self.cost);
        if known.paid_up.len() >= known.forget_at {
            known.paid_up.retain(|_, paid_up| *paid_up > now);
            known.forget_at = (known.paid_up.len() * 2).max(REMEMBERED_MIN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(n: u128) -> AccountSid {
        AccountSid::from_u128(n)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let throttle = Throttle::new(10, 3);
        let at = |millis| throttle.take_at(account(1), Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
        assert_eq!(at(0), Err(Duration::from_millis(100)));
        assert_eq!(at(60), Err(Duration::from_millis(40)));
        assert_eq!(at(100), Ok(()));
        assert_eq!(at(100), Err(Duration::from_millis(100)));
        assert_eq!(throttle.take_at(account(2), Duration::from_millis(100)), Ok(()), "another one");
    }

    #[test]
    fn no_rate_is_no_limit_and_who_is_owed_all_is_forgotten() {
        let unlimited = Throttle::new(0, 0);
        assert!((0..10_000).all(|_| unlimited.take(account(1)).is_ok()));
        let throttle = Throttle::new(1, 1);
        for n in 0..5_000_u32 {
            let now = Duration::from_secs(u64::from(n) * 2);
            throttle.take_at(account(n.into()), now).expect("its first");
        }
        assert!(throttle.known.lock().expect("whole").paid_up.len() <= REMEMBERED_MIN);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_burst_and_rate(
            rate in 1..50_u32, burst in 1..50_u32, gaps in proptest::collection::vec(0..100_u64, 1..400),
        ) {
            let throttle = Throttle::new(rate, burst);
            let (mut now, mut passed) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                match throttle.take_at(account(1), Duration::from_millis(now)) {
                    Ok(()) => passed.push(now),
                    Err(wait) => {
                        let later = Duration::from_millis(now) + wait;
                        let mut known = throttle.known.lock().expect("whole").paid_up.clone();
                        let paid_up = known.remove(&account(1)).expect("known");
                        prop_assert!(paid_up.saturating_sub(later) <= throttle.ahead, "the wait is enough");
                    }
                }
            }
            for (nth, from) in passed.iter().enumerate() {
                let within = passed.iter().skip(nth).filter(|at| **at < from + 1_000).count();
                prop_assert!(within <= (rate + burst) as usize);
            }
        }
    }
}
