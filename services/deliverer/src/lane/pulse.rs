//! How a lane does: what it has open, how many events got through or failed of late, and what failed last. Kept for people:
//! nothing is decided by it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use millrace_domain::{SinkType, Timestamp, outcome::Outcome};
use millrace_sinks::Attempt;

use crate::metrics;

/// How much time one slot counts, in milliseconds.
const SLOT_MS: i64 = 5_000;
/// Slots that rates are taken over: a minute.
const SLOTS: usize = 12;
/// The same, to reckon slot numbers with.
const SPAN: i64 = 12;

/// The pulse of one lane.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    in_flight: AtomicUsize,
    recent: Mutex<Recent>,
}

/// The last request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) at: Timestamp,
    pub(crate) http_status: Option<u16>,
    pub(crate) error_code: u32,
    pub(crate) detail: String,
}

/// Events a second, of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) delivered: f64,
    pub(crate) failed: f64,
}

#[derive(Debug, Default)]
struct Recent {
    slots: [Slot; SLOTS],
    /// When counting began.
    since: Option<Timestamp>,
    failure: Option<Failure>,
}

/// What ended within [`SLOT_MS`].
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: i64,
    delivered: u32,
    failed: u32,
}

impl Pulse {
    /// Says how many requests are open.
    pub(super) fn set_in_flight(&self, requests: usize) {
        self.in_flight.store(requests, Ordering::Relaxed);
    }

    /// How many requests are open.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request that ended.
    pub(super) fn attempted(&self, now: Timestamp, sink_type: SinkType, attempt: &Attempt) {
        let (mut delivered, mut failed, mut worst, mut reason) = (0, 0, "delivered", None);
        for outcome in &attempt.outcomes {
            match outcome {
                Outcome::Delivered => delivered += 1,
                Outcome::Retry { reason: why, .. } => {
                    (failed, reason) = (failed + 1, Some(*why));
                    worst = if worst == "discard" { worst } else { "retry" };
                }
                Outcome::Discard { reason: why } => {
                    (failed, reason, worst) = (failed + 1, Some(*why), "discard");
                }
            }
        }
        metrics::attempted(sink_type, worst, attempt.outcomes.len(), attempt.duration);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.count(now, delivered, failed);
        if let Some(reason) = reason {
            recent.failure = Some(Failure {
                at: now,
                http_status: attempt.http_status,
                error_code: reason.code(),
                detail: attempt.detail.clone(),
            });
        }
    }

    /// What failed last.
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    /// How many events a second got through or failed.
    pub(crate) fn rates(&self, now: Timestamp) -> Rates {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).rates(now)
    }
}

impl Recent {
    fn count(&mut self, now: Timestamp, delivered: u32, failed: u32) {
        self.since.get_or_insert(now);
        let number = slot_of(now);
        let at = usize::try_from(number.rem_euclid(SPAN)).expect("less than `SLOTS`");
        let slot = &mut self.slots[at];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.delivered = slot.delivered.saturating_add(delivered);
        slot.failed = slot.failed.saturating_add(failed);
    }

    fn rates(&self, now: Timestamp) -> Rates {
        let Some(since) = self.since else { return Rates::default() };
        let first = slot_of(now) - SPAN + 1;
        let counted = self.slots.iter().filter(|slot| slot.number >= first);
        let (delivered, failed) = counted.fold((0.0, 0.0), |(delivered, failed), slot| {
            (delivered + f64::from(slot.delivered), failed + f64::from(slot.failed))
        });
        let from = Timestamp::from_millis(first * SLOT_MS).max(since);
        // At least a second: what came in the first moment is no rate yet.
        let seconds = now.since(from).as_secs_f64().max(1.0);
        Rates { delivered: delivered / seconds, failed: failed / seconds }
    }
}

fn slot_of(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(SLOT_MS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_domain::outcome::Reason;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_767_323_045_000 + seconds * 1_000)
    }

    fn attempt(outcomes: Vec<Outcome>, http_status: Option<u16>) -> Attempt {
        Attempt { outcomes, http_status, duration: Duration::ZERO, detail: "said".to_owned() }
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let pulse = Pulse::default();
        assert_eq!(pulse.rates(at(0)), Rates::default());
        let batch = attempt(vec![Outcome::Delivered; 10], Some(200));
        for second in 0..10 {
            pulse.attempted(at(second), SinkType::Webhook, &batch);
        }
        assert_eq!(pulse.rates(at(10)), Rates { delivered: 10.0, failed: 0.0 });
        for second in 10..300 {
            pulse.attempted(at(second), SinkType::Webhook, &batch);
        }
        let rate = pulse.rates(at(300)).delivered;
        assert!((rate - 10.0).abs() < 1.0, "{rate}");
        assert_eq!(pulse.rates(at(361)), Rates::default(), "a minute of silence");
    }

    #[test]
    fn remembers_what_failed_last() {
        let pulse = Pulse::default();
        let retry = Outcome::Retry { reason: Reason::Refused, after: None };
        pulse.attempted(at(0), SinkType::Webhook, &attempt(vec![retry], Some(503)));
        pulse.attempted(at(2), SinkType::Webhook, &attempt(vec![Outcome::Delivered], Some(200)));
        let failure = pulse.last_failure().expect("one failed");
        assert_eq!(
            (failure.at, failure.http_status, failure.error_code),
            (at(0), Some(503), 91306)
        );
        assert_eq!(pulse.rates(at(2)), Rates { delivered: 0.5, failed: 0.5 });
    }
}
