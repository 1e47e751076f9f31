//! What a settlement says of the events that were not delivered: which wait, in which parked chunks, and which are
//! given up. Pure: time and ids are given.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use millrace_domain::{
    SinkSid, Timestamp,
    breaker::{self, Cause, Open},
    sink::delivery::DELIVERY_WINDOW_MAX,
};
use millrace_proto::internal::{
    BacklogState, BreakerCause, Chunk, ChunkEvent, DropReport, DropReports, Variant,
};
use millrace_queue::{
    Class, Park, ParkedId, Settlement,
    chunk::{self, CHUNK_MAX_BYTES, CHUNK_MAX_EVENTS},
};

use crate::{
    ledger::Finished,
    parcel::{Fate, Leftover, Source},
};

/// How long a parked chunk is kept at the least, whose windows all have closed.
const READ_FOR: Duration = Duration::from_secs(24 * 3_600);

/// What the partition's sinks have parked, as the owner counts it.
#[derive(Debug, Default)]
pub(crate) struct Backlogs {
    sinks: HashMap<SinkSid, BacklogState>,
}

/// A settlement, and what the lanes are told once it is in place.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) settlement: Settlement,
    /// New parked chunks: sink, set, and its place there.
    pub(crate) parked: Vec<(SinkSid, Class, Timestamp)>,
    /// Parked chunks that no lane has in hand any more.
    pub(crate) closed: Vec<Closed>,
}

/// A parked chunk that no lane has in hand any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) sink: SinkSid,
    pub(crate) class: Class,
    pub(crate) id: ParkedId,
}

/// What gathering is given.
pub(crate) struct Given<'a> {
    pub(crate) now: Timestamp,
    pub(crate) breakers: &'a HashMap<SinkSid, breaker::State>,
    /// Sinks that have nothing parked, whatever was counted: a chunk that was forgotten or unreadable is not counted out.
    pub(crate) emptied: &'a HashSet<SinkSid>,
    pub(crate) new_id: &'a mut dyn FnMut() -> ParkedId,
}

impl Backlogs {
    /// Starts from what the last owner settled.
    pub(crate) fn load(sinks: Vec<(SinkSid, BacklogState)>) -> Self {
        Self { sinks: sinks.into_iter().collect() }
    }

    /// Turns finished chunks into one settlement, and counts what it parks and takes out. `dirty`: sinks whose state has to be
    /// written although nothing of theirs moves.
    pub(crate) fn gather(
        &mut self,
        finished: &mut [Finished],
        dirty: &HashSet<SinkSid>,
        mut given: Given<'_>,
    ) -> Gathered {
        let mut gathered =
            Gathered { settlement: Settlement::default(), parked: Vec::new(), closed: Vec::new() };
        let mut touched: HashSet<SinkSid> =
            dirty.iter().copied().filter(|sink| self.sinks.contains_key(sink)).collect();
        let mut groups: BTreeMap<(SinkSid, bool, u32), Vec<Leftover>> = BTreeMap::new();
        for chunk in finished {
            self.consume(chunk, &mut gathered, &mut touched);
            if chunk.untouched {
                continue;
            }
            for leftover in chunk.leftovers.drain(..) {
                match leftover.fate {
                    Fate::Dropped { .. } => {
                        gathered.settlement.drops.drops.push(drop_report(&leftover, given.now))
                    }
                    // Events that failed as often are due at about the same time: they share a chunk.
                    Fate::Delayed { .. } => groups
                        .entry((leftover.sink, true, leftover.attempts))
                        .or_default()
                        .push(leftover),
                    Fate::Backlog => {
                        groups.entry((leftover.sink, false, 0)).or_default().push(leftover)
                    }
                }
            }
        }
        for ((sink, ..), leftovers) in groups {
            touched.insert(sink);
            for part in split(leftovers) {
                self.park(sink, &part, &mut gathered, &mut given);
            }
        }
        for sink in given.emptied {
            let parks_now = gathered.parked.iter().any(|(parked, ..)| parked == sink);
            if let Some(state) = self.sinks.get_mut(sink).filter(|_| !parks_now) {
                state.events = 0;
                touched.insert(*sink);
            }
        }
        self.write_states(touched, given.breakers, &mut gathered.settlement);
        gathered
    }

    fn consume(
        &mut self,
        chunk: &Finished,
        gathered: &mut Gathered,
        touched: &mut HashSet<SinkSid>,
    ) {
        let (place, settlement) = (chunk.source.place(), &mut gathered.settlement);
        if chunk.share.is_on_probation() {
            settlement.acquitted.push(place);
        }
        if let Some(why) = &chunk.quarantine {
            settlement.quarantined.push((place, why.clone()));
        }
        match chunk.source {
            Source::Ready(entry) => {
                settlement.entries.extend(chunk.quarantine.is_none().then_some(entry));
            }
            Source::Parked { sink, class, id, events, bytes } => {
                gathered.closed.push(Closed { sink, class, id });
                if !chunk.untouched {
                    let unparked = chunk.quarantine.is_none().then_some((sink, class, id));
                    settlement.unparked.extend(unparked);
                    touched.insert(sink);
                    if let Some(state) = self.sinks.get_mut(&sink) {
                        state.events = state.events.saturating_sub(events);
                        state.bytes = state.bytes.saturating_sub(bytes);
                    }
                }
            }
        }
    }

    fn park(
        &mut self,
        sink: SinkSid,
        leftovers: &[Leftover],
        gathered: &mut Gathered,
        given: &mut Given<'_>,
    ) {
        let newest = leftovers.iter().map(|leftover| leftover.accepted).max().unwrap_or(given.now);
        let due = leftovers.iter().filter_map(|leftover| match leftover.fate {
            Fate::Delayed { due } => Some(due),
            _ => None,
        });
        let (class, at) = due.max().map_or((Class::Backlog, newest), |due| (Class::Delayed, due));
        let chunk = parked_chunk(sink, leftovers);
        let state = self.sinks.entry(sink).or_default();
        state.account = leftovers[0].event.account.clone();
        state.events += leftovers.len() as u64;
        state.bytes += chunk.len() as u64;
        gathered.parked.push((sink, class, at));
        // Kept for as long as any window can be: one that is lengthened holds for what is parked already.
        // However old it is: it has to be read to be reported.
        let expires = newest.plus(DELIVERY_WINDOW_MAX).max(at).max(given.now.plus(READ_FOR));
        gathered.settlement.parks.push(Park {
            sink,
            id: (given.new_id)(),
            class,
            at,
            expires,
            chunk,
        });
    }

    fn write_states(
        &mut self,
        touched: HashSet<SinkSid>,
        breakers: &HashMap<SinkSid, breaker::State>,
        settlement: &mut Settlement,
    ) {
        for sink in touched {
            let Some(state) = self.sinks.get_mut(&sink) else { continue };
            if state.events == 0 {
                self.sinks.remove(&sink);
                settlement.backlogs.push((sink, None));
                continue;
            }
            let breaker = breakers.get(&sink).copied().unwrap_or_default();
            state.failures = breaker.failures;
            state.next_probe_ms = breaker.open.map_or(0, |open| open.next_probe.as_millis());
            state.opened_ms = breaker.open.map_or(0, |open| open.since.as_millis());
            state.set_opened_by(match breaker.open.map(|open| open.cause) {
                None => BreakerCause::Unspecified,
                Some(Cause::InARow) => BreakerCause::InARow,
                Some(Cause::HalfOfRecent) => BreakerCause::HalfOfRecent,
            });
            settlement.backlogs.push((sink, Some(state.clone())));
        }
    }
}

/// The state of the breaker that a backlog remembers.
pub(crate) fn breaker_state(state: &BacklogState) -> breaker::State {
    let open = Open {
        next_probe: Timestamp::from_millis(state.next_probe_ms),
        since: Timestamp::from_millis(state.opened_ms),
        cause: match state.opened_by() {
            BreakerCause::HalfOfRecent => Cause::HalfOfRecent,
            BreakerCause::Unspecified | BreakerCause::InARow => Cause::InARow,
        },
    };
    // Only an open one has a next probe.
    breaker::State { failures: state.failures, open: (state.next_probe_ms != 0).then_some(open) }
}

/// Cuts leftovers into parts that fit a chunk; an event that is larger than a chunk is a part of its own.
fn split(leftovers: Vec<Leftover>) -> Vec<Vec<Leftover>> {
    let mut parts: Vec<Vec<Leftover>> = Vec::new();
    let mut bytes = 0;
    for leftover in leftovers {
        let size = leftover.event.variants[leftover.variant].event.len();
        match parts.last_mut() {
            Some(part) if part.len() < CHUNK_MAX_EVENTS && bytes + size <= CHUNK_MAX_BYTES => {
                bytes += size;
                part.push(leftover);
            }
            _ => {
                bytes = size;
                parts.push(vec![leftover]);
            }
        }
    }
    parts
}

fn parked_chunk(sink: SinkSid, leftovers: &[Leftover]) -> Bytes {
    let event = |leftover: &Leftover| {
        let variant = &leftover.event.variants[leftover.variant];
        ChunkEvent {
            id: leftover.event.id.clone(),
            account: leftover.event.account.clone(),
            r#type: leftover.event.r#type.clone(),
            traceparent: leftover.event.traceparent.clone(),
            variants: vec![Variant {
                schema_version: variant.schema_version,
                event: variant.event.clone(),
                sinks: chunk::sink_bytes(sink),
            }],
            accepted_ms: leftover.accepted.as_millis(),
            attempts: leftover.attempts,
        }
    };
    chunk::encode(&Chunk { config_seq: 0, events: leftovers.iter().map(event).collect() })
}

fn drop_report(leftover: &Leftover, now: Timestamp) -> DropReport {
    let Fate::Dropped { reason, error_code } = leftover.fate else {
        unreachable!("only a dropped leftover is reported")
    };
    let variant = &leftover.event.variants[leftover.variant];
    DropReport {
        account: leftover.event.account.clone(),
        sink: chunk::sink_bytes(leftover.sink),
        event_id: leftover.event.id.clone(),
        event_type: leftover.event.r#type.clone(),
        accepted_ms: leftover.accepted.as_millis(),
        dropped_ms: now.as_millis(),
        reason: reason.into(),
        error_code,
        event: variant.event.clone(),
        schema_version: variant.schema_version,
    }
}

/// Tells whether a settlement says nothing.
pub(crate) fn is_empty(settlement: &Settlement) -> bool {
    settlement.entries.is_empty()
        && settlement.unparked.is_empty()
        && settlement.parks.is_empty()
        && settlement.quarantined.is_empty()
        && settlement.acquitted.is_empty()
        && !settlement.trusted
        && settlement.backlogs.is_empty()
        && settlement.attempts.attempts.is_empty()
        && settlement.drops == DropReports::default()
}

#[cfg(test)]
mod tests {
    use millrace_proto::internal::DropReason;
    use millrace_queue::EntryId;
    use uuid::Uuid;

    use super::*;
    use crate::parcel::tests::parcels;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn gather(backlogs: &mut Backlogs, mut finished: Vec<Finished>) -> Gathered {
        let (mut next, breakers, emptied) = (0, HashMap::new(), HashSet::new());
        let mut new_id = || {
            next += 1;
            ParkedId(Uuid::from_u128(next))
        };
        let given = Given { now: NOW, breakers: &breakers, emptied: &emptied, new_id: &mut new_id };
        backlogs.gather(&mut finished, &HashSet::new(), given)
    }

    #[test]
    fn every_leftover_is_parked_or_reported_and_counted() {
        let (ledger, mut open) =
            parcels(Source::Ready(EntryId { ms: 5, seq: 0 }), &[10, 10, 10, 10]);
        open.pop().expect("four").delivered();
        open.pop().expect("four").give_up(DropReason::Rejected, 91305);
        open.pop().expect("four").delay(NOW);
        drop(open);
        let mut backlogs = Backlogs::default();
        let gathered = gather(&mut backlogs, ledger.take());
        let settlement = &gathered.settlement;
        assert_eq!(
            (settlement.entries.len(), settlement.parks.len(), settlement.drops.drops.len()),
            (1, 2, 1)
        );
        assert_eq!(settlement.backlogs[0].1.as_ref().map(|state| state.events), Some(2));
        assert_eq!(gathered.parked.len(), 2);
    }

    #[test]
    fn what_is_drained_is_counted_out_again() {
        let (ledger, open) = parcels(Source::Ready(EntryId { ms: 5, seq: 0 }), &[10, 10]);
        drop(open);
        let mut backlogs = Backlogs::default();
        let park = gather(&mut backlogs, ledger.take()).settlement.parks.remove(0);
        let source = Source::Parked {
            sink: park.sink,
            class: park.class,
            id: park.id,
            events: 2,
            bytes: park.chunk.len() as u64,
        };
        let (ledger, open) = parcels(source, &[10, 10]);
        open.into_iter().for_each(crate::parcel::Parcel::delivered);
        let settlement = gather(&mut backlogs, ledger.take()).settlement;
        assert_eq!(settlement.unparked, [(park.sink, Class::Backlog, park.id)]);
        assert!(matches!(settlement.backlogs[..], [(_, None)]));
    }

    #[test]
    fn an_untouched_parked_chunk_changes_nothing() {
        let source = Source::Parked {
            sink: SinkSid::from_u128(1),
            class: Class::Backlog,
            id: ParkedId(Uuid::nil()),
            events: 1,
            bytes: 1,
        };
        let (ledger, open) = parcels(source, &[10]);
        drop(open);
        let gathered = gather(&mut Backlogs::default(), ledger.take());
        assert!(is_empty(&gathered.settlement));
        assert_eq!(gathered.closed.len(), 1);
    }

    #[test]
    fn what_is_older_than_any_window_is_kept_until_it_can_be_reported() {
        let (ledger, open) = parcels(Source::Ready(EntryId { ms: 5, seq: 0 }), &[10]);
        drop(open);
        let long_after = Timestamp::from_millis(5).plus(DELIVERY_WINDOW_MAX * 4);
        let mut new_id = || ParkedId(Uuid::nil());
        let (breakers, emptied) = (HashMap::new(), HashSet::new());
        let given =
            Given { now: long_after, breakers: &breakers, emptied: &emptied, new_id: &mut new_id };
        let mut finished = ledger.take();
        let gathered = Backlogs::default().gather(&mut finished, &HashSet::new(), given);
        let expires = gathered.settlement.parks[0].expires;
        assert!(expires >= long_after.plus(READ_FOR), "it would be forgotten without a report");
    }

    #[test]
    fn parts_fit_a_chunk() {
        let (ledger, open) = parcels(
            Source::Ready(EntryId::default()),
            &[CHUNK_MAX_BYTES / 2, CHUNK_MAX_BYTES / 2, 1, CHUNK_MAX_BYTES * 2],
        );
        drop(open);
        let parts = split(ledger.take().remove(0).leftovers);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    }
}
