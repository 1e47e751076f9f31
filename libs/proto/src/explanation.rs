//! Explanations as JSON: one rendering for REST and for the command line.

use millrace_domain::Timestamp;
use serde_json::{Value, json};

use crate::{time_from_wire, v1};

/// An explanation in the words of REST.
pub fn explanation_json(explanation: &v1::Explanation) -> Value {
    json!({
        "event_id": explanation.event_id,
        "account_sid": explanation.account_sid,
        "event_time": time(explanation.event_time.as_ref()),
        "known": explanation.known,
        "matching": explanation.matching.as_ref().map(matching_json),
        "sinks": explanation.sinks.iter().map(sink).collect::<Value>(),
        "attempts": explanation.attempts.iter().map(attempt).collect::<Value>(),
        "notes": explanation.notes,
    })
}

/// Which subscriptions take an event, in the words of REST.
pub fn matching_json(matching: &v1::Matching) -> Value {
    json!({
        "type": some(&matching.r#type),
        "publish_verdict": word(matching.publish_verdict().as_str_name(), "PUBLISH_VERDICT_"),
        "publish_detail": some(&matching.publish_detail),
        "config_time": time(matching.config_time.as_ref()),
        "config_seq": matching.config_seq,
        "config_is_exact": matching.config_is_exact,
        "schema_verdict": word(matching.schema_verdict().as_str_name(), "SCHEMA_VERDICT_"),
        "schema_detail": some(&matching.schema_detail),
        "subscriptions": matching.subscriptions.iter().map(subscription).collect::<Value>(),
        "omitted_subscriptions": matching.omitted_subscriptions,
    })
}

fn subscription(verdict: &v1::SubscriptionVerdict) -> Value {
    json!({
        "subscription_sid": verdict.subscription_sid,
        "account_sid": verdict.account_sid,
        "description": verdict.description,
        "sink_sid": verdict.sink_sid,
        "matches": verdict.matches,
        "reason": word(verdict.reason().as_str_name(), "MATCH_REASON_"),
        "schema_version": Some(verdict.schema_version).filter(|version| *version > 0),
        "hold": word(verdict.hold().as_str_name(), "SINK_HOLD_"),
    })
}

fn sink(told: &v1::SinkExplanation) -> Value {
    json!({
        "sink_sid": told.sink_sid,
        "place": word(told.place().as_str_name(), "EVENT_PLACE_"),
        "place_time": time(told.place_time.as_ref()),
        "accept_time": time(told.accept_time.as_ref()),
        "window_close_time": time(told.window_close_time.as_ref()),
        "next_attempt_time": time(told.next_attempt_time.as_ref()),
        "drop_reason": word(told.drop_reason().as_str_name(), "DROP_REASON_"),
        "hold": word(told.hold().as_str_name(), "SINK_HOLD_"),
        "breaker": told.status.as_ref().and_then(|status| word(status.breaker_state().as_str_name(), "BREAKER_STATE_")),
        "backlog_events": told.status.as_ref().map(|status| status.backlog_events),
        "detail": some(&told.detail),
    })
}

fn attempt(attempt: &v1::Attempt) -> Value {
    json!({
        "id": attempt.id,
        "sink_sid": attempt.sink_sid,
        "start_time": time(attempt.start_time.as_ref()),
        "outcome": word(attempt.outcome().as_str_name(), "ATTEMPT_OUTCOME_"),
        "http_status": Some(attempt.http_status).filter(|status| *status != 0),
        "error_code": Some(attempt.error_code).filter(|code| *code != 0),
        "attempt": attempt.attempt,
        "detail": attempt.detail,
    })
}

/// An enum's name on the wire as one lower-case word; none where it is not said.
fn word(name: &str, prefix: &str) -> Option<String> {
    let word = name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase();
    Some(word).filter(|word| word != "unspecified")
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.and_then(time_from_wire).map(Timestamp::to_rfc3339_millis)
}
