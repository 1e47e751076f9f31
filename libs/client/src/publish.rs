//! A stream of publishes: batch after batch on one call, each answered by its number.

use millrace_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::Client;

/// Batches that wait to be sent.
const WAITING_MAX: usize = 16;

/// What became of a batch: one result for each event, in order.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its number, from 1.
    pub batch: u64,
    /// One for each event.
    pub results: Vec<v1::PublishResult>,
}

/// An open stream. What is sent and not answered when it breaks may or may not be kept: publish it again with the same ids, and
/// with deduplication if a repeat must not be delivered.
#[derive(Debug)]
pub struct Publishes {
    sending: Option<mpsc::Sender<v1::PublishStreamRequest>>,
    answers: Streaming<v1::PublishStreamResponse>,
    last: u64,
    deduplicate: bool,
}

impl Client {
    /// Publishes a batch: one result for each event, in order. Not made again: events without ids would be accepted twice.
    ///
    /// # Errors
    /// What the router refuses as a whole.
    pub async fn publish(&self, events: Vec<v1::Event>) -> Result<Vec<v1::PublishResult>, Status> {
        let request = v1::PublishRequest { events, ..Default::default() };
        Ok(self.publishing().publish(request).await?.into_inner().results)
    }

    /// Opens a stream; with `deduplicate`, events are left out that were published before under the same id.
    ///
    /// # Errors
    /// What the router refuses, such as wrong credentials.
    pub async fn publish_stream(&self, deduplicate: bool) -> Result<Publishes, Status> {
        let (sending, waiting) = mpsc::channel(WAITING_MAX);
        let opened = self.publishing().publish_stream(ReceiverStream::new(waiting)).await?;
        let answers = opened.into_inner();
        Ok(Publishes { sending: Some(sending), answers, last: 0, deduplicate })
    }
}

impl Publishes {
    /// Sends a batch and gives its number; waits while too many are on their way.
    ///
    /// # Errors
    /// The stream is at its end: [`Publishes::next`] tells why.
    pub async fn send(&mut self, events: Vec<v1::Event>) -> Result<u64, Status> {
        let ended = || Status::unavailable("the stream is at its end");
        let sending = self.sending.as_ref().ok_or_else(ended)?;
        let batch = self.last + 1;
        let deduplicate = self.deduplicate;
        let request = v1::PublishStreamRequest { batch, events, deduplicate };
        sending.send(request).await.map_err(|_| ended())?;
        self.last = batch;
        Ok(batch)
    }

    /// Sends no more; what was sent is still answered.
    pub fn finish(&mut self) {
        self.sending = None;
    }

    /// The next answer, in whatever order they come; `None`: all were given.
    ///
    /// # Errors
    /// The stream broke.
    pub async fn next(&mut self) -> Result<Option<Published>, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.map(|answer| Published { batch: answer.batch, results: answer.results }))
    }
}
