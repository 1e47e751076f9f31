//! What is told of each request, and of each turn in a sink's health.

use millrace_domain::{AccountSid, SinkSid, Timestamp, outcome::Outcome};
use millrace_proto::internal::{AttemptOutcome, AttemptReport, SinkReport, SinkTurn};
use millrace_queue::chunk;
use millrace_sinks::{Attempt, SinkSpec};

/// What a request was about.
pub(crate) struct Request {
    pub(crate) account: AccountSid,
    pub(crate) sink: SinkSid,
    pub(crate) started: Timestamp,
    pub(crate) event_ids: Vec<String>,
    /// Which try it was for its first event, from 1.
    pub(crate) attempt: u32,
    /// Whether one of its events is what Millrace tells of sinks.
    pub(crate) about_itself: bool,
}

/// Makes the report of a request; of several outcomes the worst counts.
pub(crate) fn of(request: Request, attempt: &Attempt) -> AttemptReport {
    let (outcome, error_code) = attempt
        .outcomes
        .iter()
        .map(told)
        .max_by_key(|(outcome, _)| i32::from(*outcome))
        .unwrap_or_default();
    AttemptReport {
        account: chunk::account_bytes(request.account),
        sink: chunk::sink_bytes(request.sink),
        started_ms: request.started.as_millis(),
        duration_ms: u32::try_from(attempt.duration.as_millis()).unwrap_or(u32::MAX),
        outcome: outcome.into(),
        http_status: attempt.http_status.map_or(0, u32::from),
        error_code,
        detail: attempt.detail.clone(),
        event_ids: request.event_ids,
        attempt: request.attempt,
        about_itself: request.about_itself,
    }
}

/// Tells whether events of this type are what Millrace itself tells of sinks.
pub(crate) fn is_about_itself(event_type: &str) -> bool {
    event_type.starts_with("com.twilio.error-logs.") || event_type.starts_with("io.millrace.sink.")
}

/// Makes the report of a turn in a sink's health, which `attempt` showed.
pub(crate) fn of_turn(
    spec: &SinkSpec,
    turn: SinkTurn,
    at: Timestamp,
    attempt: &Attempt,
) -> SinkReport {
    let codes = attempt.outcomes.iter().map(|outcome| told(outcome).1);
    SinkReport {
        account: chunk::account_bytes(spec.account),
        sink: chunk::sink_bytes(spec.sid),
        turn: turn.into(),
        at_ms: at.as_millis(),
        error_code: codes.max().unwrap_or(0),
        detail: attempt.detail.clone(),
    }
}

fn told(outcome: &Outcome) -> (AttemptOutcome, u32) {
    match outcome {
        Outcome::Delivered => (AttemptOutcome::Delivered, 0),
        Outcome::Retry { reason, .. } => (AttemptOutcome::Retry, reason.code()),
        Outcome::Discard { reason } => (AttemptOutcome::Discard, reason.code()),
    }
}
