//! Webhooks: a JSON array of CloudEvents by `POST`, or one event in the query by `GET`; signed twice, sent once.

mod plan;
mod query;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use millrace_domain::{SinkConfiguration, sink::WebhookMethod};
use tokio::time::Instant;

pub(crate) use self::plan::Plan;
use crate::{
    Attempt, BatchLimits, Delivery, Driver, Examination, SinkSpec,
    http::{HttpClient, Rendered, Verdict},
};

/// Most bytes of a batch of events (Twilio Event Streams, `batch_events`: 64 kB), brackets and commas included.
const BATCH_BYTES: usize = 64 * 1024;
/// Most events of a batch: keeps a batch of tiny events within what a receiver can work off in 5 s.
const BATCH_EVENTS: usize = 1_000;

/// Delivers to webhooks.
pub(crate) struct Webhook {
    http: Arc<HttpClient>,
}

impl Webhook {
    pub(crate) fn new(http: Arc<HttpClient>) -> Self {
        Self { http }
    }
}

#[async_trait]
impl Driver for Webhook {
    fn limits(&self, sink: &SinkSpec) -> BatchLimits {
        match &sink.configuration {
            SinkConfiguration::Webhook {
                batch_events: true, method: WebhookMethod::Post, ..
            } => {
                // Two brackets and, with the most events, a comma less than events; so a full batch has at most 64 kB.
                BatchLimits { events: BATCH_EVENTS, bytes: BATCH_BYTES - BATCH_EVENTS - 1 }
            }
            _ => BatchLimits { events: 1, bytes: BATCH_BYTES },
        }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt {
        let started = Instant::now();
        let verdict = match request::render(sink, batch, now_seconds) {
            Ok(Rendered { request, secrets }) => {
                Verdict::of(self.http.send(request).await, &secrets, now_seconds)
            }
            Err(detail) => Verdict::unusable(detail),
        };
        verdict.for_all(batch, started)
    }

    async fn examine(&self, sink: &SinkSpec, event: &Delivery, now_seconds: i64) -> Examination {
        let batch = std::slice::from_ref(event);
        let steps = match request::render(sink, batch, now_seconds) {
            Ok(rendered) => self.http.look(rendered.request.uri(), &rendered.secrets).await,
            Err(_) => Vec::new(),
        };
        Examination { steps, attempt: self.deliver(sink, batch, now_seconds).await }
    }
}
