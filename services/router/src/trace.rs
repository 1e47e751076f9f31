//! Spans of a publish: one of the request, and one of each event that is of a trace of its own.
//!
//! What is queued carries the span's `traceparent` in place of the caller's: so the attempts to deliver it are part of it.

use millrace_domain::RefusalCode;
use millrace_runtime::telemetry::traces::{self, Kind, Span, Start};

use crate::{
    publish::{Outcome, PublishResult},
    route::Routed,
};

/// Where a request came in, in the words of OpenTelemetry's conventions
/// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>, <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
#[derive(Debug)]
pub(crate) struct Face {
    name: &'static str,
    attributes: &'static [(&'static str, &'static str)],
}

/// A publish over gRPC.
pub(crate) const GRPC: Face = Face {
    name: "millrace.v1.PublishService/Publish",
    attributes: &[
        ("rpc.system", "grpc"),
        ("rpc.service", "millrace.v1.PublishService"),
        ("rpc.method", "Publish"),
    ],
};

/// A batch of a stream.
pub(crate) const STREAM: Face = Face {
    name: "millrace.v1.PublishService/PublishStream",
    attributes: &[
        ("rpc.system", "grpc"),
        ("rpc.service", "millrace.v1.PublishService"),
        ("rpc.method", "PublishStream"),
    ],
};

/// A publish over HTTP.
pub(crate) const HTTP: Face = Face {
    name: "POST /v1/Events",
    attributes: &[
        ("http.request.method", "POST"),
        ("http.route", "/v1/Events"),
        ("url.path", "/v1/Events"),
    ],
};

/// Begins the span of a request, if its trace is sampled.
pub(crate) fn begin(face: &Face, parent: &str) -> Option<Span> {
    let (name, links) = (face.name.into(), Vec::new());
    let span = Span::begin(Start { name, kind: Kind::Server, parent, links })?;
    face.attributes.iter().for_each(|(name, value)| span.set(name, *value));
    Some(span)
}

/// Begins the span of an event that is of another trace than its request, if that is sampled, and makes what is queued part
/// of it.
pub(crate) fn of_event(routed: &mut Routed, request: &str) -> Option<Span> {
    let parent = routed.rolled_up.as_mut().map(|(_, event)| event);
    let mut queued: Vec<_> = routed.event.iter_mut().chain(parent).collect();
    let first = queued.first().filter(|event| event.traceparent != request)?;
    let links = if traces::is_sampled(request) { vec![request] } else { Vec::new() };
    let name = "publish event".into();
    let span =
        Span::begin(Start { name, kind: Kind::Producer, parent: &first.traceparent, links })?;
    span.set("messaging.system", "millrace");
    span.set("messaging.operation.type", "send");
    span.set("messaging.message.id", first.id.clone());
    span.set("cloudevents.event_id", first.id.clone());
    span.set("cloudevents.event_type", first.r#type.clone());
    queued.iter_mut().for_each(|event| event.traceparent = span.traceparent());
    Some(span)
}

/// Says what became of a request.
pub(crate) fn tell(span: Option<&Span>, results: &[PublishResult]) {
    let Some(span) = span else { return };
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let refusals = results.iter().filter_map(|result| match &result.outcome {
        Outcome::Rejected(refusal) => Some(refusal.code),
        Outcome::Accepted { .. } | Outcome::Duplicate => None,
    });
    span.set("messaging.batch.message_count", number(results.len()));
    span.set("millrace.events.rejected", number(refusals.clone().count()));
    // What the producer did wrong is no failure of a server.
    let is_ours = |code: &RefusalCode| {
        matches!(code, RefusalCode::Unavailable | RefusalCode::ResourceExhausted)
    };
    if let Some(code) = refusals.clone().find(is_ours) {
        span.fail(code.as_str());
    } else if let Some(code) = refusals.clone().next() {
        span.set("error.type", code.as_str());
    }
}
