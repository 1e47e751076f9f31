//! What a deliverer counts and times. No label names a sink: there may be any number of them.

use std::{sync::LazyLock, time::Duration};

use metrics::{Counter, Histogram, counter, histogram};
use millrace_domain::SinkType;
use millrace_runtime::telemetry::Metric;

const OUTCOMES: [&str; 3] = ["delivered", "retry", "discard"];
const TYPES: [&str; 5] = ["webhook", "kinesis", "segment", "cloudevents", "file"];
const BY_BOTH: &[(&str, &[&str])] = &[("outcome", &OUTCOMES), ("sink_type", &TYPES)];
const OPERATIONS: (&str, &[&str]) =
    ("operation", &["settle", "parked", "acquire", "renew", "release", "note"]);

/// All of them; `docs/metrics.md` says more.
pub(crate) const ALL: &[Metric] = &[
    Metric::gauge("millrace_partitions", "Partitions that this process owns"),
    Metric::gauge("millrace_partitions_configured", "Partitions that there are"),
    Metric::counter("millrace_partition_changes_total", "Partitions that came and went")
        .by(&[("change", &["taken", "released", "lost"])]),
    Metric::gauge("millrace_lanes", "Sinks that have events in memory, or had of late"),
    Metric::gauge("millrace_breakers", "Breakers, by what they are in")
        .by(&[("state", &["closed", "open", "half_open"])]),
    Metric::gauge("millrace_backlog_events", "Events that are parked"),
    Metric::gauge("millrace_backlog_bytes", "Their bytes, before compression"),
    Metric::gauge("millrace_backlog_oldest_seconds", "How long the oldest of them has waited"),
    Metric::gauge(
        "millrace_read_lag_seconds",
        "How long the oldest of what was just read had waited",
    ),
    Metric::histogram("millrace_read_seconds", "How long chunks waited to be read"),
    Metric::gauge("millrace_unsettled_chunks", "Chunks that are read and not settled"),
    Metric::gauge("millrace_unsettled_bytes", "Their bytes"),
    Metric::gauge(
        "millrace_oldest_unsettled_seconds",
        "How long ago the oldest of them was accepted",
    ),
    Metric::counter("millrace_attempts_total", "Requests to sinks").by(BY_BOTH),
    Metric::histogram("millrace_attempt_seconds", "How long requests to sinks took").by(BY_BOTH),
    Metric::histogram("millrace_attempt_events", "How many events requests to sinks had")
        .by(&[("sink_type", &TYPES)]),
    Metric::counter("millrace_delivered_events_total", "Events that sinks took"),
    Metric::histogram(
        "millrace_delivery_seconds",
        "How long events took from acceptance to delivery",
    ),
    Metric::counter("millrace_dropped_events_total", "Events that were given up")
        .by(&[("reason", &["expired", "rejected", "undeliverable", "gone"])]),
    Metric::counter("millrace_quarantined_chunks_total", "Chunks that were set aside"),
    Metric::counter(
        "millrace_attempt_reports_lost_total",
        "Reports of attempts that were given up",
    ),
    Metric::counter("millrace_attempt_reports_trimmed_total", "The same, since nobody read them"),
    Metric::gauge("millrace_accounts_full", "Accounts that have as much waiting as they may"),
    Metric::histogram("millrace_queue_seconds", "How long calls of the queue took")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_queue_errors_total", "Calls that the queue did not do")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_trace_spans_total", "Spans, by what became of them")
        .by(&[("result", &["exported", "failed", "dropped"])]),
];

/// What is counted so often that looking it up by its name would show.
struct Often {
    delivered: Counter,
    delivery_seconds: Histogram,
    read_seconds: Histogram,
    /// By type of sink and outcome.
    attempts: Vec<(Counter, Histogram)>,
    /// By type of sink.
    attempt_events: Vec<Histogram>,
}

static OFTEN: LazyLock<Often> = LazyLock::new(|| Often {
    delivered: counter!("millrace_delivered_events_total"),
    delivery_seconds: histogram!("millrace_delivery_seconds"),
    read_seconds: histogram!("millrace_read_seconds"),
    attempts: TYPES
        .iter()
        .flat_map(|kind| OUTCOMES.iter().map(move |outcome| (*kind, *outcome)))
        .map(|(kind, outcome)| {
            (
                counter!("millrace_attempts_total", "outcome" => outcome, "sink_type" => kind),
                histogram!("millrace_attempt_seconds", "outcome" => outcome, "sink_type" => kind),
            )
        })
        .collect(),
    attempt_events: TYPES
        .iter()
        .map(|kind| histogram!("millrace_attempt_events", "sink_type" => *kind))
        .collect(),
});

/// Counts an event that its sink took, so long after its acceptance.
pub(crate) fn delivered(after: Duration) {
    OFTEN.delivered.increment(1);
    OFTEN.delivery_seconds.record(after);
}

/// Counts a chunk that was read, so long after its acceptance.
pub(crate) fn read(after: Duration) {
    OFTEN.read_seconds.record(after);
}

/// Counts an event that is given up.
pub(crate) fn dropped(reason: &'static str) {
    counter!("millrace_dropped_events_total", "reason" => reason).increment(1);
}

/// Counts a request that ended; its outcome is the worst of its events'.
pub(crate) fn attempted(kind: SinkType, outcome: &'static str, events: usize, took: Duration) {
    let place = |all: &[&str], word: &str| all.iter().position(|it| *it == word);
    let Some(kind) = place(&TYPES, kind.as_str()) else { return };
    let Some(outcome) = place(&OUTCOMES, outcome) else { return };
    let (attempts, seconds) = &OFTEN.attempts[kind * OUTCOMES.len() + outcome];
    attempts.increment(1);
    seconds.record(took);
    OFTEN.attempt_events[kind].record(u32::try_from(events).unwrap_or(u32::MAX));
}

/// Counts partitions that came or went.
pub(crate) fn partitions(change: &'static str, count: usize) {
    counter!("millrace_partition_changes_total", "change" => change).increment(count as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_sink_is_counted() {
        assert_eq!(SinkType::ALL.map(SinkType::as_str), TYPES);
    }
}
