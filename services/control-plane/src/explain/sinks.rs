//! What became of an event at one sink: a pure function of what is known.

use millrace_domain::{Sink, SinkSid, Timestamp, sink::DELIVERY_WINDOW};
use millrace_proto::{
    v1::{self, BreakerState, EventPlace, SinkHold},
    wire_time,
};
use millrace_store::logs::{AttemptEntry, AttemptResult, DropEntry};

use super::places::{Found, Whereabouts};

/// What is known of an event at a sink.
pub(super) struct Facts<'a> {
    pub(super) sid: SinkSid,
    /// As it is now, unless it is deleted.
    pub(super) sink: Option<&'a Sink>,
    pub(super) hold: SinkHold,
    /// About when the event was published.
    pub(super) published: Option<Timestamp>,
    /// Of all sinks, newest first.
    pub(super) attempts: &'a [AttemptEntry],
    pub(super) drops: &'a [DropEntry],
    /// Where in the queue it is.
    pub(super) found: Option<&'a Found>,
}

impl Facts<'_> {
    /// Whether it waits to be delivered, as far as is known.
    pub(super) fn is_waiting(&self) -> bool {
        self.found.is_some()
    }

    fn attempt(&self) -> Option<&AttemptEntry> {
        self.attempts.iter().find(|attempt| attempt.sink == self.sid)
    }

    fn drop(&self) -> Option<&DropEntry> {
        self.drops.iter().find(|drop| drop.sink == self.sid)
    }

    fn accepted(&self) -> Option<Timestamp> {
        let found = self.found.and_then(|found| found.accepted);
        found.or_else(|| self.drop().map(|drop| drop.accepted)).or(self.published)
    }
}

/// Tells what became of it. `status`: how delivery to the sink goes now, if it waits and somebody said.
pub(super) fn explain(
    facts: &Facts<'_>,
    status: Option<v1::DeliveryStatus>,
) -> v1::SinkExplanation {
    let mut told = v1::SinkExplanation {
        sink_sid: facts.sid.to_string(),
        accept_time: facts.accepted().map(wire_time),
        hold: facts.hold.into(),
        ..v1::SinkExplanation::default()
    };
    match facts.found {
        Some(found) => waiting(facts, found, status, &mut told),
        None => ended(facts, &mut told),
    }
    told
}

/// It is in the queue.
fn waiting(
    facts: &Facts<'_>,
    found: &Found,
    status: Option<v1::DeliveryStatus>,
    told: &mut v1::SinkExplanation,
) {
    let held = !matches!(facts.hold, SinkHold::Unspecified | SinkHold::Failed);
    let (place, due) = match &found.whereabouts {
        Whereabouts::Ready => (EventPlace::InFlight, None),
        Whereabouts::Backlog => (EventPlace::Backlog, status.as_ref().and_then(next_of_backlog)),
        Whereabouts::Delayed(due) => (EventPlace::Delayed, Some(wire_time(*due))),
        Whereabouts::Quarantined(name, reason) => {
            told.detail = format!("chunk {name}: {reason}");
            (EventPlace::Quarantined, None)
        }
    };
    told.set_place(place);
    told.next_attempt_time = due.filter(|_| !held);
    told.place_time =
        facts.attempt().map(|attempt| wire_time(attempt.id.at())).or(told.accept_time);
    if place != EventPlace::Quarantined {
        let window = facts.sink.and_then(|sink| sink.delivery.window).unwrap_or(DELIVERY_WINDOW);
        told.window_close_time = facts.accepted().map(|accepted| wire_time(accepted.plus(window)));
        told.status = status;
    }
}

/// When a sink's backlog is tried next: by a probe, or now.
fn next_of_backlog(status: &v1::DeliveryStatus) -> Option<prost_types::Timestamp> {
    match status.breaker_state() {
        BreakerState::Open => status.next_probe_time,
        _ => status.status_time,
    }
}

/// It is not: what was reported last counts.
fn ended(facts: &Facts<'_>, told: &mut v1::SinkExplanation) {
    let dropped = facts.drop().map(|drop| (drop.id.at(), drop));
    let delivered = facts
        .attempts
        .iter()
        .find(|attempt| attempt.sink == facts.sid && attempt.result == AttemptResult::Delivered);
    let delivered = delivered.map(|attempt| attempt.id.at());
    match (delivered, dropped, facts.attempt()) {
        (Some(at), dropped, _) if dropped.is_none_or(|(dropped, _)| dropped <= at) => {
            told.set_place(EventPlace::Delivered);
            told.place_time = Some(wire_time(at));
        }
        (_, Some((at, drop)), _) => {
            told.set_place(EventPlace::Dropped);
            told.set_drop_reason(crate::grpc::wire_cause(drop.cause));
            told.place_time = Some(wire_time(at));
            if let Some(resent) = drop.resent {
                told.detail = format!("it was sent again at {}", resent.to_rfc3339_millis());
            }
        }
        (_, None, Some(attempt)) => {
            told.set_place(EventPlace::Unknown);
            told.place_time = Some(wire_time(attempt.id.at()));
            told.detail = match attempt.result {
                AttemptResult::Discard => "the sink refused it for good; its drop is not reported yet",
                _ => "it was to be tried again, and is not found where it would wait: what came of it \
                      may not be reported yet, or was not kept",
            }
            .to_owned();
        }
        (_, None, None) => told.set_place(EventPlace::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_domain::{AccountSid, Partition};
    use millrace_store::logs::{DropCause, LogId, Place};

    use super::*;

    const SINK: SinkSid = SinkSid::from_u128(1);
    const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn id(seconds: u64) -> LogId {
        let place = Place { log: 0, partition: Partition(1), entry_ms: 7, entry_seq: 0, index: 0 };
        LogId::of(at(seconds), &place)
    }

    fn attempt(seconds: u64, result: AttemptResult) -> AttemptEntry {
        AttemptEntry {
            id: id(seconds),
            reported: at(seconds),
            account: AccountSid::from_u128(1),
            sink: SINK,
            duration: Duration::ZERO,
            result,
            http_status: 0,
            error_code: 0,
            attempt: 1,
            detail: String::new(),
            event_ids: Vec::new(),
        }
    }

    fn dropped(seconds: u64) -> DropEntry {
        DropEntry {
            id: id(seconds),
            reported: at(seconds),
            account: AccountSid::from_u128(1),
            sink: SINK,
            event_id: "a".to_owned(),
            event_type: "com.example.a".to_owned(),
            accepted: NOW,
            cause: DropCause::Expired,
            error_code: 0,
            schema_version: 1,
            size: 0,
            kept: true,
            event: None,
            resent: Some(at(9)),
        }
    }

    fn found(whereabouts: Whereabouts) -> Found {
        Found {
            sink: SINK,
            whereabouts,
            accepted: Some(NOW),
            event_type: "com.example.a".to_owned(),
            event: None,
        }
    }

    fn told(
        (attempts, drops, found): (&[AttemptEntry], &[DropEntry], Option<&Found>),
        hold: SinkHold,
        status: Option<v1::DeliveryStatus>,
    ) -> v1::SinkExplanation {
        let facts = Facts { sid: SINK, sink: None, hold, published: None, attempts, drops, found };
        explain(&facts, status)
    }

    #[test]
    fn what_was_reported_last_counts() {
        let none = SinkHold::Unspecified;
        let (retry, delivered) = (AttemptResult::Retry, AttemptResult::Delivered);
        let first = told((&[attempt(5, delivered), attempt(1, retry)], &[], None), none, None);
        assert_eq!(
            (first.place(), first.place_time),
            (EventPlace::Delivered, Some(wire_time(at(5))))
        );
        let drops = [dropped(7)];
        let late = told((&[attempt(5, delivered)], &drops, None), none, None);
        assert_eq!(late.place(), EventPlace::Dropped);
        assert_eq!(late.drop_reason(), v1::DropReason::Expired);
        let again = told((&[attempt(8, delivered)], &drops, None), none, None);
        assert_eq!(again.place(), EventPlace::Delivered, "it was sent again");
        let lost = told((&[attempt(5, retry)], &[], None), none, None);
        assert!(lost.place() == EventPlace::Unknown && !lost.detail.is_empty());
    }

    #[test]
    fn what_waits_is_tried_by_the_next_probe_when_due_or_not_while_it_is_held() {
        let none = SinkHold::Unspecified;
        let mut open = v1::DeliveryStatus {
            status_time: Some(wire_time(at(1))),
            next_probe_time: Some(wire_time(at(60))),
            ..v1::DeliveryStatus::default()
        };
        open.set_breaker_state(BreakerState::Open);
        let backlog = found(Whereabouts::Backlog);
        let parked = told((&[], &[], Some(&backlog)), none, Some(open.clone()));
        assert_eq!(parked.place(), EventPlace::Backlog);
        assert_eq!(parked.next_attempt_time, Some(wire_time(at(60))));
        assert_eq!(parked.window_close_time, Some(wire_time(NOW.plus(DELIVERY_WINDOW))));
        let paused = told((&[], &[], Some(&backlog)), SinkHold::Paused, Some(open));
        assert_eq!(paused.next_attempt_time, None);
        let delayed = found(Whereabouts::Delayed(at(30)));
        let delayed = told((&[], &[], Some(&delayed)), none, None);
        assert_eq!(delayed.next_attempt_time, Some(wire_time(at(30))));
        let kept = found(Whereabouts::Quarantined("7/1-0".to_owned(), "why".to_owned()));
        let kept = told((&[], &[], Some(&kept)), none, None);
        assert_eq!(
            (kept.place(), kept.detail.as_str()),
            (EventPlace::Quarantined, "chunk 7/1-0: why")
        );
        assert_eq!(kept.window_close_time, None);
    }
}
