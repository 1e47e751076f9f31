//! Traces: spans of what is sampled, tied together by W3C trace context (<https://www.w3.org/TR/trace-context/>).
//!
//! Whether a trace is recorded is decided where it begins. A span is there only if its trace is: of everything else, no more is
//! seen here than a look at whether traces are on, and at one flag of a text.

use std::{borrow::Cow, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue, Value,
    context::FutureExt as _,
    trace::{
        Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

use super::{TelemetrySettings, connect};

mod export;

pub use self::export::Export;

/// What spans are recorded with; none: traces are off.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    follow_callers: bool,
}

/// What a span is to those at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that is served.
    Server,
    /// A request that is made.
    Client,
    /// What will be worked on later.
    Producer,
    /// Nothing.
    Internal,
}

/// How a span begins.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// What it is called; few names in all.
    pub name: Cow<'static, str>,
    /// What it is to others.
    pub kind: Kind,
    /// The `traceparent` of what it is part of; empty, or none: it begins a trace.
    pub parent: &'a str,
    /// The `traceparent`s of what else it is about.
    pub links: Vec<&'a str>,
}

/// A span that is recorded. Ends when it is dropped, unless it was ended before.
#[derive(Clone, Debug)]
pub struct Span {
    context: Context,
}

/// Whether traces are exported at all.
pub fn are_on() -> bool {
    TRACING.get().is_some()
}

/// Whether a `traceparent` says that its trace is recorded.
pub fn is_sampled(traceparent: &str) -> bool {
    remote(traceparent).is_some_and(|context| context.is_sampled())
}

impl Span {
    /// Begins a span. `None`: traces are off, or its trace is not sampled.
    pub fn begin(start: Start<'_>) -> Option<Self> {
        let Tracing { tracer, follow_callers } = TRACING.get()?;
        let parent = remote(start.parent);
        if *follow_callers && parent.as_ref().is_some_and(|parent| !parent.is_sampled()) {
            return None;
        }
        let kind = match start.kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Internal => SpanKind::Internal,
        };
        let mut builder = tracer.span_builder(start.name).with_kind(kind);
        if !start.links.is_empty() {
            let links = start.links.into_iter().filter_map(remote);
            builder = builder.with_links(links.map(Link::with_context).collect());
        }
        let context = Context::new();
        let context = match parent {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        let span = tracer.build_with_context(builder, &context);
        let context = Context::new().with_span(span);
        let sampled = context.span().span_context().is_sampled();
        sampled.then_some(Self { context })
    }

    /// What ties to it what it causes elsewhere.
    pub fn traceparent(&self) -> String {
        let span = self.context.span();
        let of = span.span_context();
        format!("00-{}-{}-{:02x}", of.trace_id(), of.span_id(), of.trace_flags())
    }

    /// Says something of it; names are those of OpenTelemetry's conventions where there is one.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(name, value));
    }

    /// Says that what it is about failed, and by what; few words in all.
    pub fn fail(&self, error_type: impl Into<Value>) {
        self.set("error.type", error_type);
        self.context.span().set_status(Status::error(""));
    }

    /// Ends it; log lines may still be of it.
    pub fn end(&self) {
        self.context.span().end();
    }

    /// Makes what is logged while `work` runs part of it.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        work.with_context(self.context.clone()).await
    }

    /// Makes what is logged on this thread part of it, until that is dropped.
    pub fn enter(&self) -> impl Drop + use<> {
        self.context.clone().attach()
    }
}

/// The trace and the span that are worked on.
pub(super) fn current() -> Option<(TraceId, SpanId)> {
    TRACING.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let of = span.span_context();
        of.is_sampled().then(|| (of.trace_id(), of.span_id()))
    })
}

/// Starts to export traces; `None`: there is nowhere to.
pub(super) fn start(
    settings: &TelemetrySettings,
    service: &'static str,
) -> anyhow::Result<Option<Export>> {
    if settings.otlp.endpoint.is_empty() {
        return Ok(None);
    }
    let name = if settings.service_name.is_empty() { service } else { &settings.service_name };
    let resource = Resource::builder()
        .with_service_name(name.to_owned())
        .with_attribute(KeyValue::new("service.namespace", "millrace"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let channel = connect::channel(&settings.otlp)?;
    let (queue, export) = export::start(&settings.otlp, channel, &resource)?;
    let by_ratio = Sampler::TraceIdRatioBased(settings.sample_ratio);
    let sampler =
        if settings.follow_callers { Sampler::ParentBased(Box::new(by_ratio)) } else { by_ratio };
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_span_processor(queue)
        .build();
    let tracing =
        Tracing { tracer: provider.tracer("millrace"), follow_callers: settings.follow_callers };
    let first = TRACING.set(tracing).is_ok();
    anyhow::ensure!(first, "cannot start traces: they were started before");
    Ok(Some(export))
}

/// Reads a `traceparent`; of a later version, what is the same in all.
fn remote(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sizes = [version.len(), trace.len(), span.len(), flags.len()];
    if sizes != [2, 32, 16, 2] || version == "ff" {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_of_a_caller_is_read_as_w3c_writes_it() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_sampled(sampled));
        assert!(is_sampled(&sampled.replace("-01", "-03")), "other flags mean nothing to us");
        assert!(is_sampled(&sampled.replace("00-4b", "01-4b")), "a later version");
        assert!(!is_sampled(&sampled.replace("-01", "-00")));
        for wrong in
            ["", "00", "00-0-0-01", &sampled.replace("4bf9", "é"), &sampled.replace('-', "")]
        {
            assert!(remote(wrong).is_none(), "{wrong}");
        }
        let nothing = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert!(remote(nothing).is_none(), "all zeros are no trace");
    }

    #[test]
    fn nothing_begins_while_traces_are_off() {
        let start = Start {
            name: "of a test".into(),
            kind: Kind::Internal,
            parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            links: Vec::new(),
        };
        assert!(!are_on() && Span::begin(start).is_none() && current().is_none());
    }
}
