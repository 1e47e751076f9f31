//! What a lane does with parked chunks: loads them to be sent, moves them, gives them up.

use std::{sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_proto::internal::DropReason;
use millrace_queue::{Class, Error, ParkedChunk, ParkedId, ParkedQuery, Result};
use tokio::time::Instant;

use super::{
    run::{EXPIRY_INTERVAL, Runner},
    send::drop_expired,
};
use crate::{clock::PUT_OFF_MAX, metrics, parcel::Parcel, probation::Vetted, trace};

/// Parked chunks that are loaded at once.
const LOAD_CHUNKS: usize = 2;
/// Parked chunks that a lane has in hand at most.
const IN_HAND_MAX: usize = 16;
/// Parked chunks that are moved or given up at once.
const SWEEP_CHUNKS: usize = 8;
/// When to look again after the queue did not answer.
const LATER: Duration = Duration::from_secs(1);
/// A time that everything parked is before.
const END: Timestamp = Timestamp::from_millis(i64::MAX / 2);

impl Runner {
    /// Loads parked chunks to be sent, while fewer than `room` parcels wait. Tells when the next delayed chunk is due.
    pub(super) async fn load(&mut self, room: usize) -> Option<Instant> {
        let now = self.tenure.cx.clock.now();
        let view = self.lane.view();
        if view.in_hand.is_empty() && !view.backlog && view.delayed.is_none() {
            return None;
        }
        let full = self.drained.len() >= room || view.in_hand.len() >= IN_HAND_MAX;
        let limit = if room == 1 { 1 } else { LOAD_CHUNKS };
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            return Some(Instant::now() + LATER);
        };
        let loaded = match view.delayed {
            Some(due) if due <= now && !full => self.take_parked(Class::Delayed, now, limit).await,
            _ => Ok(Vec::new()),
        };
        let loaded = match loaded {
            Ok(parcels) if parcels.is_empty() && view.backlog && !full => {
                self.take_parked(Class::Backlog, END, limit).await
            }
            other => other,
        };
        match loaded {
            Ok(parcels) => self.drained.extend(parcels),
            Err(error) => return Some(self.later(&error)),
        }
        self.lane.view().delayed.map(|due| self.tenure.cx.clock.instant_of(due)).filter(|_| !full)
    }

    /// The sink cannot take events now: everything goes to the backlog, and what is too old is given up.
    pub(super) async fn hold(&mut self) -> Option<Instant> {
        self.share.leave();
        drop(self.lane.take_fresh(|_| true));
        self.drained.clear();
        self.halved.clear();
        match self.sweep().await {
            // There is no room for what is due: not to be looked at again and again until there is.
            Ok(false) => Some(self.expiry_due.min(Instant::now() + LATER)),
            Ok(true) => {
                // With its hands full, the lane is woken when one is free.
                let view = self.lane.view();
                let due = view.delayed.filter(|_| view.in_hand.len() < IN_HAND_MAX);
                let due = due.map(|due| self.tenure.cx.clock.instant_of(due));
                Some(due.map_or(self.expiry_due, |due| due.min(self.expiry_due)))
            }
            Err(error) => Some(self.later(&error)),
        }
    }

    /// Nobody will ever take these events: gives all of them up.
    pub(super) async fn purge(&mut self, reason: DropReason) -> Option<Instant> {
        let waiting = self
            .lane
            .take_fresh(|_| true)
            .into_iter()
            .chain(self.drained.drain(..))
            .chain(self.halved.drain(..).flatten());
        waiting.for_each(|parcel| give_up(parcel, reason));
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            return Some(Instant::now() + LATER);
        };
        for class in [Class::Backlog, Class::Delayed] {
            let view = self.lane.view();
            if view.in_hand.len() >= IN_HAND_MAX
                || (class == Class::Backlog && !view.backlog)
                || (class == Class::Delayed && view.delayed.is_none())
            {
                continue;
            }
            match self.take_parked(class, END, SWEEP_CHUNKS).await {
                Ok(parcels) => parcels.into_iter().for_each(|parcel| give_up(parcel, reason)),
                Err(error) => return Some(self.later(&error)),
            }
        }
        None
    }

    /// While nothing is sent: what is due moves to the backlog, what is too old is given up. Tells whether there was room for it
    /// in memory.
    pub(super) async fn sweep(&mut self) -> Result<bool> {
        let now = self.tenure.cx.clock.now();
        let window = self.window();
        let view = self.lane.view();
        let due = view.delayed.is_some_and(|due| due <= now);
        if !due && self.expiry_due > Instant::now() {
            return Ok(true);
        }
        let cx = Arc::clone(&self.tenure.cx);
        let Some(_loading) = cx.parked.loading().await else {
            self.expiry_due = Instant::now() + LATER;
            return Ok(false);
        };
        let room = view.in_hand.len() < IN_HAND_MAX;
        if room && due {
            self.take_parked(Class::Delayed, now, SWEEP_CHUNKS)
                .await?
                .into_iter()
                .for_each(Parcel::park);
        }
        if room && view.backlog && self.expiry_due <= Instant::now() {
            let closed = Timestamp::from_millis(
                now.as_millis() - i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 2),
            );
            let expired = self
                .tenure
                .cx
                .queue
                .parked(
                    self.tenure.partition,
                    self.lane.sink,
                    Class::Backlog,
                    query(closed, SWEEP_CHUNKS, &view.in_hand_of(Class::Backlog)),
                )
                .await?;
            // More may have expired than were taken at once.
            let more = expired.len() == SWEEP_CHUNKS;
            self.open(Class::Backlog, expired).await?.into_iter().for_each(drop_expired);
            let wait =
                if more { Duration::from_millis(10) } else { EXPIRY_INTERVAL.min(window / 8) };
            self.expiry_due = Instant::now() + wait;
        } else if self.expiry_due <= Instant::now() {
            self.expiry_due = Instant::now() + EXPIRY_INTERVAL.min(window / 8);
        }
        Ok(true)
    }

    /// Takes the first parked chunks of a set in hand. Learns where there are none.
    async fn take_parked(
        &mut self,
        class: Class,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Parcel>> {
        let view = self.lane.view();
        let (queue, partition, sink) =
            (&self.tenure.cx.queue, self.tenure.partition, self.lane.sink);
        let in_hand = view.in_hand_of(class);
        let skip = self.without_probed(in_hand.clone());
        let mut chunks = queue.parked(partition, sink, class, query(until, limit, &skip)).await?;
        if chunks.is_empty() && skip.len() > in_hand.len() {
            // Probes have tried them all: once more, from the first.
            self.probed.clear();
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

    async fn open(&mut self, class: Class, chunks: Vec<ParkedChunk>) -> Result<Vec<Parcel>> {
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

    pub(super) fn later(&self, error: &millrace_queue::Error) -> Instant {
        tracing::debug!(sink.sid = %self.lane.sink, error = error as &dyn std::error::Error, "cannot look at parked chunks, will try again");
        Instant::now() + LATER
    }
}

/// A suspect chunk has to wait for others: the lane comes back to it.
fn others_go_first() -> Error {
    let (operation, source) = ("take a suspect chunk".to_owned(), "others go first".into());
    Error::Unavailable { operation, source }
}

fn give_up(parcel: Parcel, reason: DropReason) {
    metrics::dropped("gone");
    trace::dropped(&parcel, "gone");
    parcel.give_up(reason, 0);
}

fn query(until: Timestamp, limit: usize, skip: &[ParkedId]) -> ParkedQuery<'_> {
    ParkedQuery { until, limit, skip }
}
