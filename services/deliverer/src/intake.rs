//! What a tenure takes in: entries of `ready` and parked chunks, which become parcels.

use std::sync::Arc;

use millrace_domain::SinkSid;
use millrace_proto::internal::{Chunk, Variant};
use millrace_queue::{Class, Entry, ParkedChunk, ParkedId, Place, chunk};
use millrace_sinks::SharedHash;

use crate::{
    context::Share,
    ledger::OpenChunk,
    parcel::{Parcel, Source},
    probation::{Held, Vetted},
    tenure::Tenure,
};

impl Tenure {
    /// Tells whether entries may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.probation.has_room()
    }

    /// Takes an entry of `ready`; false: not now, it is to be read again.
    pub(crate) fn accept(self: &Arc<Self>, entry: Entry) -> bool {
        if self.stopping.is_cancelled() || !self.probation.has_room() {
            return false;
        }
        if self.cursor.take(entry.id)
            && let Some(entry) = self.probation.wait(entry)
        {
            self.open(entry, None);
        }
        true
    }

    /// Opens an entry of `ready`. While stopping it is left, for the next owner.
    pub(crate) fn open(self: &Arc<Self>, entry: Entry, held: Option<Held>) {
        if self.stopping.is_cancelled() {
            return;
        }
        let (bytes, source) = (entry.chunk.len(), Source::Ready(entry.id));
        self.probation.opened(source.place());
        match chunk::decode(entry.chunk) {
            Ok(chunk) => {
                let parcels = parcels_in(&chunk);
                let share = self.cx.unsettled.take(bytes + parcels * size_of::<Parcel>());
                let open = self.ledger.open(source, parcels, share.on_probation(held));
                parcels_of(chunk, &open).for_each(|parcel| self.hand_over(parcel));
            }
            Err(error) => {
                let share = self.cx.unsettled.take(bytes).on_probation(held);
                self.quarantine(source, error.to_string(), share);
            }
        }
    }

    /// Has a chunk go to quarantine.
    pub(crate) fn quarantine(&self, source: Source, why: String, share: Share) {
        let place = source.place();
        self.probation.opened(place);
        tracing::error!(partition = self.partition.0, %place, why, "a chunk goes to quarantine");
        metrics::counter!("millrace_quarantined_chunks_total").increment(1);
        self.ledger.quarantine(source, why, share);
    }

    /// Looks whether a parked chunk may be opened.
    ///
    /// # Errors
    /// If it is suspect and that cannot be noted: it stays parked.
    pub(crate) async fn vet(
        self: &Arc<Self>,
        sink: SinkSid,
        class: Class,
        id: ParkedId,
    ) -> millrace_queue::Result<Vetted> {
        self.probation.vet(self, Place::Parked(sink, class, id)).await
    }

    /// Opens a parked chunk of a sink. One that is forgotten has no parcels, and is settled as it is; so has one that goes to
    /// quarantine.
    pub(crate) fn open_parked(
        &self,
        (sink, class): (SinkSid, Class),
        parked: ParkedChunk,
        vetted: Vetted,
    ) -> Vec<Parcel> {
        self.probation.opened(Place::Parked(sink, class, parked.id));
        let bytes = parked.chunk.as_ref().map_or(0, bytes::Bytes::len);
        let source = |events: usize| Source::Parked {
            sink,
            class,
            id: parked.id,
            events: events as u64,
            bytes: bytes as u64,
        };
        let share = self.cx.parked.unsettled.take(bytes);
        let share = match vetted {
            Vetted::Free | Vetted::Later => share,
            Vetted::Held(held) => share.on_probation(held),
            Vetted::Quarantine(why) => {
                self.quarantine(source(0), why, share.on_probation(Held::default()));
                return Vec::new();
            }
        };
        match parked.chunk.map(chunk::decode).transpose() {
            Ok(chunk) => {
                let chunk = chunk.unwrap_or_default();
                let open = self.ledger.open(source(chunk.events.len()), parcels_in(&chunk), share);
                parcels_of(chunk, &open).collect()
            }
            Err(error) => {
                self.quarantine(source(0), error.to_string(), share);
                Vec::new()
            }
        }
    }
}

/// How many parcels there are in a chunk.
fn parcels_in(chunk: &Chunk) -> usize {
    let variants = chunk.events.iter().flat_map(|event| &event.variants);
    variants.map(|variant| chunk::sinks_of(variant).count()).sum()
}

/// The parcels of a chunk: each event for each of its sinks.
fn parcels_of(chunk: Chunk, open: &Arc<OpenChunk>) -> impl Iterator<Item = Parcel> {
    chunk.events.into_iter().map(Arc::new).flat_map(move |event| {
        let open = Arc::clone(open);
        let targets: Vec<_> = event
            .variants
            .iter()
            .enumerate()
            .flat_map(|(at, variant)| {
                let hash = shared_hash(variant);
                chunk::sinks_of(variant).map(move |sink| (at, sink, hash.clone()))
            })
            .collect();
        targets.into_iter().map(move |(variant, sink, hash)| {
            Parcel::new(&open, &event, variant, sink).sharing(hash)
        })
    })
}

/// What the sinks of a variant share, where there are several.
fn shared_hash(variant: &Variant) -> Option<SharedHash> {
    chunk::sinks_of(variant).nth(1).map(|_| SharedHash::default())
}

#[cfg(test)]
mod tests {
    use millrace_domain::SinkSid;
    use millrace_proto::internal::ChunkEvent;
    use millrace_queue::EntryId;

    use super::*;
    use crate::{context::Unsettled, ledger::Ledger, parcel::Source};

    fn variant(sinks: &[u128]) -> Variant {
        let sinks = sinks.iter().flat_map(|sink| chunk::sink_bytes(SinkSid::from_u128(*sink)));
        Variant { event: "{}".into(), sinks: sinks.collect(), ..Variant::default() }
    }

    #[test]
    fn sinks_of_the_same_bytes_share_a_hash_and_others_do_not() {
        let event =
            ChunkEvent { variants: vec![variant(&[1, 2]), variant(&[3])], ..ChunkEvent::default() };
        let chunk = Chunk { events: vec![event], ..Chunk::default() };
        assert_eq!(parcels_in(&chunk), 3);
        let ledger = Arc::new(Ledger::default());
        let open = ledger.open(Source::Ready(EntryId::default()), 3, Unsettled::new(1).take(1));
        let parcels: Vec<_> = parcels_of(chunk, &open).collect();
        let hashes: Vec<_> = parcels.iter().map(|parcel| parcel.delivery().hash).collect();
        hashes[0].as_ref().expect("shared").set([7; 32]).expect("the first to know");
        assert_eq!(hashes[1].as_ref().and_then(|shared| shared.get()), Some(&[7; 32]));
        assert!(hashes[2].is_none(), "there is nobody to share it with");
    }
}
