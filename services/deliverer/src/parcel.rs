//! Parcels and the chunks they came in: the account of who is still to get what.
//!
//! A parcel is one event for one sink. Whatever happens to it is said by consuming it; **a parcel that is merely dropped is
//! parked**, so nothing can be forgotten. When the last parcel of a chunk is accounted for, the chunk is finished and
//! goes to the settler of its tenure.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use millrace_domain::{SinkSid, Timestamp};
use millrace_proto::internal::{ChunkEvent, DropReason};
use millrace_queue::{Class, EntryId, ParkedId, Place, chunk};
use millrace_sinks::Delivery;
use tokio::{sync::Notify, time::Instant};

use crate::context::Share;

/// Where a chunk was taken from, and so what settling it consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An entry of `ready`.
    Ready(EntryId),
    /// A parked chunk, with its size when it was parked.
    Parked { sink: SinkSid, class: Class, id: ParkedId, events: u64, bytes: u64 },
}

impl Source {
    /// Where the chunk stands.
    pub(crate) fn place(&self) -> Place {
        match *self {
            Self::Ready(id) => Place::Ready(id),
            Self::Parked { sink, class, id, .. } => Place::Parked(sink, class, id),
        }
    }
}

/// What becomes of an event that its sink did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Waits for its sink.
    Backlog,
    /// Waits for a failure of its own.
    Delayed { due: Timestamp },
    /// Given up.
    Dropped { reason: DropReason, error_code: u32 },
}

/// An event that its sink did not get, and its fate.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) sink: SinkSid,
    pub(crate) event: Arc<ChunkEvent>,
    pub(crate) variant: usize,
    pub(crate) accepted: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) fate: Fate,
}

/// A chunk whose parcels are all accounted for.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) source: Source,
    pub(crate) leftovers: Vec<Leftover>,
    /// Why the chunk goes to quarantine.
    pub(crate) quarantine: Option<String>,
    /// A parked chunk of which nothing was delivered, dropped or changed: it stays as it is.
    pub(crate) untouched: bool,
    /// Counts the chunk as unsettled until it is dropped.
    pub(crate) share: Share,
}

/// Where the finished chunks of a tenure wait for its settler.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    finished: Mutex<Vec<Finished>>,
    open: AtomicUsize,
    wake: Notify,
}

impl Ledger {
    /// Opens a chunk of `parcels` parcels; with none it is finished at once.
    pub(crate) fn open(
        self: &Arc<Self>,
        source: Source,
        parcels: usize,
        share: Share,
    ) -> Arc<OpenChunk> {
        self.open.fetch_add(1, Ordering::AcqRel);
        let state = State {
            open: parcels,
            touched: parcels == 0,
            leftovers: Vec::new(),
            share: Some(share),
        };
        let chunk =
            Arc::new(OpenChunk { source, ledger: Arc::clone(self), state: Mutex::new(state) });
        if parcels == 0 {
            chunk.finish(&mut chunk.lock());
        }
        chunk
    }

    /// Records a chunk that cannot be read or survived.
    pub(crate) fn quarantine(&self, source: Source, why: String, share: Share) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.push(Finished {
            source,
            leftovers: Vec::new(),
            quarantine: Some(why),
            untouched: false,
            share,
        });
    }

    /// Takes what is finished.
    pub(crate) fn take(&self) -> Vec<Finished> {
        mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for something to be finished, or for [`Self::wake`].
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Wakes the settler.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that `chunks` finished chunks are settled.
    pub(crate) fn settled(&self, chunks: usize) {
        self.open.fetch_sub(chunks, Ordering::AcqRel);
    }

    /// How many chunks are open or not settled yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    fn push(&self, finished: Finished) {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(finished);
        self.wake();
    }
}

/// A chunk some of whose parcels are still on their way.
#[derive(Debug)]
pub(crate) struct OpenChunk {
    source: Source,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    open: usize,
    touched: bool,
    leftovers: Vec<Leftover>,
    share: Option<Share>,
}

impl OpenChunk {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self, leftover: Option<Leftover>, touched: bool) {
        let mut state = self.lock();
        state.leftovers.extend(leftover);
        state.touched |= touched;
        state.open -= 1;
        if state.open == 0 {
            self.finish(&mut state);
        }
    }

    fn finish(&self, state: &mut State) {
        let Some(share) = state.share.take() else { return };
        self.ledger.push(Finished {
            source: self.source,
            leftovers: mem::take(&mut state.leftovers),
            quarantine: None,
            untouched: matches!(self.source, Source::Parked { .. }) && !state.touched,
            share,
        });
    }
}

/// One event for one sink, on its way.
#[derive(Debug)]
pub(crate) struct Parcel {
    chunk: Arc<OpenChunk>,
    /// Whose it is to be.
    pub(crate) sink: SinkSid,
    /// When it was accepted, by the queue's clock.
    pub(crate) accepted: Timestamp,
    /// Attempts that failed so far.
    pub(crate) attempts: u32,
    /// Since when it has been in memory.
    pub(crate) arrived: Instant,
    event: Arc<ChunkEvent>,
    variant: usize,
    accounted: bool,
}

impl Parcel {
    pub(crate) fn new(
        chunk: &Arc<OpenChunk>,
        event: &Arc<ChunkEvent>,
        variant: usize,
        sink: SinkSid,
    ) -> Self {
        let accepted = match chunk.source {
            Source::Ready(entry) => entry.accepted(),
            Source::Parked { .. } => Timestamp::from_millis(event.accepted_ms),
        };
        Self {
            chunk: Arc::clone(chunk),
            sink,
            accepted,
            attempts: event.attempts,
            arrived: Instant::now(),
            event: Arc::clone(event),
            variant,
            accounted: false,
        }
    }

    /// Bytes of the event as delivered.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.event.variants[self.variant].event
    }

    /// Id of the event.
    pub(crate) fn id(&self) -> &str {
        &self.event.id
    }

    /// The parked chunk that it is of; `None`: it is fresh.
    pub(crate) fn parked_as(&self) -> Option<ParkedId> {
        match self.chunk.source {
            Source::Parked { id, .. } => Some(id),
            Source::Ready(_) => None,
        }
    }

    /// Type of the event.
    pub(crate) fn event_type(&self) -> &str {
        &self.event.r#type
    }

    /// What the driver gets.
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery {
            id: self.event.id.clone(),
            account: chunk::account_of(&self.event),
            traceparent: self.event.traceparent.clone(),
            event: self.bytes().clone(),
        }
    }

    /// The sink has it.
    pub(crate) fn delivered(mut self) {
        self.accounted = true;
        self.chunk.account(None, true);
    }

    /// It is given up.
    pub(crate) fn give_up(self, reason: DropReason, error_code: u32) {
        self.leave(Fate::Dropped { reason, error_code });
    }

    /// An attempt failed: it is tried again when it is due.
    pub(crate) fn delay(mut self, due: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.leave(Fate::Delayed { due });
    }

    /// It waits for its sink, from a new place in the backlog.
    pub(crate) fn park(self) {
        self.leave(Fate::Backlog);
    }

    fn leave(mut self, fate: Fate) {
        self.accounted = true;
        self.chunk.account(Some(self.leftover(fate)), true);
    }

    fn leftover(&self, fate: Fate) -> Leftover {
        Leftover {
            sink: self.sink,
            event: Arc::clone(&self.event),
            variant: self.variant,
            accepted: self.accepted,
            attempts: self.attempts,
            fate,
        }
    }
}

impl Drop for Parcel {
    /// Parks what nothing was said of: it goes to the backlog, or, if it came from there, stays.
    fn drop(&mut self) {
        if !self.accounted {
            self.chunk.account(Some(self.leftover(Fate::Backlog)), false);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use millrace_domain::AccountSid;
    use millrace_proto::internal::Variant;
    use uuid::Uuid;

    use super::*;
    use crate::context::Unsettled;

    pub(crate) fn event(id: &str, bytes: usize) -> Arc<ChunkEvent> {
        Arc::new(ChunkEvent {
            id: id.to_owned(),
            account: chunk::account_bytes(AccountSid::from_u128(1)),
            r#type: "com.example.a".to_owned(),
            variants: vec![Variant {
                schema_version: 1,
                event: vec![b'x'; bytes].into(),
                sinks: chunk::sink_bytes(SinkSid::from_u128(1)),
            }],
            accepted_ms: 1_000,
            ..ChunkEvent::default()
        })
    }

    pub(crate) fn parcels(source: Source, sizes: &[usize]) -> (Arc<Ledger>, Vec<Parcel>) {
        let ledger = Arc::new(Ledger::default());
        let chunk = ledger.open(source, sizes.len(), Unsettled::new(1).take(1));
        let parcel = |(i, size): (usize, &usize)| {
            Parcel::new(&chunk, &event(&i.to_string(), *size), 0, SinkSid::from_u128(1))
        };
        let parcels = sizes.iter().enumerate().map(parcel).collect();
        (ledger, parcels)
    }

    fn parked() -> Source {
        Source::Parked {
            sink: SinkSid::from_u128(1),
            class: Class::Backlog,
            id: ParkedId(Uuid::nil()),
            events: 2,
            bytes: 2,
        }
    }

    #[test]
    fn a_chunk_is_finished_when_its_last_parcel_is_accounted_for() {
        let (ledger, mut parcels) = parcels(Source::Ready(EntryId::default()), &[1, 1, 1]);
        parcels.pop().expect("three").delivered();
        parcels.pop().expect("three").give_up(DropReason::Rejected, 91305);
        assert!(ledger.take().is_empty());
        drop(parcels);
        let finished = ledger.take();
        let fates: Vec<_> = finished[0].leftovers.iter().map(|leftover| leftover.fate).collect();
        assert_eq!(
            fates,
            [Fate::Dropped { reason: DropReason::Rejected, error_code: 91305 }, Fate::Backlog]
        );
        assert_eq!(ledger.unsettled(), 1);
        ledger.settled(1);
        assert_eq!(ledger.unsettled(), 0);
    }

    #[test]
    fn a_parked_chunk_whose_parcels_are_dropped_stays_as_it_is() {
        let (ledger, whole) = parcels(parked(), &[1, 1]);
        drop(whole);
        assert!(ledger.take()[0].untouched);
        let (ledger, mut part) = parcels(parked(), &[1, 1]);
        part.pop().expect("two").delivered();
        drop(part);
        let finished = ledger.take();
        assert!(!finished[0].untouched);
        assert_eq!(finished[0].leftovers.len(), 1, "the rest is parked anew");
    }

    #[test]
    fn a_delayed_parcel_has_one_more_attempt() {
        let (ledger, mut parcels) = parcels(Source::Ready(EntryId::default()), &[1]);
        parcels.pop().expect("one").delay(Timestamp::from_millis(7));
        let finished = ledger.take();
        assert_eq!(
            (finished[0].leftovers[0].attempts, finished[0].leftovers[0].fate),
            (1, Fate::Delayed { due: Timestamp::from_millis(7) })
        );
    }

    #[test]
    fn a_chunk_without_parcels_is_finished_at_once() {
        let (ledger, _) = parcels(Source::Ready(EntryId::default()), &[]);
        assert_eq!(ledger.take().len(), 1);
    }
}
