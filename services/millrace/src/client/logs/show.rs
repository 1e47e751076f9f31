//! Logs as tables and as JSON.

use millrace_proto::v1;
use serde_json::{Value, json};

use super::{number, output, shape, some};
use crate::client::output::OutputArgs;

pub(super) fn attempts(output: &OutputArgs, attempts: &[v1::Attempt]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&attempts.iter().map(attempt).collect());
    }
    if attempts.is_empty() {
        return output::line("no attempts");
    }
    let rows = attempts.iter().map(|attempt| {
        vec![
            shape::time(attempt.start_time.as_ref()),
            attempt.sink_sid.clone(),
            outcome(attempt),
            number(attempt.http_status),
            number(attempt.error_code),
            attempt.attempt.to_string(),
            format!("{} ms", millis(attempt)),
            events(&attempt.event_ids),
            shown(&attempt.detail),
        ]
    });
    let headings = ["TIME", "SINK", "OUTCOME", "STATUS", "CODE", "TRY", "TOOK", "EVENTS", "DETAIL"];
    output::line(&output::columns(&headings, rows.collect()))
}

pub(super) fn errors(output: &OutputArgs, errors: &[v1::ErrorLog]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&errors.iter().map(error).collect());
    }
    if errors.is_empty() {
        return output::line("no errors");
    }
    let rows = errors.iter().map(|error| {
        vec![
            shape::time(error.time.as_ref()),
            error.level.clone(),
            number(error.error_code),
            error.sink_sid.clone(),
            number(error.http_status),
            events(&error.event_ids),
            if error.detail.is_empty() { error.message.clone() } else { shown(&error.detail) },
        ]
    });
    let headings = ["TIME", "LEVEL", "CODE", "SINK", "STATUS", "EVENTS", "DETAIL"];
    output::line(&output::columns(&headings, rows.collect()))
}

pub(super) fn dropped(output: &OutputArgs, drops: &[v1::DroppedEvent]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&drops.iter().map(drop_of).collect());
    }
    if drops.is_empty() {
        return output::line("no dropped events");
    }
    let rows = drops.iter().map(|event| {
        let kept = if event.kept { "" } else { "payload no longer kept" };
        let resent = shape::time(event.resend_time.as_ref());
        vec![
            shape::time(event.drop_time.as_ref()),
            event.event_id.clone(),
            event.event_type.clone(),
            reason(event),
            number(event.error_code),
            event.size_bytes.to_string(),
            if resent.is_empty() { kept.to_owned() } else { format!("sent again {resent}") },
        ]
    });
    let headings = ["DROPPED", "EVENT", "TYPE", "REASON", "CODE", "BYTES", "NOTE"];
    output::line(&output::columns(&headings, rows.collect()))
}

fn outcome(attempt: &v1::Attempt) -> String {
    shape::word(attempt.outcome().as_str_name(), "ATTEMPT_OUTCOME_")
}

fn reason(event: &v1::DroppedEvent) -> String {
    shape::word(event.reason().as_str_name(), "DROP_REASON_").replace('_', "-")
}

fn millis(attempt: &v1::Attempt) -> i64 {
    let duration = attempt.duration.unwrap_or_default();
    duration.seconds.saturating_mul(1_000).saturating_add(i64::from(duration.nanos / 1_000_000))
}

/// The first event, and how many more.
fn events(ids: &[String]) -> String {
    match ids {
        [] => String::new(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} +{}", others.len()),
    }
}

/// The first of a text from elsewhere, on one line and without what moves a cursor.
fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST {
        line.push('…');
    }
    line
}

fn attempt(attempt: &v1::Attempt) -> Value {
    json!({
        "id": attempt.id,
        "sink_sid": attempt.sink_sid,
        "start_time": shape::time(attempt.start_time.as_ref()),
        "duration_ms": millis(attempt),
        "outcome": outcome(attempt),
        "http_status": some(attempt.http_status),
        "error_code": some(attempt.error_code),
        "attempt": attempt.attempt,
        "detail": attempt.detail,
        "event_ids": attempt.event_ids,
    })
}

fn error(error: &v1::ErrorLog) -> Value {
    json!({
        "sid": error.sid,
        "sink_sid": error.sink_sid,
        "date_created": shape::time(error.time.as_ref()),
        "level": error.level,
        "error_code": error.error_code,
        "legacy_error_code": error.legacy_error_code,
        "message": error.message,
        "http_status": some(error.http_status),
        "attempt": error.attempt,
        "detail": error.detail,
        "event_ids": error.event_ids,
    })
}

fn drop_of(event: &v1::DroppedEvent) -> Value {
    json!({
        "id": event.id,
        "sink_sid": event.sink_sid,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "date_accepted": shape::time(event.accept_time.as_ref()),
        "date_dropped": shape::time(event.drop_time.as_ref()),
        "reason": reason(event),
        "error_code": some(event.error_code),
        "schema_version": event.schema_version,
        "size_bytes": event.size_bytes,
        "kept": event.kept,
        "date_resent": event.resend_time.as_ref().map(|time| shape::time(Some(time))),
    })
}
