//! One writer for each partition: takes whatever waits, encodes a chunk, appends it, answers, takes what has come
//! meanwhile. So chunks grow with load, and nothing waits without it. Events that are to be left out where they are known go
//! into chunks of their own: the others pay nothing for them.
//!
//! The invariant: **a publish is answered as accepted after its chunk is in the queue**, and one whose client went away
//! is still completed. A write whose answer is lost is not repeated here: the producer is told, and publishes again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_domain::{Mark, Partition, Refusal, RefusalCode};
use millrace_proto::internal::{Chunk, ChunkEvent};
use millrace_queue::{
    Error, Queue,
    chunk::{CHUNK_MAX_BYTES, CHUNK_MAX_EVENTS, encode, encode_marked},
};
use millrace_runtime::Tasks;
use prost::Message;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::Instant,
};

use crate::{intake::Charge, metrics, publish::Outcome};

/// Most publishes that wait for one partition; further ones wait to wait. Their bytes are bounded by the intake.
const WAITING_MAX: usize = 1_024;
/// Tag and length that the chunk puts before an event.
const FRAME_BYTES: usize = 6;

/// Why an event was not, or perhaps not, written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// It was before.
    Known,
    /// No room: it is not there.
    Full,
    /// No answer: it may be there.
    Unavailable,
}

impl From<Unwritten> for Outcome {
    fn from(unwritten: Unwritten) -> Self {
        let (code, message) = match unwritten {
            Unwritten::Known => return Self::Duplicate,
            Unwritten::Full => (
                RefusalCode::ResourceExhausted,
                "the queue is full; publish the event again later, with the same id",
            ),
            Unwritten::Unavailable => (
                RefusalCode::Unavailable,
                "the queue does not answer, and may have kept the event; publish it again, with the same id",
            ),
        };
        Self::Rejected(Refusal { code, field: String::new(), message: message.to_owned() })
    }
}

/// The events of one publish that go to one partition.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// What to append; what has a mark, unless it is known by it.
    pub(crate) events: Vec<(ChunkEvent, Option<Mark>)>,
    /// Version of the configuration they were routed by.
    pub(crate) config_seq: u64,
    /// What they hold of the intake's budget until they are written.
    pub(crate) charge: Charge,
}

/// Which events of a parcel were not written, and why; empty: all were.
pub(crate) type Exceptions = Vec<(usize, Unwritten)>;

/// The writers of all partitions.
#[derive(Debug)]
pub(crate) struct Writers(Vec<mpsc::Sender<Job>>);

impl Writers {
    /// Starts a writer for each partition. They end when this is dropped and all that waits is written.
    pub(crate) fn start(
        queue: &Arc<dyn Queue>,
        partitions: u16,
        keep_marks: Duration,
        tasks: &Tasks,
    ) -> Self {
        let outage = Arc::new(AtomicBool::new(false));
        let start = |number: u16| {
            let (jobs, waiting) = mpsc::channel(WAITING_MAX);
            let writer = Writer {
                queue: Arc::clone(queue),
                partition: Partition(number),
                keep_marks,
                outage: Arc::clone(&outage),
            };
            // Stopping is not looked at: the server stops taking requests, and what it took has to be written.
            tasks.spawn(format!("write-partition-{number}"), |_stopping| writer.run(waiting));
            jobs
        };
        Self((0..partitions).map(start).collect())
    }

    /// Hands a parcel over, at once where the writer has room for it. What it answers comes when the parcel is there; none comes if the
    /// writer is gone, and the process with it. What was handed over is written even if nobody waits any more.
    pub(crate) async fn hand_over(
        &self,
        partition: Partition,
        parcel: Parcel,
    ) -> oneshot::Receiver<Exceptions> {
        let (reply, answer) = oneshot::channel();
        if let Some(jobs) = self.0.get(usize::from(partition.0))
            && let Err(TrySendError::Full(job)) = jobs.try_send(Job { parcel, reply })
        {
            // A job that is not taken is dropped, and with it the reply.
            drop(jobs.send(job).await);
        }
        answer
    }
}

#[derive(Debug)]
struct Job {
    parcel: Parcel,
    reply: oneshot::Sender<Exceptions>,
}

/// A job whose events are being written.
struct Open {
    reply: Option<oneshot::Sender<Exceptions>>,
    exceptions: Exceptions,
    left: usize,
    /// Given back when all is written.
    _charge: Charge,
}

/// A chunk while it grows.
#[derive(Default)]
struct Growing {
    chunk: Chunk,
    /// One for each event, or none at all.
    marks: Vec<Mark>,
    bytes: usize,
    /// For each event: which open job, and which of its events.
    places: Vec<(usize, usize)>,
}

impl Growing {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.places.is_empty()
            || (self.places.len() < CHUNK_MAX_EVENTS && self.bytes + bytes <= CHUNK_MAX_BYTES)
    }

    fn push(&mut self, event: (ChunkEvent, Option<Mark>), bytes: usize, place: (usize, usize)) {
        self.chunk.events.push(event.0);
        self.marks.extend(event.1);
        self.bytes += bytes;
        self.places.push(place);
    }
}

struct Writer {
    queue: Arc<dyn Queue>,
    partition: Partition,
    keep_marks: Duration,
    /// Whether the last append of any partition failed: an outage is logged once.
    outage: Arc<AtomicBool>,
}

impl Writer {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) -> anyhow::Result<()> {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, WAITING_MAX).await > 0 {
            self.write(&mut jobs).await;
        }
        Ok(())
    }

    async fn write(&self, jobs: &mut Vec<Job>) {
        let mut open = Vec::with_capacity(jobs.len());
        let (mut plain, mut marked) = (Growing::default(), Growing::default());
        let mut unavailable = None;
        for (number, Job { parcel, reply }) in jobs.drain(..).enumerate() {
            let Parcel { events, config_seq, charge } = parcel;
            let left = events.len();
            open.push(Open { reply: Some(reply), exceptions: Vec::new(), left, _charge: charge });
            for (index, event) in events.into_iter().enumerate() {
                let bytes = event.0.encoded_len() + FRAME_BYTES;
                let growing = if event.1.is_some() { &mut marked } else { &mut plain };
                if !growing.has_room_for(bytes) {
                    let full = std::mem::take(growing);
                    self.finish(full, &mut open, &mut unavailable).await;
                }
                // Mostly the rest of the job goes there too; what grows piece by piece is moved each time.
                growing.chunk.events.reserve(left - index);
                growing.places.reserve(left - index);
                // A deliverer that has the newest of these versions knows every sink in the chunk.
                growing.chunk.config_seq = growing.chunk.config_seq.max(config_seq);
                growing.push(event, bytes, (number, index));
            }
        }
        self.finish(plain, &mut open, &mut unavailable).await;
        self.finish(marked, &mut open, &mut unavailable).await;
    }

    /// Appends a chunk, and answers the jobs that are done with it. Once the queue does not answer, the rest of what was
    /// taken is not tried: it would only wait as long again.
    async fn finish(
        &self,
        growing: Growing,
        open: &mut [Open],
        unavailable: &mut Option<Unwritten>,
    ) {
        if growing.places.is_empty() {
            return;
        }
        let appended = match *unavailable {
            Some(failure) => Err(failure),
            None => self.append(&growing).await,
        };
        let failure = appended.as_ref().err().copied();
        *unavailable = failure.filter(|failure| *failure == Unwritten::Unavailable);
        let mut known = appended.unwrap_or_default().into_iter().peekable();
        for (place, (number, index)) in growing.places.into_iter().enumerate() {
            let job = &mut open[number];
            let known = known.next_if_eq(&place).map(|_| Unwritten::Known);
            job.exceptions.extend(failure.or(known).map(|why| (index, why)));
            job.left -= 1;
            if job.left == 0
                && let Some(reply) = job.reply.take()
            {
                // Nobody waits any more where the client went away.
                drop(reply.send(std::mem::take(&mut job.exceptions)));
            }
        }
    }

    /// Appends a chunk; gives the places of the events that were left out since they are known, in order.
    async fn append(
        &self,
        Growing { chunk, marks, bytes, .. }: &Growing,
    ) -> Result<Vec<usize>, Unwritten> {
        let started = Instant::now();
        let appended = if marks.is_empty() {
            self.queue.append(self.partition, encode(chunk)).await.map(|_| Vec::new())
        } else {
            let chunk = encode_marked(chunk, marks);
            self.queue.append_new(self.partition, chunk, self.keep_marks).await
        };
        metrics::append_took(started.elapsed());
        let error = match appended {
            Ok(known) => {
                if known.len() < chunk.events.len() {
                    metrics::appended(chunk.events.len() - known.len(), *bytes);
                }
                if self.outage.swap(false, Ordering::Relaxed) {
                    tracing::info!("the queue takes events again");
                }
                return Ok(known);
            }
            Err(error) => error,
        };
        if !self.outage.swap(true, Ordering::Relaxed) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the queue does not take events; producers are told to come back");
        }
        Err(if matches!(error, Error::Full) { Unwritten::Full } else { Unwritten::Unavailable })
    }
}

#[cfg(test)]
mod tests;
