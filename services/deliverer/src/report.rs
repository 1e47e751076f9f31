//! What is told of each request.

use millrace_domain::{AccountSid, SinkSid, Timestamp, outcome::Outcome};
use millrace_proto::internal::{AttemptOutcome, AttemptReport};
use millrace_queue::chunk;
use millrace_sinks::Attempt;

/// What a request was about.
pub(crate) struct Request {
    pub(crate) account: AccountSid,
    pub(crate) sink: SinkSid,
    pub(crate) started: Timestamp,
    pub(crate) event_ids: Vec<String>,
    /// Which try it was for its first event, from 1.
    pub(crate) attempt: u32,
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
    }
}

fn told(outcome: &Outcome) -> (AttemptOutcome, u32) {
    match outcome {
        Outcome::Delivered => (AttemptOutcome::Delivered, 0),
        Outcome::Retry { reason, .. } => (AttemptOutcome::Retry, reason.code()),
        Outcome::Discard { reason } => (AttemptOutcome::Discard, reason.code()),
    }
}
