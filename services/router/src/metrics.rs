//! What a router counts and times.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use millrace_queue::Pressure;
use millrace_runtime::telemetry::Metric;

use crate::publish::{Outcome, PublishResult};

const FACES: (&str, &[&str]) = ("face", &["grpc", "http", "stream"]);
const OPERATIONS: (&str, &[&str]) = ("operation", &["append", "append_new"]);

/// All of them; `docs/metrics.md` says more.
pub(crate) const ALL: &[Metric] = &[
    Metric::counter("millrace_published_events_total", "Events, by what became of them").by(&[(
        "result",
        &[
            "accepted",
            "duplicate",
            "invalid_argument",
            "not_found",
            "permission_denied",
            "too_large",
            "resource_exhausted",
            "unavailable",
        ],
    )]),
    Metric::counter("millrace_unmatched_events_total", "Accepted events that nobody subscribes to"),
    Metric::counter("millrace_refused_publishes_total", "Requests that were refused as a whole")
        .by(&[("reason", &["pressure", "in_flight", "unavailable", "unauthenticated"])]),
    Metric::counter(
        "millrace_full_account_events_total",
        "Events refused since their account has as much waiting as it may",
    ),
    Metric::histogram("millrace_publish_seconds", "How long publishes took").by(&[FACES]),
    Metric::histogram("millrace_publish_events", "How many events publishes had").by(&[FACES]),
    Metric::counter("millrace_unfit_events_total", "Events whose data does not fit their schema")
        .by(&[("mode", &[]), ("schema", &[])]),
    Metric::gauge("millrace_compiled_schemas", "Schemas that are kept compiled"),
    Metric::gauge("millrace_compiled_schema_bytes", "About how large these are"),
    Metric::counter("millrace_uncompiled_schemas_total", "Schemas that cannot be compiled"),
    Metric::histogram("millrace_append_seconds", "How long writes of the queue took"),
    Metric::histogram("millrace_chunk_events", "How many events chunks had"),
    Metric::histogram("millrace_chunk_bytes", "How large chunks were"),
    Metric::gauge("millrace_queue_used_bytes", "Memory of the queue that is taken"),
    Metric::gauge("millrace_queue_max_bytes", "Memory of the queue that may be; 0: without end"),
    Metric::gauge("millrace_queue_pressed", "1 while publishes are refused for it"),
    Metric::gauge("millrace_full_accounts", "Accounts whose publishes are refused alone"),
    Metric::gauge("millrace_publish_streams", "Streams of batches that are open"),
    Metric::histogram("millrace_queue_seconds", "How long calls of the queue took")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_queue_errors_total", "Calls that the queue did not do")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_trace_spans_total", "Spans, by what became of them")
        .by(&[("result", &["exported", "failed", "dropped"])]),
];

/// Counts the results of a publish, and how long it took on `face`.
pub(crate) fn published(face: &'static str, results: &[PublishResult], took: Duration) {
    histogram!("millrace_publish_seconds", "face" => face).record(took);
    histogram!("millrace_publish_events", "face" => face).record(float(results.len()));
    let mut unmatched = 0_u64;
    let mut by_result: Vec<(&'static str, u64)> = Vec::new();
    for result in results {
        let word = match &result.outcome {
            Outcome::Accepted { sinks } => {
                unmatched += u64::from(*sinks == 0);
                "accepted"
            }
            Outcome::Duplicate => "duplicate",
            Outcome::Rejected(refusal) => refusal.code.as_str(),
        };
        match by_result.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => by_result.push((word, 1)),
        }
    }
    for (result, count) in by_result {
        counter!("millrace_published_events_total", "result" => result).increment(count);
    }
    if unmatched > 0 {
        counter!("millrace_unmatched_events_total").increment(unmatched);
    }
}

/// Counts an event whose data does not fit its schema; `mode` says what becomes of it.
pub(crate) fn unfit(mode: &'static str, schema_id: &str) {
    let schema = schema_id.to_owned();
    counter!("millrace_unfit_events_total", "mode" => mode, "schema" => schema).increment(1);
}

/// Counts a schema that cannot be compiled.
pub(crate) fn not_compiled() {
    counter!("millrace_uncompiled_schemas_total").increment(1);
}

/// How many compiled schemas are kept, and in how many bytes.
pub(crate) fn compiled(schemas: usize, bytes: usize) {
    gauge!("millrace_compiled_schemas").set(float(schemas));
    gauge!("millrace_compiled_schema_bytes").set(float(bytes));
}

/// Counts a chunk that was appended.
pub(crate) fn appended(events: usize, bytes: usize) {
    histogram!("millrace_chunk_events").record(float(events));
    histogram!("millrace_chunk_bytes").record(float(bytes));
}

/// Times a write of the queue, whatever came of it.
pub(crate) fn append_took(took: Duration) {
    histogram!("millrace_append_seconds").record(took);
}

/// Counts a request that was refused as a whole; `reason` is one of few words.
pub(crate) fn refused(reason: &'static str) {
    counter!("millrace_refused_publishes_total", "reason" => reason).increment(1);
}

/// Counts an event that was refused since its account has as much waiting as it may.
pub(crate) fn account_full() {
    counter!("millrace_full_account_events_total").increment(1);
}

/// How many accounts have as much waiting as they may.
pub(crate) fn full_accounts(accounts: usize) {
    gauge!("millrace_full_accounts").set(float(accounts));
}

/// How full the queue is, and whether publishes are refused for it.
#[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
pub(crate) fn pressure(pressure: Pressure, pressed: bool) {
    gauge!("millrace_queue_used_bytes").set(pressure.used_bytes as f64);
    gauge!("millrace_queue_max_bytes").set(pressure.max_bytes.unwrap_or(0) as f64);
    gauge!("millrace_queue_pressed").set(if pressed { 1.0 } else { 0.0 });
}

/// Counts a stream of batches that opened or ended.
pub(crate) fn streams(change: f64) {
    gauge!("millrace_publish_streams").increment(change);
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; these numbers are small")]
fn float(number: usize) -> f64 {
    number as f64
}
