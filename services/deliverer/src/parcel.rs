//! A parcel: one event for one sink, on its way.
//!
//! Whatever happens to it is said by consuming it; **a parcel that is merely dropped is parked**, so nothing can be forgotten.

use std::sync::Arc;

use bytes::Bytes;
use millrace_domain::{SinkSid, Timestamp};
use millrace_proto::internal::{ChunkEvent, DropReason};
use millrace_queue::{Class, EntryId, ParkedId, Place, chunk};
use millrace_sinks::{Delivery, SharedHash};
use tokio::time::Instant;

use crate::ledger::OpenChunk;

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
    /// Shared with the parcels of the other sinks that get the same bytes.
    hash: Option<SharedHash>,
    accounted: bool,
}

impl Parcel {
    pub(crate) fn new(
        chunk: &Arc<OpenChunk>,
        event: &Arc<ChunkEvent>,
        variant: usize,
        sink: SinkSid,
    ) -> Self {
        let accepted = match chunk.source() {
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
            hash: None,
            accounted: false,
        }
    }

    /// With what it shares with parcels of the same bytes.
    pub(crate) fn sharing(mut self, hash: Option<SharedHash>) -> Self {
        self.hash = hash;
        self
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
        match self.chunk.source() {
            Source::Parked { id, .. } => Some(id),
            Source::Ready(_) => None,
        }
    }

    /// Type of the event.
    pub(crate) fn event_type(&self) -> &str {
        &self.event.r#type
    }

    /// Trace context of its publish; empty: none.
    pub(crate) fn traceparent(&self) -> &str {
        &self.event.traceparent
    }

    /// What the driver gets.
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery {
            id: self.event.id.clone(),
            account: chunk::account_of(&self.event),
            traceparent: self.event.traceparent.clone(),
            event: self.bytes().clone(),
            hash: self.hash.clone(),
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

    use super::*;
    use crate::{context::Unsettled, ledger::Ledger};

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
}
