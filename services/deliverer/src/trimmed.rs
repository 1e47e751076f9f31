//! When reports of attempts were given up, unread, for their bound: counted as a metric, and told to control-plane.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use millrace_domain::Timestamp;
use millrace_proto::internal::TrimmedReports;

use crate::context::Context;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);
/// What is trimmed again so soon belongs together.
const TOGETHER: Duration = Duration::from_secs(60);
/// Most periods that are remembered: control-plane asks every minute.
const PERIODS_MAX: usize = 100;

/// When reports were trimmed.
#[derive(Debug, Default)]
pub(crate) struct Trimmed(Mutex<VecDeque<TrimmedReports>>);

impl Trimmed {
    /// The periods in which reports were trimmed, oldest first.
    pub(crate) fn periods(&self) -> Vec<TrimmedReports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Looks, for ever.
    pub(crate) async fn keep_looking(&self, cx: &Context) {
        let counter = metrics::counter!("millrace_attempt_reports_trimmed_total");
        let (mut seen, mut looked) = (0, cx.clock.now());
        loop {
            tokio::time::sleep(INTERVAL).await;
            let (total, now) = (cx.queue.attempts_trimmed(), cx.clock.now());
            counter.absolute(total);
            if total > seen {
                self.note(total - seen, looked, now);
            }
            (seen, looked) = (total, now);
        }
    }

    fn note(&self, settlements: u64, since: Timestamp, until: Timestamp) {
        let mut periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until_ms = until.as_millis();
        let together = |last: &&mut TrimmedReports| {
            since.since(Timestamp::from_millis(last.until_ms)) <= TOGETHER
        };
        if let Some(last) = periods.back_mut().filter(together) {
            last.until_ms = until_ms;
            last.settlements += settlements;
            return;
        }
        if periods.len() >= PERIODS_MAX {
            periods.pop_front();
        }
        periods.push_back(TrimmedReports { since_ms: since.as_millis(), until_ms, settlements });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trimmed_in_a_row_is_one_period_and_periods_are_bounded() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let trimmed = Trimmed::default();
        trimmed.note(2, at(0), at(5));
        trimmed.note(3, at(30), at(35));
        let one = TrimmedReports { since_ms: 0, until_ms: 35_000, settlements: 5 };
        assert_eq!(trimmed.periods(), [one]);
        for n in 1..200 {
            trimmed.note(1, at(n * 1_000), at(n * 1_000 + 5));
        }
        let periods = trimmed.periods();
        assert_eq!(periods.len(), PERIODS_MAX);
        assert_eq!(periods.last().map(|it| it.until_ms), Some(199_005_000));
    }
}
