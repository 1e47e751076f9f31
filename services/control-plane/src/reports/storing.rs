//! Since when, without a pause, reports of attempts have been stored as they came.
//!
//! The invariant: **what was reported in that time was not trimmed**. The queue was read to its end at both ends of it and again and again
//! between them, and nobody reports as many settlements of one partition as are kept, 10,000, in so short a time as may lie between two
//! reads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use millrace_domain::Timestamp;
use millrace_store::logs::{ReportFate, ReportPeriod};

/// Longest time between two reads to the end of the queue that is no pause.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// The time up to now for which that holds; nothing at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storing(Arc<Mutex<Option<(Timestamp, Timestamp)>>>);

impl Storing {
    /// Notes that all is stored that was reported up to `at`.
    pub(super) fn reached(&self, at: Timestamp) {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = |(_, until): &(Timestamp, Timestamp)| {
            // A clock that was set back tells nothing of the time before.
            *until <= at && at.since(*until) <= PAUSE
        };
        let since = period.filter(goes_on).map_or(at, |(since, _)| since);
        *period = Some((since, at));
    }

    /// The last such time.
    pub(crate) fn period(&self) -> Option<ReportPeriod> {
        let period = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        period.map(|(since, until)| ReportPeriod {
            fate: ReportFate::Stored,
            source: String::new(),
            since,
            until,
            reports: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_763_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn storing_goes_on_until_it_pauses_or_the_clock_is_set_back() {
        let storing = Storing::default();
        assert_eq!(storing.period(), None);
        for (reached, since) in
            [(0, 0), (1, 0), (6, 0), (11, 0), (17, 17), (18, 17), (3, 3), (8, 3), (600, 600)]
        {
            storing.reached(at(reached));
            let period = storing.period().expect("some");
            assert_eq!((period.since, period.until), (at(since), at(reached)), "{reached}");
        }
    }
}
