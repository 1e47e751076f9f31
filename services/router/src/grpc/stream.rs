//! `PublishStream`: batch after batch on one stream, each answered by its number when it is done, in any order.
//!
//! Batches are handed to the writers in the order in which they came: those behind one whose schema is compiled wait with it. (The
//! writers keep apart what is deduplicated.)
//!
//! Up to [`IN_WORK_MAX`] batches of a stream are in work at once; then it is not read on, and flow control holds its client
//! up. A client that does not read its answers is held up the same way, and given up after [`UNREAD_TIMEOUT`]: what was
//! handed to the writers is written all the same. Of a batch's bytes, as many as its answer has are paid for until that is sent.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream::FuturesUnordered};
use millrace_proto::v1::{PublishStreamRequest, PublishStreamResponse};
use millrace_runtime::{CancellationToken, Tasks};
use prost::Message;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tonic::{Request, Status, Streaming};

use crate::{
    grpc::{add, check_limits, wire},
    intake::Charge,
    metrics,
    publish::{Credentials, EVENTS_MAX, PublishResult, Publisher},
    status::Problem,
    trace,
};

/// Most batches of one stream that are in work, or done and not read.
const IN_WORK_MAX: usize = 16;
/// How long an answer waits for its client to read it.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The same where the process stops.
const UNREAD_TIMEOUT_STOPPING: Duration = Duration::from_secs(5);
/// A batch of more events than this is not even answered event by event: the answer would be a multiple of what was sent.
const ANSWERED_MAX: usize = 2 * EVENTS_MAX;

/// The answers of a stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

/// Opens a stream: checks its credentials, and answers its batches in a task of its own.
pub(super) async fn open(
    publisher: &Arc<Publisher>,
    request: Request<Streaming<PublishStreamRequest>>,
    tasks: &Tasks,
) -> Result<Answers, Status> {
    let credentials = publisher.credentials(request.metadata().as_ref()).await?;
    publisher.authorize(&credentials)?;
    let charge = request.extensions().get::<Charge>().cloned().unwrap_or_default();
    let (answers, told) = mpsc::channel(1);
    let (ended, end) = oneshot::channel();
    let (publisher, turn) = (Arc::clone(publisher), Semaphore::new(1));
    let batches = Batches { publisher, credentials, charge, turn };
    let incoming = request.into_inner();
    tasks.spawn("publish-stream", |stopping| async move {
        metrics::streams(1.0);
        let status = batches.answer(incoming, answers, stopping).await;
        metrics::streams(-1.0);
        if let Some(status) = status {
            // Nobody reads it where the client is gone.
            drop(ended.send(status));
        }
        Ok(())
    });
    let end = end.into_stream().filter_map(|end| std::future::ready(end.ok().map(Err)));
    let told = futures::stream::unfold(told, |mut told| async {
        told.recv().await.map(|answer| (Ok(answer), told))
    });
    Ok(told.chain(end).boxed())
}

/// An answer, and what is paid for it.
type Done = (PublishStreamResponse, Charge);

struct Batches {
    publisher: Arc<Publisher>,
    credentials: Credentials,
    /// What has been read of the stream and is not a batch yet.
    charge: Charge,
    /// Of one permit, which goes from batch to batch in their order: whose it is, is routed and handed over.
    turn: Semaphore,
}

impl Batches {
    /// Answers batch by batch, until the client ends or goes away, must not publish any more, or the process stops. Gives
    /// what the stream ends with, unless that is well; all that was taken in hand is answered by then, unless nobody reads.
    async fn answer(
        &self,
        mut incoming: Streaming<PublishStreamRequest>,
        answers: mpsc::Sender<PublishStreamResponse>,
        stopping: CancellationToken,
    ) -> Option<Status> {
        let mut in_work = FuturesUnordered::new();
        let mut done: VecDeque<Done> = VecDeque::new();
        let mut configuration = self.publisher.watch().changed();
        let mut end: Option<Option<Status>> = None;
        let mut patience = UNREAD_TIMEOUT;
        let mut unread_at = Instant::now() + patience;
        loop {
            if let Some(status) = end.take_if(|_| in_work.is_empty() && done.is_empty()) {
                return status;
            }
            let reads = end.is_none() && in_work.len() + done.len() < IN_WORK_MAX;
            // Every arm may be left at any time: a half-read batch stays in `incoming`, one in work in `in_work`, an answer in
            // `done` until it has its place; the others only wait.
            tokio::select! {
                answer = in_work.next(), if !in_work.is_empty() => {
                    if done.is_empty() {
                        unread_at = Instant::now() + patience;
                    }
                    done.extend(answer);
                }
                place = answers.reserve(), if !done.is_empty() => match (place, done.pop_front()) {
                    (Ok(place), Some((answer, _))) => {
                        place.send(answer);
                        unread_at = Instant::now() + patience;
                    }
                    _ => return None,
                },
                batch = incoming.message(), if reads => match batch {
                    Ok(Some(batch)) => match self.check(&batch) {
                        Ok(()) => in_work.push(self.publish(batch, self.charge.take())),
                        Err(problem) => end = Some(Some(problem.into())),
                    },
                    Ok(None) => end = Some(None),
                    Err(status) => end = Some(Some(status)),
                },
                Ok(()) = configuration.changed(), if end.is_none() => {
                    end = self.publisher.authorize(&self.credentials).err().map(|it| Some(it.into()));
                }
                () = stopping.cancelled(), if patience == UNREAD_TIMEOUT => {
                    patience = UNREAD_TIMEOUT_STOPPING;
                    unread_at = unread_at.min(Instant::now() + patience);
                    let stops = "this router is stopping; publish what is not answered again, on another stream";
                    end.get_or_insert_with(|| Some(Problem::Unavailable(stops.to_owned()).into()));
                }
                () = sleep_until(unread_at), if !done.is_empty() => {
                    return Some(Status::deadline_exceeded("the answers of this stream are not read"));
                }
                () = answers.closed() => return None,
            }
        }
    }

    /// Whether a batch is answered at all.
    fn check(&self, batch: &PublishStreamRequest) -> Result<(), Problem> {
        if batch.events.len() > ANSWERED_MAX {
            check_limits(batch.events.len(), batch)?;
        }
        self.publisher.authorize(&self.credentials).map(drop)
    }

    async fn publish(&self, request: PublishStreamRequest, mut charge: Charge) -> Done {
        let started = Instant::now();
        let results = match self.results(&request, charge.clone()).await {
            Ok(results) => results,
            Err(problem) => rejections(&request, &problem),
        };
        metrics::published("stream", &results, started.elapsed());
        let results = results.into_iter().map(wire).collect();
        let answer = PublishStreamResponse { batch: request.batch, results };
        charge.keep(answer.encoded_len());
        (answer, charge)
    }

    async fn results(
        &self,
        request: &PublishStreamRequest,
        charge: Charge,
    ) -> Result<Vec<PublishResult>, Problem> {
        let turn = self.turn.acquire().await.expect("is never closed");
        let mut opened = self.publisher.authorize(&self.credentials)?;
        self.publisher.check_room()?;
        check_limits(request.events.len(), request)?;
        opened.trace(&trace::STREAM);
        let mut batch =
            self.publisher.batch(&opened, "account_sid", request.deduplicate, request.events.len());
        let traced = opened.enter();
        request.events.iter().for_each(|event| add(&mut batch, event));
        drop(traced);
        let results = self.publisher.publish_in_turn(batch, charge, turn).await;
        trace::tell(opened.span(), &results);
        Ok(results)
    }
}

/// What a batch that was refused as a whole is to each of its events.
fn rejections(request: &PublishStreamRequest, problem: &Problem) -> Vec<PublishResult> {
    metrics::refused(problem.reason());
    let refusal = problem.clone().into_refusal();
    let rejection = |id: &String| PublishResult::rejected(id.clone(), refusal.clone());
    request.events.iter().map(|event| rejection(&event.id)).collect()
}
