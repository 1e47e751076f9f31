//! How many events a sink may be sent: a token bucket, exact in integers.

use std::time::Duration;

/// One event's worth of tokens: a token comes in each nanosecond for each event per second.
const EVENT: i128 = 1_000_000_000;

/// The bucket of one sink: a pure state machine, given the time. Time is counted from any fixed instant.
///
/// It holds at most a second's worth, and starts with a single event's: an owner that takes over, or a sink whose lane
/// was away, never adds a second burst to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_second: u32,
    tokens: i128,
    filled: Duration,
}

impl Bucket {
    /// A bucket for `per_second` events a second (0 counts as 1).
    pub fn new(per_second: u32, now: Duration) -> Self {
        Self { per_second: per_second.max(1), tokens: EVENT, filled: now }
    }

    /// Changes the rate from `now` on. What is in the bucket stays, within the new bound.
    pub fn set_rate(&mut self, per_second: u32, now: Duration) {
        self.fill(now);
        self.per_second = per_second.max(1);
        self.tokens = self.tokens.min(self.capacity());
    }

    /// Events that may be sent at `now`.
    pub fn available(&mut self, now: Duration) -> usize {
        self.fill(now);
        usize::try_from(self.tokens.max(0) / EVENT).unwrap_or(usize::MAX)
    }

    /// Takes out what `events` events need. More than there was is owed: it is made up before the next.
    pub fn take(&mut self, events: usize, now: Duration) {
        self.fill(now);
        self.tokens = self.tokens.saturating_sub(events_worth(events));
    }

    /// How long from `now` until `events` events may be sent; of more than the bucket holds, until it is full.
    pub fn wait(&mut self, events: usize, now: Duration) -> Duration {
        self.fill(now);
        let lacking = events_worth(events).min(self.capacity()) - self.tokens;
        let nanos = lacking.max(0).unsigned_abs().div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn capacity(&self) -> i128 {
        i128::from(self.per_second) * EVENT
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_nanos();
        let come = i128::try_from(passed).unwrap_or(i128::MAX);
        let come = come.saturating_mul(i128::from(self.per_second));
        self.tokens = self.tokens.saturating_add(come).min(self.capacity());
        self.filled = self.filled.max(now);
    }
}

fn events_worth(events: usize) -> i128 {
    i128::try_from(events).unwrap_or(i128::MAX).saturating_mul(EVENT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn after(millis: u64) -> Duration {
        START + Duration::from_millis(millis)
    }

    #[test]
    fn starts_with_one_event_and_fills_to_a_second_s_worth() {
        let mut bucket = Bucket::new(10, START);
        assert_eq!(bucket.available(START), 1);
        assert_eq!(bucket.wait(2, START), Duration::from_millis(100));
        assert_eq!(bucket.available(after(450)), 5);
        assert_eq!(bucket.available(after(60_000)), 10);
        bucket.take(10, after(60_000));
        assert_eq!(bucket.wait(1, after(60_000)), Duration::from_millis(100));
        assert_eq!(bucket.wait(1_000, after(60_000)), Duration::from_secs(1), "until it is full");
    }

    #[test]
    fn what_was_overdrawn_is_made_up() {
        let mut bucket = Bucket::new(10, START);
        bucket.take(6, START);
        assert_eq!(
            (bucket.available(START), bucket.wait(1, START)),
            (0, Duration::from_millis(600))
        );
    }

    #[test]
    fn a_new_rate_counts_from_now_on() {
        let mut bucket = Bucket::new(1_000, START);
        bucket.set_rate(2, after(1_000));
        assert_eq!(bucket.available(after(1_000)), 2);
        bucket.take(2, after(1_000));
        bucket.set_rate(100, after(1_500));
        assert_eq!(bucket.available(after(1_500)), 1);
        assert_eq!(bucket.available(after(1_600)), 11);
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(5, START);
        bucket.take(1, START);
        assert_eq!(bucket.available(Duration::ZERO), 0);
        assert_eq!(bucket.available(after(200)), 1);
    }

    proptest! {
        /// In any span a sender that only takes what is available sends no more than the rate allows for it and one bucket.
        #[test]
        fn never_more_than_the_rate(per_second in 1..2_000_u32, steps in proptest::collection::vec((0..3_000_u64, 0..3_000_usize), 1..100)) {
            let (mut bucket, mut now, mut sent) = (Bucket::new(per_second, START), 0, Vec::new());
            for (wait, wanted) in steps {
                now += wait;
                let events = wanted.min(bucket.available(after(now)));
                bucket.take(events, after(now));
                sent.push((now, events as u64));
                for from in 0..sent.len() {
                    let span = now - sent[from].0;
                    let in_span: u64 = sent[from..].iter().map(|(_, events)| events).sum();
                    prop_assert!(in_span * 1_000 <= u64::from(per_second) * (span + 1_000));
                }
                let total: u64 = sent.iter().map(|(_, events)| events).sum();
                prop_assert!(total * 1_000 <= u64::from(per_second) * now + 1_000, "from its start on, one event and the rate");
            }
        }

        /// Who waits as long as it is told finds what it waited for, and not a nanosecond sooner.
        #[test]
        fn the_wait_is_exact(per_second in 1..100_000_u32, taken in 0..5_000_usize, wanted in 1..5_000_usize) {
            let mut bucket = Bucket::new(per_second, START);
            bucket.take(taken, START);
            let wanted = wanted.min(per_second as usize);
            let wait = bucket.wait(wanted, START);
            if !wait.is_zero() {
                prop_assert!(bucket.available(START + wait - Duration::from_nanos(1)) < wanted);
            }
            prop_assert!(bucket.available(START + wait) >= wanted);
        }
    }
}
