//! When an account is told of its sinks' problems: of the first at once, then after 10, 100, 1,000 … of them, and after 20
//! minutes if there was another. Counting starts anew after a quiet time
//! (<https://www.twilio.com/docs/events/event-delivery-and-duplication>).

use std::time::Duration;

use crate::Timestamp;

/// Longest time between a problem and the next telling.
pub const TELL_AFTER: Duration = Duration::from_secs(20 * 60);
/// Without a problem for so long, the next one is a first one.
pub const QUIET: Duration = Duration::from_secs(60 * 60);

/// Problems of one sink with one code, since its last quiet time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorGroup {
    /// How many there were.
    pub count: u64,
    /// How many when the account was last told; 0: it was not.
    pub told: u64,
    /// When that was.
    pub told_at: Timestamp,
    /// When the last one was.
    pub last_at: Timestamp,
}

impl ErrorGroup {
    /// Counts `more` problems, the last of them at `at`, and says whether the account is to be told now.
    pub fn add(&mut self, more: u64, at: Timestamp) -> bool {
        if at.since(self.last_at) >= QUIET {
            *self = Self::default();
        }
        self.count = self.count.saturating_add(more);
        self.last_at = self.last_at.max(at);
        self.tell(at)
    }

    /// Says whether the account is to be told now, and takes it for told.
    pub fn tell(&mut self, now: Timestamp) -> bool {
        let news = self.count > self.told;
        let due = self.told == 0 || power(self.count) > power(self.told);
        let tells = news && (due || now.since(self.told_at) >= TELL_AFTER);
        if tells {
            (self.told, self.told_at) = (self.count, now);
        }
        tells
    }
}

/// The exponent of the highest power of ten that is at most `count`.
fn power(count: u64) -> u32 {
    count.checked_ilog10().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_millis(n * 60_000)
    }

    #[test]
    fn the_first_the_tenth_and_the_hundredth_are_told_at_once() {
        let mut group = ErrorGroup::default();
        let told: Vec<_> = (1..=1_000_u64).filter(|_| group.add(1, minute(100))).collect();
        assert_eq!(told, [1, 10, 100, 1_000]);
    }

    #[test]
    fn what_comes_in_one_go_is_told_once() {
        let mut group = ErrorGroup::default();
        assert!(group.add(5_000, minute(100)));
        assert!(!group.add(4_000, minute(101)));
        assert!(group.add(1_000, minute(102)), "10,000");
    }

    #[test]
    fn another_one_is_told_after_twenty_minutes_and_silence_is_not() {
        let mut group = ErrorGroup::default();
        assert!(group.add(1, minute(100)));
        assert!(!group.tell(minute(121)), "there is nothing new");
        assert!(group.add(1, minute(122)));
        assert!(!group.add(1, minute(123)));
        assert!(!group.tell(minute(141)));
        assert!(group.tell(minute(142)));
        assert!(!group.tell(minute(200)));
    }

    #[test]
    fn after_a_quiet_time_the_next_is_a_first() {
        let mut group = ErrorGroup::default();
        assert!(group.add(50, minute(100)));
        assert!(group.add(1, minute(160)));
        assert_eq!(group.count, 1);
    }
}
