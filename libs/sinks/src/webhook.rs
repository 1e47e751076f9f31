//! Webhooks: a JSON array of CloudEvents by `POST`, or one event in the query by `GET`; signed twice, sent once.

mod body;
mod query;
mod request;

use async_trait::async_trait;
use millrace_domain::{
    SinkConfiguration,
    outcome::{Outcome, Reason, of_status},
    sink::WebhookMethod,
};
use tokio::time::Instant;

use self::{body::JsonArray, request::Rendered};
use crate::{
    Attempt, BatchLimits, Delivery, Driver, SinkSpec,
    http::{self, Answer, Exchange, Failure, HttpClient, HttpOptions, SetupError},
};

/// Most bytes of a batch of events (Twilio Event Streams, `batch_events`: 64 kB), brackets and commas included.
const BATCH_BYTES: usize = 64 * 1024;
/// Most events of a batch: keeps a batch of tiny events within what a receiver can work off in 5 s.
const BATCH_EVENTS: usize = 1_000;

/// Delivers to webhooks.
pub(crate) struct Webhook {
    http: HttpClient<JsonArray>,
}

impl Webhook {
    /// A driver with connections of its own.
    ///
    /// # Errors
    /// [`SetupError`] if the options cannot be used.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, SetupError> {
        Ok(Self { http: HttpClient::new(options)? })
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
                judge(self.http.send(request).await, &secrets, now_seconds)
            }
            Err(detail) => Verdict {
                outcome: Outcome::Discard { reason: Reason::Configuration },
                http_status: None,
                detail,
            },
        };
        Attempt {
            outcomes: vec![verdict.outcome; batch.len()],
            http_status: verdict.http_status,
            duration: started.elapsed(),
            detail: verdict.detail,
        }
    }
}

/// What an exchange means for all events of its batch.
struct Verdict {
    outcome: Outcome,
    http_status: Option<u16>,
    detail: String,
}

fn judge(exchange: Exchange, secrets: &[String], now_seconds: i64) -> Verdict {
    let clean = |text: &[u8]| http::text(text, secrets);
    match exchange {
        Exchange::Answered(answer) => Verdict {
            outcome: by_status(&answer, now_seconds),
            http_status: Some(answer.status.as_u16()),
            detail: clean(&answer.body),
        },
        Exchange::CutShort(answer, failure) => {
            let (reason, text) = of_failure(failure);
            // An answer that did not end is no verdict, neither good nor bad; but it may ask for a wait.
            let outcome = match by_status(&answer, now_seconds) {
                Outcome::Retry { reason: Reason::Throttled, after } => {
                    Outcome::Retry { reason: Reason::Throttled, after }
                }
                Outcome::Retry { after, .. } => Outcome::Retry { reason, after },
                Outcome::Delivered | Outcome::Discard { .. } => {
                    Outcome::Retry { reason, after: None }
                }
            };
            let http_status = Some(answer.status.as_u16());
            Verdict { outcome, http_status, detail: clean(text.as_bytes()) }
        }
        Exchange::Failed(failure) => {
            let (reason, text) = of_failure(failure);
            let outcome = Outcome::Retry { reason, after: None };
            Verdict { outcome, http_status: None, detail: clean(text.as_bytes()) }
        }
    }
}

/// The outcome by the status; `Retry-After` counts where RFC 6585 and RFC 9110 give it for a service that is busy.
fn by_status(answer: &Answer, now_seconds: i64) -> Outcome {
    let status = answer.status.as_u16();
    let asked = answer.retry_after.as_ref().filter(|_| matches!(status, 429 | 503));
    of_status(status, asked.and_then(|value| http::retry_after(value, now_seconds)))
}

fn of_failure(failure: Failure) -> (Reason, String) {
    match failure {
        Failure::Connect(text) => (Reason::Connect, text),
        Failure::Malformed(text) => (Reason::Refused, text),
        Failure::Timeout(text) => (Reason::Timeout, text),
    }
}
