//! All batches over one stream, opened again where it broke.
//!
//! Nobody reads answers by profession: of those who wait for one, one reads and hands out what comes until its own is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use millrace_proto::v1::{
    PublishRequest, PublishResult, PublishStreamRequest, PublishStreamResponse,
    publish_service_client::PublishServiceClient,
};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::client::connection::Connection;

type Answer = Result<Vec<PublishResult>, Status>;

/// Publishes batches over one stream.
pub(crate) struct Streamed {
    client: PublishServiceClient<Connection>,
    open: AsyncMutex<Option<Arc<Open>>>,
}

/// A stream.
struct Open {
    batches: mpsc::Sender<PublishStreamRequest>,
    answers: AsyncMutex<Streaming<PublishStreamResponse>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    by_number: HashMap<u64, oneshot::Sender<Answer>>,
    /// Why there will be no more answers.
    broken: Option<Status>,
}

impl Streamed {
    /// Opens nothing yet.
    pub(crate) fn new(client: PublishServiceClient<Connection>) -> Self {
        Self { client, open: AsyncMutex::default() }
    }

    /// Publishes a batch, and gives what became of each event.
    ///
    /// # Errors
    /// What the stream is refused with, or broke with before the answer came.
    pub(crate) async fn publish(&self, request: PublishRequest) -> Answer {
        let open = self.open().await?;
        let (number, mut told) = open.wait()?;
        let PublishRequest { events, deduplicate } = request;
        let batch = PublishStreamRequest { batch: number, events, deduplicate };
        // What it cannot be sent over has an end that is read below.
        open.batches.send(batch).await.ok();
        loop {
            tokio::select! {
                // Either arm may be left: an answer stays where it is told, and who waits for its turn has not read.
                biased;
                answer = &mut told => return answer.unwrap_or_else(|_| Err(broke_off())),
                mut answers = open.answers.lock() => open.hand_out(answers.message().await),
            }
        }
    }

    /// The stream; a new one where there is none, or none that works.
    async fn open(&self) -> Result<Arc<Open>, Status> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| open.works()) {
            return Ok(Arc::clone(open));
        }
        let (batches, sent) = mpsc::channel(1);
        let answers = self.client.clone().publish_stream(ReceiverStream::new(sent)).await?;
        let answers = AsyncMutex::new(answers.into_inner());
        let opened = Arc::new(Open { batches, answers, waiting: Mutex::default() });
        *open = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Open {
    fn works(&self) -> bool {
        self.lock().broken.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a batch its number, and the place where its answer is told.
    fn wait(&self) -> Result<(u64, oneshot::Receiver<Answer>), Status> {
        let (answer, told) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(status) = &waiting.broken {
            return Err(status.clone());
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.by_number.insert(number, answer);
        Ok((number, told))
    }

    /// Tells an answer to who waits for it; the end, to all.
    fn hand_out(&self, read: Result<Option<PublishStreamResponse>, Status>) {
        let mut waiting = self.lock();
        let status = match read {
            Ok(Some(PublishStreamResponse { batch, results })) => {
                if let Some(answer) = waiting.by_number.remove(&batch) {
                    // Who waited may have been given up.
                    answer.send(Ok(results)).ok();
                }
                return;
            }
            Ok(None) => broke_off(),
            Err(status) => status,
        };
        for (_, answer) in waiting.by_number.drain() {
            answer.send(Err(status.clone())).ok();
        }
        waiting.broken = Some(status);
    }
}

fn broke_off() -> Status {
    Status::unavailable("the stream ended before all was answered")
}
