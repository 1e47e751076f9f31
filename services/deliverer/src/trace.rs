//! The span of an attempt: part of the trace of its first event that is recorded, linked to those of the others.
//!
//! The receiver gets it as the request's parent. What an account chose that may be secret (paths, queries, headers, answers) is
//! not told.

use millrace_domain::{SinkConfiguration, outcome::Outcome};
use millrace_runtime::telemetry::traces::{self, Kind, Span, Start};
use millrace_sinks::Attempt;
use url::Url;

use crate::{attempt::Request, parcel::Parcel};

/// Begins the span of an attempt. `None`: none of its events is of a trace that is recorded.
pub(crate) fn begin(request: &Request) -> Option<Span> {
    if !traces::are_on() {
        return None;
    }
    let mut traced: Vec<&str> = Vec::new();
    for parcel in &request.parcels {
        let of = parcel.traceparent();
        // Events of one publish are mostly of one span.
        if traced.last() != Some(&of) && !of.is_empty() {
            traced.push(of);
        }
    }
    let first = traced.iter().position(|of| traces::is_sampled(of))?;
    let parent = traced[first];
    let links = traced.into_iter().skip(first + 1).filter(|of| *of != parent);
    let links = links.filter(|of| traces::is_sampled(of)).collect();
    let (method, sink_type) = (method(request), request.spec.configuration.sink_type().as_str());
    let name = format!("{} {sink_type}", method.unwrap_or("deliver")).into();
    let span = Span::begin(Start { name, kind: Kind::Client, parent, links })?;
    describe(&span, request, method);
    Some(span)
}

/// Names are those of <https://opentelemetry.io/docs/specs/semconv/http/http-spans/> and
/// <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>, where they have one.
fn describe(span: &Span, request: &Request, method: Option<&'static str>) {
    let Request { parcels, spec, started, probe, .. } = request;
    if let Some(method) = method {
        span.set("http.request.method", method);
    }
    if let Some((scheme, host, port)) = destination(&spec.configuration) {
        span.set("url.scheme", scheme);
        span.set("server.address", host);
        span.set("server.port", i64::from(port));
    }
    span.set("millrace.sink.type", spec.configuration.sink_type().as_str());
    span.set("millrace.sink.sid", spec.sid.to_string());
    span.set("millrace.account.sid", spec.account.to_string());
    span.set("messaging.batch.message_count", i64::try_from(parcels.len()).unwrap_or(i64::MAX));
    if let [parcel] = parcels.as_slice() {
        span.set("messaging.message.id", parcel.id().to_owned());
        span.set("cloudevents.event_id", parcel.id().to_owned());
        span.set("cloudevents.event_type", parcel.event_type().to_owned());
    }
    let failed = parcels.iter().map(|parcel| parcel.attempts).max().unwrap_or(0);
    span.set("millrace.attempt", i64::from(failed) + 1);
    if failed > 0 {
        span.set("http.request.resend_count", i64::from(failed));
    }
    let oldest = parcels.iter().map(|parcel| parcel.accepted).min().unwrap_or(*started);
    span.set("millrace.waited_seconds", started.since(oldest).as_secs_f64());
    span.set("millrace.probe", *probe);
}

/// Ends the span of an attempt with what it came to.
pub(crate) fn end(span: &Span, attempt: &Attempt) {
    if let Some(status) = attempt.http_status {
        span.set("http.response.status_code", i64::from(status));
    }
    let mut worst = ("delivered", None);
    for outcome in &attempt.outcomes {
        match outcome {
            Outcome::Delivered => {}
            Outcome::Retry { reason, .. } if worst.0 != "discard" => {
                worst = ("retry", Some(reason.code()));
            }
            Outcome::Retry { .. } => {}
            Outcome::Discard { reason } => worst = ("discard", Some(reason.code())),
        }
    }
    span.set("millrace.outcome", worst.0);
    if let Some(code) = worst.1 {
        span.set("millrace.error_code", i64::from(code));
        // An answer says it by its status.
        let status = attempt.http_status.filter(|status| *status >= 400);
        span.fail(status.map_or_else(|| code.to_string(), |status| status.to_string()));
    }
    span.end();
}

/// Tells the trace of an event that it was given up without an attempt.
pub(crate) fn dropped(parcel: &Parcel, reason: &'static str) {
    let parent = parcel.traceparent();
    if !traces::are_on() || !traces::is_sampled(parent) {
        return;
    }
    let start =
        Start { name: "drop event".into(), kind: Kind::Internal, parent, links: Vec::new() };
    let Some(span) = Span::begin(start) else { return };
    span.set("messaging.message.id", parcel.id().to_owned());
    span.set("millrace.sink.sid", parcel.sink.to_string());
    span.fail(reason);
}

/// The method that a sink is called by, where it is called by HTTP.
fn method(request: &Request) -> Option<&'static str> {
    match &request.spec.configuration {
        SinkConfiguration::Webhook { method, .. } => Some(method.as_str()),
        SinkConfiguration::Segment { .. } | SinkConfiguration::CloudEvents { .. } => Some("POST"),
        SinkConfiguration::Kinesis { .. } | SinkConfiguration::File { .. } => None,
    }
}

/// Scheme, host and port of a destination, which are no secret; its path and query may be.
fn destination(configuration: &SinkConfiguration) -> Option<(String, String, u16)> {
    let url = Url::parse(configuration.destination()?.reveal()).ok()?;
    let port = url.port_or_known_default()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), port))
}
