//! What an exchange means for the events of its request.

use millrace_domain::outcome::{Outcome, Reason, of_status};
use tokio::time::Instant;

use super::{Answer, Exchange, Failure, retry_after};
use crate::{Attempt, Delivery, words::clean_text};

/// What an exchange means for all events of its batch.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) http_status: Option<u16>,
    pub(crate) detail: String,
}

impl Verdict {
    /// That of a request which cannot be made: `detail` says why.
    pub(crate) fn unusable(detail: String) -> Self {
        let outcome = Outcome::Discard { reason: Reason::Configuration };
        Self { outcome, http_status: None, detail }
    }

    /// That of an exchange; no text has any of `secrets`.
    pub(crate) fn of(exchange: Exchange, secrets: &[String], now_seconds: i64) -> Self {
        judge(exchange, secrets, now_seconds)
    }

    /// The attempt in which this became of every event of `batch`.
    pub(crate) fn for_all(self, batch: &[Delivery], started: Instant) -> Attempt {
        Attempt {
            outcomes: vec![self.outcome; batch.len()],
            http_status: self.http_status,
            duration: started.elapsed(),
            detail: self.detail,
        }
    }
}

fn judge(exchange: Exchange, secrets: &[String], now_seconds: i64) -> Verdict {
    let clean = |bytes: &[u8]| clean_text(bytes, secrets);
    match exchange {
        Exchange::Answered(answer) => Verdict {
            outcome: by_status(&answer, now_seconds),
            http_status: Some(answer.status.as_u16()),
            detail: clean(&answer.body),
        },
        Exchange::CutShort(answer, failure) => {
            let (reason, said) = of_failure(failure);
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
            Verdict { outcome, http_status, detail: clean(said.as_bytes()) }
        }
        Exchange::Failed(failure) => {
            let (reason, said) = of_failure(failure);
            let outcome = Outcome::Retry { reason, after: None };
            Verdict { outcome, http_status: None, detail: clean(said.as_bytes()) }
        }
    }
}

/// The outcome by the status; `Retry-After` counts where RFC 6585 and RFC 9110 give it for a service that is busy.
fn by_status(answer: &Answer, now_seconds: i64) -> Outcome {
    let status = answer.status.as_u16();
    let asked = answer.retry_after.as_ref().filter(|_| matches!(status, 429 | 503));
    of_status(status, asked.and_then(|value| retry_after(value, now_seconds)))
}

fn of_failure(failure: Failure) -> (Reason, String) {
    match failure {
        Failure::Connect(text) => (Reason::Connect, text),
        Failure::Malformed(text) => (Reason::Refused, text),
        Failure::Timeout(text) => (Reason::Timeout, text),
    }
}
