//! What control-plane counts and times.

use millrace_runtime::telemetry::Metric;

const OPERATIONS: (&str, &[&str]) = ("operation", &["append", "acknowledge"]);

/// All of them; `docs/metrics.md` says more.
pub(crate) const ALL: &[Metric] = &[
    Metric::counter("millrace_log_entries_total", "Entries written to the logs")
        .by(&[("log", &["attempts", "errors", "drops"])]),
    Metric::counter("millrace_log_entries_refused_total", "Entries that the database refused"),
    Metric::histogram("millrace_logs_write_seconds", "How long writes of the logs took"),
    Metric::counter("millrace_reports_unreadable_total", "Reports of deliverers that are none"),
    Metric::counter("millrace_announced_events_total", "Events about sinks that were published")
        .by(&[("type", &[])]),
    Metric::counter("millrace_announcements_lost_total", "Events about sinks that were not"),
    Metric::counter("millrace_resent_events_total", "Dropped events that were sent again"),
    Metric::counter(
        "millrace_dropped_events_forgotten_total",
        "Dropped events that were forgotten before their time, for their account's quota",
    ),
    Metric::histogram("millrace_database_seconds", "How long calls of the database took")
        .by(&[("operation", &[])]),
    Metric::counter("millrace_database_errors_total", "Calls that the database did not do"),
    Metric::histogram("millrace_queue_seconds", "How long calls of the queue took")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_queue_errors_total", "Calls that the queue did not do")
        .by(&[OPERATIONS]),
    Metric::counter("millrace_trace_spans_total", "Spans, by what became of them")
        .by(&[("result", &["exported", "failed", "dropped"])]),
];
