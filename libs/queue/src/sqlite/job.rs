//! What callers ask of the writer, and how each is told what came of it once that is on disk.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::Partition;
use tokio::sync::oneshot;

use super::{failure::Failure, leases::Change};
use crate::{
    EntryId, Ownership, Report, ReportKind, Settled, Settlement, Token, chunk::MarkedChunk,
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

    /// Tells what came of it. Who waited may be gone: it is done all the same.
    fn tell(self, result: Result<(), Failure>) {
        let outcome =
            result.and_then(|()| self.outcome.ok_or_else(|| sqlx::Error::WorkerCrashed.into()));
        drop(self.done.send(outcome));
    }
}

/// Everything that changes something.
pub(super) enum Job {
    Append(Ask<(Partition, Bytes), EntryId>),
    AppendNew(Ask<AppendNew, Vec<usize>>),
    /// `None`: the token is stale.
    Settle(Box<Ask<(Partition, Token, Settlement), Option<Settled>>>),
    Leases(Ask<(Vec<Partition>, Token, Change), Vec<Ownership>>),
    TakeReports(Ask<TakeReports, Vec<Report>>),
    Acknowledge(Ask<(ReportKind, Vec<(Partition, EntryId)>), ()>),
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
    /// Tells who waits what came of it.
    pub(super) fn tell(self, result: Result<(), Failure>) {
        match self {
            Self::Append(ask) => ask.tell(result),
            Self::AppendNew(ask) => ask.tell(result),
            Self::Settle(ask) => ask.tell(result),
            Self::Leases(ask) => ask.tell(result),
            Self::TakeReports(ask) => ask.tell(result),
            Self::Acknowledge(ask) => ask.tell(result),
        }
    }
}
