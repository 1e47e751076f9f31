//! Sends a batch, and again what could not be kept at the moment: same ids, growing waits, an end.

use std::time::Duration;

use millrace_domain::{Refusal, RefusalCode, backoff::Backoff};
use millrace_proto::v1::{
    self, PublishResult, RejectionCode, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use tokio::time::{Instant, sleep};

use tonic::Status;

use super::{Batch, streamed::Streamed};
use crate::client::{connection::Connection, failure};

/// From 200 ms up to 5 s between tries.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(5) };

/// Publishes batches over one connection.
pub(crate) struct Sender {
    /// The router.
    pub(crate) client: PublishServiceClient<Connection>,
    /// How long a batch is tried again.
    pub(crate) retry_for: Duration,
    /// Whether events are left out that were accepted before.
    pub(crate) deduplicate: bool,
    /// One stream for all batches; `None`: a call for each.
    pub(crate) stream: Option<Streamed>,
}

/// What became of one event.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Its id.
    pub(crate) id: String,
    /// How it is kept, or why it is not.
    pub(crate) outcome: Result<Kept, Refusal>,
}

/// How an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It goes to so many sinks.
    For(u32),
    /// One with its id was accepted before.
    Already,
}

impl Delivery {
    /// Why it was not kept, if it was not.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.outcome.as_ref().err()
    }
}

impl Sender {
    /// Publishes a batch, and gives what became of each event, in order.
    ///
    /// # Errors
    /// What the server refuses as a whole, such as wrong credentials.
    pub(crate) async fn publish(&self, batch: Batch) -> anyhow::Result<Vec<Delivery>> {
        let first_line = batch.lines.first().copied().unwrap_or_default();
        let mut deliveries: Vec<Option<Delivery>> = batch.events.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, v1::Event)> = batch.events.into_iter().enumerate().collect();
        let (started, mut failures) = (Instant::now(), 0);
        while !waiting.is_empty() {
            let last_try = started.elapsed() >= self.retry_for;
            let events = waiting.iter().map(|(_, event)| event.clone()).collect();
            let request = v1::PublishRequest { events, deduplicate: self.deduplicate };
            let wait = match self.send(request).await {
                Ok(results) => {
                    waiting = settle(waiting, results, last_try, &mut deliveries)?;
                    None
                }
                Err(status) if failure::may_pass(&status) && !last_try => {
                    failure::retry_delay(&status)
                }
                Err(status) => {
                    let doing = format!("publish the batch that starts at line {first_line}");
                    return Err(failure::explain(&status, &doing));
                }
            };
            if !waiting.is_empty() {
                failures += 1;
                sleep(BACKOFF.delay(failures, jitter(), wait)).await;
            }
        }
        Ok(deliveries.into_iter().flatten().collect())
    }

    async fn send(&self, request: v1::PublishRequest) -> Result<Vec<PublishResult>, Status> {
        match &self.stream {
            Some(stream) => stream.publish(request).await,
            None => Ok(self.client.clone().publish(request).await?.into_inner().results),
        }
    }
}

/// Notes the results; gives back what is to be sent again.
fn settle(
    sent: Vec<(usize, v1::Event)>,
    results: Vec<PublishResult>,
    last_try: bool,
    deliveries: &mut [Option<Delivery>],
) -> anyhow::Result<Vec<(usize, v1::Event)>> {
    anyhow::ensure!(
        results.len() == sent.len(),
        "the router answered {} results for {} events; is --router a router?",
        results.len(),
        sent.len()
    );
    let mut again = Vec::new();
    for ((at, event), result) in sent.into_iter().zip(results) {
        let outcome = match result.outcome {
            Some(Outcome::Accepted(accepted)) => Ok(Kept::For(accepted.sinks)),
            Some(Outcome::Duplicate(_)) => Ok(Kept::Already),
            Some(Outcome::Rejected(rejected)) => {
                if !last_try && passes(rejected.code()) {
                    again.push((at, event));
                    continue;
                }
                Err(refusal(rejected))
            }
            None => Err(Refusal::invalid("", "the router did not say what became of it")),
        };
        if let Some(place) = deliveries.get_mut(at) {
            *place = Some(Delivery { id: event.id, outcome });
        }
    }
    Ok(again)
}

fn passes(code: RejectionCode) -> bool {
    matches!(code, RejectionCode::ResourceExhausted | RejectionCode::Unavailable)
}

fn refusal(rejected: v1::Rejected) -> Refusal {
    let code = match rejected.code() {
        RejectionCode::Unspecified | RejectionCode::InvalidArgument => RefusalCode::InvalidArgument,
        RejectionCode::NotFound => RefusalCode::NotFound,
        RejectionCode::PermissionDenied => RefusalCode::PermissionDenied,
        RejectionCode::TooLarge => RefusalCode::TooLarge,
        RejectionCode::ResourceExhausted => RefusalCode::ResourceExhausted,
        RejectionCode::Unavailable => RefusalCode::Unavailable,
    };
    Refusal { code, field: rejected.field, message: rejected.message }
}

/// From 0 up to 1.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
