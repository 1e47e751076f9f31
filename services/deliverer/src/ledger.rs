//! The account of chunks: when the last parcel of a chunk is accounted for, the chunk is finished and goes to the settler of
//! its tenure.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    context::Share,
    parcel::{Leftover, Source},
};

/// So many chunks are worth a settlement of their own.
const LINGER_MAX_CHUNKS: usize = 64;

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

    /// Tells whether what is finished may wait for more: it is few chunks, none of them was parked, all of it was delivered, and nobody
    /// waits for it. (Of what was parked a lane has only so much in hand, and looks for more when that is settled.)
    pub(crate) fn may_linger(&self) -> bool {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let is_patient = |chunk: &Finished| {
            matches!(chunk.source, Source::Ready(_))
                && chunk.leftovers.is_empty()
                && !chunk.share.is_waited_for()
        };
        finished.len() < LINGER_MAX_CHUNKS && finished.iter().all(is_patient)
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
    /// Where it was taken from.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts for one of its parcels; `touched` unless nothing became of it.
    pub(crate) fn account(&self, leftover: Option<Leftover>, touched: bool) {
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

#[cfg(test)]
mod tests {
    use millrace_domain::SinkSid;
    use millrace_proto::internal::DropReason;
    use millrace_queue::{Class, EntryId, ParkedId};
    use uuid::Uuid;

    use super::*;
    use crate::{
        context::Unsettled,
        parcel::{Fate, tests::parcels},
    };

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
    fn what_was_delivered_may_wait_for_more_but_not_what_is_left_nor_many() {
        let share = Unsettled::new(1);
        let ledger = Arc::new(Ledger::default());
        for _ in 1..LINGER_MAX_CHUNKS {
            ledger.open(Source::Ready(EntryId::default()), 0, share.take(1));
        }
        assert!(ledger.may_linger());
        ledger.open(Source::Ready(EntryId::default()), 0, share.take(1));
        assert!(!ledger.may_linger(), "they are enough");
        ledger.take();
        assert!(ledger.may_linger());
        let (ledger, parcels) = parcels(Source::Ready(EntryId::default()), &[1]);
        drop(parcels);
        assert!(!ledger.may_linger(), "it has to be parked");
        let (ledger, mut parcels) = crate::parcel::tests::parcels(parked(), &[1]);
        parcels.pop().expect("one").delivered();
        assert!(!ledger.may_linger(), "its lane looks for more");
    }

    #[test]
    fn a_chunk_without_parcels_is_finished_at_once() {
        let (ledger, _) = parcels(Source::Ready(EntryId::default()), &[]);
        assert_eq!(ledger.take().len(), 1);
    }
}
