//! What callers ask of the writer, and how each is told what came of it once that is on disk.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::Partition;
use tokio::sync::oneshot;

use super::{failure::Failure, leases::Change};
use crate::{
    EntryId, Ownership, Place, Report, ReportKind, Settled, Settlement, Token, chunk::MarkedChunk,
};

/// One piece of work, and who waits for it.
#[derive(Debug)]
pub(super) struct Ask<W, T> {
    pub(super) work: W,
    outcome: Option<T>,
    done: oneshot::Sender<Result<T, Failure>>,
}

impl<W, T> Ask<W, T> {
    /// Work, and where its outcome will be told.
    pub(super) fn new(work: W) -> (Self, oneshot::Receiver<Result<T, Failure>>) {
        let (done, told) = oneshot::channel();
        (Self { work, outcome: None, done }, told)
    }

    /// Notes what came of it, to be told after the commit.
    pub(super) fn note(&mut self, outcome: T) {
        self.outcome = Some(outcome);
    }

    /// What came of it, as noted.
    pub(super) fn outcome(&self) -> Option<&T> {
        self.outcome.as_ref()
    }

    /// Tells what came of it. Who waited may be gone: it is done all the same.
    fn tell(self, result: Result<(), Failure>) {
        let outcome =
            result.and_then(|()| self.outcome.ok_or_else(|| sqlx::Error::WorkerCrashed.into()));
        drop(self.done.send(outcome));
    }
}

/// What to write beside chunks.
pub(super) type Notes = Vec<(Place, u32)>;

/// Everything that changes something.
pub(super) enum Job {
    Append(Ask<(Partition, Bytes), EntryId>),
    AppendNew(Ask<AppendNew, Vec<usize>>),
    /// `None`: the token is stale.
    Settle(Box<Ask<(Partition, Token, Settlement), Option<Settled>>>),
    Leases(Ask<(Vec<Partition>, Token, Change), Vec<Ownership>>),
    Owner(Ask<Partition, Option<String>>),
    TakeReports(Ask<TakeReports, Vec<Report>>),
    Acknowledge(Ask<(ReportKind, Vec<(Partition, EntryId)>), ()>),
    /// False: the token is stale.
    Note(Ask<(Partition, Token, Notes), bool>),
    Redrive(Ask<(Partition, Vec<Place>), u64>),
    Discard(Ask<(Partition, Vec<Place>), u64>),
}

/// What to append of which nothing may be there yet.
#[derive(Debug)]
pub(super) struct AppendNew {
    pub(super) partition: Partition,
    pub(super) chunk: MarkedChunk,
    pub(super) keep: Duration,
}

/// Which reports to put into a consumer's hands.
#[derive(Debug)]
pub(super) struct TakeReports {
    pub(super) kind: ReportKind,
    pub(super) consumer: String,
    pub(super) limit: usize,
}

impl Job {
    /// Tells whether it leaves nothing on disk: who takes or releases a partition is remembered, who renews is not.
    pub(super) fn is_in_memory(&self) -> bool {
        match self {
            Self::Leases(ask) => matches!(ask.work.2, Change::Renew(_)),
            Self::Owner(_) => true,
            _ => false,
        }
    }

    /// Tells who waits what came of it.
    pub(super) fn tell(self, result: Result<(), Failure>) {
        match self {
            Self::Append(ask) => ask.tell(result),
            Self::AppendNew(ask) => ask.tell(result),
            Self::Settle(ask) => ask.tell(result),
            Self::Leases(ask) => ask.tell(result),
            Self::Owner(ask) => ask.tell(result),
            Self::TakeReports(ask) => ask.tell(result),
            Self::Acknowledge(ask) => ask.tell(result),
            Self::Note(ask) => ask.tell(result),
            Self::Redrive(ask) | Self::Discard(ask) => ask.tell(result),
        }
    }
}
