//! How delivery to a sink goes at the moment, put together from its lane, its breaker and its backlog.

use millrace_domain::{
    SinkSid, Timestamp,
    breaker::{Cause, State},
};
use millrace_proto::{v1, wire_time};
use millrace_queue::{Class, Result};

use crate::{
    lane::{Lane, pulse::Failure},
    tenure::Tenure,
};

/// Tells how delivery to `sink` goes. A sink that nothing is known of, or that is not of the tenure's partition, has nothing to
/// do.
///
/// # Errors
/// If the queue does not say what waits longest.
pub(crate) async fn of(tenure: &Tenure, sink: SinkSid) -> Result<v1::DeliveryStatus> {
    let parked = tenure.tally.of(sink);
    let first = match parked {
        Some(_) => tenure.cx.queue.first_parked(tenure.partition, sink, Class::Backlog).await?,
        None => None,
    };
    let (lane, now) = (tenure.lane_of(sink), tenure.cx.clock.now());
    // What waits for a retry of its own says when that is due, and not since when it waits.
    let oldest_parked = parked.map(|waiting| first.unwrap_or(waiting.since));
    let oldest_fresh = lane.as_ref().and_then(|lane| lane.oldest_accepted());
    let oldest = oldest_parked.into_iter().chain(oldest_fresh).min();
    let mut status = v1::DeliveryStatus {
        status_time: Some(wire_time(now)),
        backlog_events: parked.map_or(0, |waiting| waiting.events),
        backlog_bytes: parked.map_or(0, |waiting| waiting.bytes),
        oldest_event_time: oldest.filter(|time| *time > Timestamp::default()).map(wire_time),
        ..v1::DeliveryStatus::default()
    };
    put_breaker(&mut status, tenure.breaker_of(sink), now);
    if let Some(lane) = lane {
        put_lane(&mut status, &lane, now);
    }
    Ok(status)
}

fn put_breaker(status: &mut v1::DeliveryStatus, state: State, now: Timestamp) {
    let Some(open) = state.open else {
        return status.set_breaker_state(v1::BreakerState::Closed);
    };
    status.set_breaker_cause(match open.cause {
        Cause::InARow => v1::BreakerCause::InARow,
        Cause::HalfOfRecent => v1::BreakerCause::HalfOfRecent,
    });
    status.breaker_open_time = Some(wire_time(open.since));
    if open.next_probe > now {
        status.set_breaker_state(v1::BreakerState::Open);
        status.next_probe_time = Some(wire_time(open.next_probe));
    } else {
        status.set_breaker_state(v1::BreakerState::HalfOpen);
    }
}

fn put_lane(status: &mut v1::DeliveryStatus, lane: &Lane, now: Timestamp) {
    status.waiting_events = lane.waiting() as u64;
    status.requests_in_flight = u32::try_from(lane.pulse.in_flight()).unwrap_or(u32::MAX);
    let rates = lane.pulse.rates(now);
    status.delivered_per_second = rates.delivered;
    status.failed_per_second = rates.failed;
    status.last_failure = lane.pulse.last_failure().map(|failure| {
        let Failure { at, http_status, error_code, detail } = failure;
        v1::DeliveryFailure {
            time: Some(wire_time(at)),
            http_status: http_status.map_or(0, u32::from),
            error_code,
            detail,
        }
    });
}
