//! Where a sink's parked chunks are taken in hand from. It may be done beside the lane's task: it is a round trip or two, and up
//! to a megabyte to unpack, and a fresh event is not to wait for that.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_queue::{Class, Error, ParkedChunk, ParkedId, ParkedQuery, Result};
use tokio::time::Instant;

use super::{Lane, Parked};
use crate::{clock::PUT_OFF_MAX, parcel::Parcel, probation::Vetted, tenure::Tenure};

/// Parked chunks that a lane has in hand at most.
const IN_HAND_MAX: usize = 16;
/// When to look again after the queue did not answer.
const LATER: Duration = Duration::from_secs(1);
/// A time that everything parked is before.
pub(super) const END: Timestamp = Timestamp::from_millis(i64::MAX / 2);

/// Chunks that probes took an event of, the latest last: the others go first.
pub(super) type Probed = VecDeque<ParkedId>;

/// The parked chunks of one sink.
#[derive(Clone)]
pub(super) struct Shelf {
    lane: Arc<Lane>,
    tenure: Arc<Tenure>,
}

/// What was taken in hand to be sent.
pub(super) struct Taken {
    pub(super) parcels: Vec<Parcel>,
    /// When to look again, where that could not be done now.
    pub(super) again: Option<Instant>,
}

impl Shelf {
    pub(super) fn new(lane: &Arc<Lane>, tenure: &Arc<Tenure>) -> Self {
        Self { lane: Arc::clone(lane), tenure: Arc::clone(tenure) }
    }

    /// Whether there is a hand for one more.
    pub(super) fn has_hand(view: &Parked) -> bool {
        view.in_hand.len() < IN_HAND_MAX
    }

    /// Takes at most `limit` chunks to be sent: of those that are due, else of the backlog.
    pub(super) async fn take_next(&self, limit: usize, probed: &mut Probed) -> Taken {
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            return Taken { parcels: Vec::new(), again: Some(later()) };
        };
        match self.take_due_or_first(limit, probed).await {
            Ok(parcels) => Taken { parcels, again: None },
            Err(error) => Taken { parcels: Vec::new(), again: Some(self.later(&error)) },
        }
    }

    async fn take_due_or_first(&self, limit: usize, probed: &mut Probed) -> Result<Vec<Parcel>> {
        let (now, view) = (self.tenure.cx.clock.now(), self.lane.view());
        if view.delayed.is_some_and(|due| due <= now) {
            let due = self.take(Class::Delayed, now, limit, probed).await?;
            if !due.is_empty() {
                return Ok(due);
            }
        }
        if view.backlog {
            return self.take(Class::Backlog, END, limit, probed).await;
        }
        Ok(Vec::new())
    }

    /// Takes the first parked chunks of a set in hand, of those from before `until`. Learns where there are none.
    pub(super) async fn take(
        &self,
        class: Class,
        until: Timestamp,
        limit: usize,
        probed: &mut Probed,
    ) -> Result<Vec<Parcel>> {
        let view = self.lane.view();
        let (queue, partition, sink) =
            (&self.tenure.cx.queue, self.tenure.partition, self.lane.sink);
        let in_hand = view.in_hand_of(class);
        let skip = without_probed(in_hand.clone(), probed);
        let mut chunks = queue.parked(partition, sink, class, query(until, limit, &skip)).await?;
        if chunks.is_empty() && skip.len() > in_hand.len() {
            // Probes have tried them all: once more, from the first.
            probed.clear();
            chunks = queue.parked(partition, sink, class, query(until, limit, &in_hand)).await?;
        }
        if chunks.is_empty() {
            // While some of the set are in hand, it is looked at again when they are closed.
            let first = match class {
                Class::Delayed if in_hand.is_empty() => {
                    queue.first_parked(partition, sink, class).await?
                }
                _ => None,
            };
            let latest = self.tenure.cx.clock.now().plus(PUT_OFF_MAX);
            if first.is_some_and(|at| at > latest) {
                // Put off by a clock that has jumped back since: due for all we know.
                let chunks = queue.parked(partition, sink, class, query(END, limit, &[])).await?;
                return self.open(class, chunks).await;
            }
            if self.lane.learnt(class, first, view.parks) {
                self.tenure.nothing_parked(sink, view.parks);
            }
        }
        self.open(class, chunks).await
    }

    /// Takes chunks of the backlog from before `until` in hand, to be given up, and tells how many there were.
    pub(super) async fn take_expired(
        &self,
        until: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Parcel>, usize)> {
        let in_hand = self.lane.view().in_hand_of(Class::Backlog);
        let chunks = self.tenure.cx.queue.parked(
            self.tenure.partition,
            self.lane.sink,
            Class::Backlog,
            query(until, limit, &in_hand),
        );
        let chunks = chunks.await?;
        let found = chunks.len();
        Ok((self.open(Class::Backlog, chunks).await?, found))
    }

    async fn open(&self, class: Class, chunks: Vec<ParkedChunk>) -> Result<Vec<Parcel>> {
        let (mut parcels, sink) = (Vec::new(), self.lane.sink);
        for chunk in chunks {
            let vetted = self.tenure.vet(sink, class, chunk.id).await?;
            if matches!(vetted, Vetted::Later) {
                return if parcels.is_empty() { Err(others_go_first()) } else { Ok(parcels) };
            }
            self.lane.loaded(class, chunk.id);
            parcels.extend(self.tenure.open_parked((sink, class), chunk, vetted));
        }
        Ok(parcels)
    }

    /// Says that the queue could not be asked, and when to try again.
    pub(super) fn later(&self, error: &Error) -> Instant {
        tracing::debug!(sink.sid = %self.lane.sink, error = error as &dyn std::error::Error, "cannot look at parked chunks, will try again");
        later()
    }
}

/// When to look again where there was no room, or no answer.
pub(super) fn later() -> Instant {
    Instant::now() + LATER
}

/// A suspect chunk has to wait for others: the lane comes back to it.
fn others_go_first() -> Error {
    let (operation, source) = ("take a suspect chunk".to_owned(), "others go first".into());
    Error::Unavailable { operation, source }
}

/// Parked chunks to leave out when the next are taken: those in hand, and those that probes have tried.
fn without_probed(mut in_hand: Vec<ParkedId>, probed: &Probed) -> Vec<ParkedId> {
    let tried: Vec<_> = probed.iter().filter(|id| !in_hand.contains(id)).copied().collect();
    in_hand.extend(tried);
    in_hand
}

fn query(until: Timestamp, limit: usize, skip: &[ParkedId]) -> ParkedQuery<'_> {
    ParkedQuery { until, limit, skip }
}
