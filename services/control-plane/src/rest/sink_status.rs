//! `/v1/Sinks/{Sid}/Status`: how delivery goes at the moment. An extension to `events/v1`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{SinkSid, Timestamp};
use millrace_proto::v1;
use serde_json::{Value, json};

use super::{
    answer::{Answer, date, json as answer},
    request::{At, Base},
    sinks::parse_sid,
};
use crate::{App, auth::Caller};

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
) -> Answer {
    let sid = parse_sid(&sid)?;
    let status = app.sinks.status(caller, sid).await?;
    Ok(answer(StatusCode::OK, render(&base, sid, &status)))
}

fn render(base: &Base, sid: SinkSid, status: &v1::DeliveryStatus) -> Value {
    let now = status.status_time.as_ref().map(timestamp).unwrap_or_default();
    let oldest = status.oldest_event_time.as_ref().map(timestamp);
    let breaker = match status.breaker_state() {
        v1::BreakerState::Open => "open",
        v1::BreakerState::HalfOpen => "half_open",
        v1::BreakerState::Closed | v1::BreakerState::Unspecified => "closed",
    };
    let cause = match status.breaker_cause() {
        v1::BreakerCause::Unspecified => Value::Null,
        v1::BreakerCause::InARow => "in_a_row".into(),
        v1::BreakerCause::HalfOfRecent => "half_of_recent".into(),
    };
    json!({
        "sink_sid": sid,
        "date": date(now),
        "paused": status.paused,
        "waiting_events": status.waiting_events,
        "requests_in_flight": status.requests_in_flight,
        "backlog_events": status.backlog_events,
        "backlog_bytes": status.backlog_bytes,
        "oldest_event_seconds": oldest.map(|oldest| now.since(oldest).as_secs()),
        "breaker": breaker,
        "breaker_cause": cause,
        "date_breaker_opened": shown(status.breaker_open_time.as_ref()),
        "date_next_probe": shown(status.next_probe_time.as_ref()),
        "last_failure": status.last_failure.as_ref().map(failure),
        "delivered_per_second": status.delivered_per_second,
        "failed_per_second": status.failed_per_second,
        "url": format!("{}/v1/Sinks/{sid}/Status", base.0),
    })
}

fn failure(failure: &v1::DeliveryFailure) -> Value {
    json!({
        "date": shown(failure.time.as_ref()),
        "http_status": Some(failure.http_status).filter(|status| *status > 0),
        "error_code": failure.error_code,
        "detail": failure.detail,
    })
}

fn shown(time: Option<&prost_types::Timestamp>) -> Value {
    time.map_or(Value::Null, |time| date(timestamp(time)).into())
}

fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_millis(time.seconds.saturating_mul(1_000) + i64::from(time.nanos) / 1_000_000)
}
