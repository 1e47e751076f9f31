//! Days, and which of them a log keeps.

use millrace_domain::Timestamp;

use super::{ATTEMPTS_DAYS, DROPS_DAYS, ERRORS_DAYS};

/// How many days are made ahead.
pub(super) const AHEAD: i64 = 2;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A table that is kept by day, and for how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) table: &'static str,
    pub(super) kept: i64,
}

pub(super) const ATTEMPTS: Log = Log { table: "delivery_attempts", kept: ATTEMPTS_DAYS };
pub(super) const ERRORS: Log = Log { table: "error_logs", kept: ERRORS_DAYS };
pub(super) const DROPS: Log = Log { table: "dropped_events", kept: DROPS_DAYS };
pub(super) const LOGS: [Log; 3] = [ATTEMPTS, ERRORS, DROPS];

/// The day of a time, since the epoch, UTC.
pub(super) fn day(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MS)
}

impl Log {
    /// The first day that is kept.
    pub(super) fn oldest(self, now: Timestamp) -> i64 {
        day(now) - self.kept
    }

    /// The last day that is made.
    pub(super) fn newest(now: Timestamp) -> i64 {
        day(now) + AHEAD
    }

    /// The day that a report of `reported` is kept under: its own, brought into those that there are.
    pub(super) fn day_of(self, reported: Timestamp, now: Timestamp) -> i64 {
        day(reported).clamp(self.oldest(now), Self::newest(now))
    }

    /// Name of a day's table, such as `error_logs_2026_01_31`: sorts by day.
    pub(super) fn table_of(self, day: i64) -> String {
        let date = Timestamp::from_millis(day * DAY_MS).to_rfc3339_seconds();
        let date = date.split('T').next().unwrap_or_default().replace('-', "_");
        format!("{}_{date}", self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_kept_under_its_own_day_unless_that_is_not_there() {
        let now = Timestamp::from_millis(1_000 * DAY_MS + 5);
        let of = |day: i64| ATTEMPTS.day_of(Timestamp::from_millis(day * DAY_MS + 7), now);
        assert_eq!([999, 1_000, 900, 2_000].map(of), [999, 1_000, 993, 1_002]);
        let tomorrow = Timestamp::from_millis(1_001 * DAY_MS);
        let again = ATTEMPTS.day_of(Timestamp::from_millis(1_000 * DAY_MS), tomorrow);
        assert_eq!(again, 1_000, "read again after midnight");
        assert_eq!(ERRORS.table_of(20_483), "error_logs_2026_01_30");
    }
}
