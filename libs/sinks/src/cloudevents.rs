//! Any HTTP receiver of CloudEvents, another Millrace included (HTTP Protocol Binding 1.0.2): structured, batched or binary.
//!
//! Before the first request, and then once an hour, the receiver is asked whether it wants events from here
//! (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4): see [`handshake`].

mod answer;
mod handshake;
mod render;

use std::sync::Arc;

use async_trait::async_trait;
use millrace_domain::{
    SinkConfiguration,
    outcome::{Outcome, Reason},
    sink::CloudEventsMode,
};
use tokio::time::Instant;

use self::handshake::{Consent, Handshakes};
use crate::{
    Attempt, BatchLimits, Delivery, Driver, Examination, SinkSpec, Step,
    http::{HttpClient, Rendered, Verdict},
};

/// Most bytes of a batch, brackets and commas included: what common servers take by default, and Millrace by far.
const BATCH_BYTES: usize = 64 * 1024;
/// Most events of a batch: the results of so many fit what is read of an answer.
const BATCH_EVENTS: usize = 100;

/// Delivers to receivers of CloudEvents.
pub(crate) struct CloudEvents {
    http: Arc<HttpClient>,
    handshakes: Handshakes,
}

impl CloudEvents {
    /// A driver that says events to be from `origin`.
    pub(crate) fn new(http: Arc<HttpClient>, origin: &str) -> Self {
        Self { handshakes: Handshakes::new(Arc::clone(&http), origin), http }
    }

    /// Sends what the receiver wants.
    async fn send(
        &self,
        rendered: Rendered,
        sink: &SinkSpec,
        batch: &[Delivery],
        now_seconds: i64,
    ) -> Attempt {
        let (started, end) = (Instant::now(), self.http.end());
        if let Consent::Refused(detail) = self.handshakes.consent(sink, &rendered, end).await {
            let outcome = Outcome::Retry { reason: Reason::Setup, after: None };
            return Verdict { outcome, http_status: None, detail }.for_all(batch, started);
        }
        let Rendered { request, secrets } = rendered;
        let exchange = self.http.send_until(end, request).await;
        let by_event = answer::results(&exchange, batch);
        let attempt = Verdict::of(exchange, &secrets, now_seconds).for_all(batch, started);
        match by_event {
            Some(outcomes) => Attempt { outcomes, ..attempt },
            None => attempt,
        }
    }
}

#[async_trait]
impl Driver for CloudEvents {
    fn limits(&self, sink: &SinkSpec) -> BatchLimits {
        match &sink.configuration {
            SinkConfiguration::CloudEvents {
                batch_events: true,
                mode: CloudEventsMode::Structured,
                ..
            } => BatchLimits { events: BATCH_EVENTS, bytes: BATCH_BYTES - BATCH_EVENTS - 1 },
            _ => BatchLimits { events: 1, bytes: BATCH_BYTES },
        }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt {
        match render::render(sink, batch) {
            Ok(rendered) => self.send(rendered, sink, batch, now_seconds).await,
            Err(detail) => Verdict::unusable(detail).for_all(batch, Instant::now()),
        }
    }

    async fn examine(&self, sink: &SinkSpec, event: &Delivery, now_seconds: i64) -> Examination {
        let batch = std::slice::from_ref(event);
        let mut steps = Vec::new();
        if let Ok(rendered) = render::render(sink, batch) {
            steps = self.http.look(rendered.request.uri(), &rendered.secrets).await;
            if steps.iter().all(|step| step.result.is_ok()) {
                let began = Instant::now();
                let result = match self.handshakes.ask_anew(sink, &rendered, self.http.end()).await
                {
                    Consent::Given(said) | Consent::Silent(said) => Ok(said),
                    Consent::Refused(said) => Err(said),
                };
                steps.push(Step { name: "handshake", duration: began.elapsed(), result });
            }
        }
        Examination { steps, attempt: self.deliver(sink, batch, now_seconds).await }
    }
}
