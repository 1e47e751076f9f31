//! The clock of the embedded queue: the system's time, never backwards, and ids that ascend with it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use millrace_domain::Timestamp;

use crate::EntryId;

/// Bits of an id for the number within its millisecond.
const SEQ_BITS: u32 = 20;
const SEQ_MASK: i64 = (1 << SEQ_BITS) - 1;

/// The clock. It follows the system's time forwards; when that jumps back, it goes on from where it was.
#[derive(Debug)]
pub(super) struct Clock {
    last: Mutex<(i64, Instant)>,
}

impl Clock {
    /// A clock that is never before `floor_ms`.
    pub(super) fn starting_at(floor_ms: i64) -> Self {
        Self { last: Mutex::new((floor_ms, Instant::now())) }
    }

    /// Milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        self.given(system_ms(), Instant::now())
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }

    fn given(&self, system_ms: i64, instant: Instant) -> i64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = instant.saturating_duration_since(last.1).as_millis();
        let counted = last.0.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        if system_ms >= counted {
            *last = (system_ms, instant);
        }
        counted.max(system_ms)
    }
}

#[expect(clippy::disallowed_methods, reason = "embedded, this is the queue's own clock")]
fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Draws ids: always above every id drawn before, also in an earlier life of the file.
#[derive(Debug)]
pub(super) struct Ids {
    last: i64,
}

impl Ids {
    /// Goes on after `last`.
    pub(super) fn after(last: i64) -> Self {
        Self { last }
    }

    /// The next id, at `now_ms`.
    pub(super) fn next(&mut self, now_ms: i64) -> i64 {
        self.last = (now_ms << SEQ_BITS).max(self.last + 1);
        self.last
    }

    /// The last id drawn.
    pub(super) fn last(&self) -> i64 {
        self.last
    }
}

/// The millisecond of an id.
pub(super) fn ms_of(id: i64) -> i64 {
    id >> SEQ_BITS
}

/// What an id is to the callers of the queue.
pub(super) fn entry_id(id: i64) -> EntryId {
    EntryId {
        ms: u64::try_from(ms_of(id)).unwrap_or(0),
        seq: u64::try_from(id & SEQ_MASK).unwrap_or(0),
    }
}

/// The id that callers name; what no id can be becomes the last or first id that can.
pub(super) fn number(id: EntryId) -> i64 {
    let ms = i64::try_from(id.ms).unwrap_or(i64::MAX).min(i64::MAX >> SEQ_BITS);
    let seq = i64::try_from(id.seq).unwrap_or(i64::MAX).min(SEQ_MASK);
    (ms << SEQ_BITS) | seq
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn goes_on_when_the_system_jumps_back_and_follows_it_forwards() {
        let clock = Clock::starting_at(1_000);
        let start = clock.last.lock().expect("not poisoned").1;
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.given(5_000, at(1)), 5_000);
        assert_eq!(clock.given(2_000, at(101)), 5_100, "the system jumped back");
        assert_eq!(clock.given(9_000, at(102)), 9_000, "and forwards");
    }

    #[test]
    fn ids_ascend_whatever_the_time() {
        let mut ids = Ids::after(number(EntryId { ms: 10, seq: 7 }));
        let drawn: Vec<_> = [10, 9, 11, 11, 3].map(|ms| entry_id(ids.next(ms))).to_vec();
        let expected = [(10, 8), (10, 9), (11, 0), (11, 1), (11, 2)];
        assert_eq!(drawn, expected.map(|(ms, seq)| EntryId { ms, seq }));
    }

    proptest! {
        #[test]
        fn ids_keep_their_order(a in 0_i64.., b in 0_i64..) {
            prop_assert_eq!(a.cmp(&b), entry_id(a).cmp(&entry_id(b)));
            prop_assert_eq!(number(entry_id(a)), a);
        }

        #[test]
        fn any_id_of_a_caller_has_a_number(ms: u64, seq: u64) {
            let number = number(EntryId { ms, seq });
            prop_assert!(number >= 0);
        }
    }
}
