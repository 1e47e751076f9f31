//! What the queue in memory keeps, and what a settlement does to it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::internal::{BacklogState, DropReport, SinkReport};
use millrace_queue::{Class, EntryId, ParkedId, Place, Settlement, Token};

/// Parked chunks of a set, in their order.
pub(super) type Set = BTreeMap<(Timestamp, ParkedId), Kept>;

/// A parked chunk.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) chunk: Bytes,
    pub(super) expires_ms: i64,
}

/// Who owns a partition, or did so last.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Until it is released.
    pub(super) token: Option<Token>,
    pub(super) until_ms: i64,
    pub(super) unclean: bool,
    pub(super) address: String,
}

/// How much longer than it must a queue keeps a parked chunk.
const A_DAY: Duration = Duration::from_hours(24);

/// What is kept: everything a test may ask for.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) skew_ms: i64,
    pub(super) last: EntryId,
    pub(crate) ready: BTreeMap<(u16, EntryId), Bytes>,
    pub(super) owners: BTreeMap<u16, Owner>,
    pub(super) notes: BTreeMap<(u16, Place), u32>,
    pub(crate) members: BTreeMap<String, (String, i64)>,
    pub(super) announced: String,
    /// By partition, sink, and whether it is the set of the delayed ones.
    pub(crate) parked: BTreeMap<(u16, SinkSid, bool), Set>,
    pub(crate) backlogs: BTreeMap<(u16, SinkSid), BacklogState>,
    pub(crate) quarantined: BTreeMap<(u16, Place), (String, Bytes)>,
    pub(crate) drops: Vec<DropReport>,
    pub(crate) turns: Vec<SinkReport>,
    /// How often a partition was taken.
    pub(crate) takeovers: BTreeMap<u16, u32>,
    /// Most bytes that one settlement parked.
    pub(crate) largest_park: usize,
    /// Chunks that were parked.
    pub(crate) parks: usize,
    /// How often parked chunks were read.
    pub(crate) unparked: usize,
    /// Requests that were reported.
    pub(crate) attempts: usize,
}

impl State {
    pub(super) fn holds(&self, partition: Partition, token: Token, now: i64) -> bool {
        let owner = self.owners.get(&partition.0);
        owner.is_some_and(|owner| owner.token == Some(token) && owner.until_ms > now)
    }

    pub(super) fn consume(&mut self, home: u16, settlement: &Settlement) -> usize {
        let mut gone = 0;
        for (place, why) in &settlement.quarantined {
            if let Some(chunk) = self.remove(home, *place) {
                self.quarantined.insert((home, *place), (why.clone(), chunk));
                gone += 1;
            }
        }
        self.notes.retain(|(of, place), _| *of != home || !settlement.acquitted.contains(place));
        for id in &settlement.entries {
            gone += usize::from(self.ready.remove(&(home, *id)).is_some());
        }
        for (sink, class, id) in &settlement.unparked {
            let set = self.parked.entry((home, *sink, *class == Class::Delayed)).or_default();
            let before = set.len();
            set.retain(|(_, other), _| other != id);
            gone += before - set.len();
        }
        gone
    }

    fn remove(&mut self, home: u16, place: Place) -> Option<Bytes> {
        match place {
            Place::Ready(id) => self.ready.remove(&(home, id)),
            Place::Parked(sink, class, id) => {
                let set = self.parked.get_mut(&(home, sink, class == Class::Delayed))?;
                let key = *set.keys().find(|(_, other)| *other == id)?;
                set.remove(&key).map(|kept| kept.chunk)
            }
        }
    }

    pub(super) fn keep(&mut self, home: u16, settlement: &Settlement) {
        let parked = settlement.parks.iter().map(|park| park.chunk.len()).sum();
        self.largest_park = self.largest_park.max(parked);
        self.parks += settlement.parks.len();
        for park in &settlement.parks {
            let key = (home, park.sink, park.class == Class::Delayed);
            let set = self.parked.entry(key).or_default();
            set.retain(|(_, other), _| *other != park.id);
            let expires_ms = park.expires.plus(A_DAY).as_millis();
            set.insert((park.at, park.id), Kept { chunk: park.chunk.clone(), expires_ms });
        }
        let quarantined = settlement.quarantined.iter().filter_map(|(place, _)| match place {
            Place::Parked(sink, ..) => Some(*sink),
            Place::Ready(_) => None,
        });
        let unnamed = settlement.unparked.iter().map(|(sink, ..)| *sink).chain(quarantined);
        let named: Vec<_> = settlement.backlogs.iter().map(|(sink, _)| *sink).collect();
        let unnamed = unnamed.filter(|sink| !named.contains(sink)).map(|sink| (sink, None));
        for (sink, state) in settlement.backlogs.iter().cloned().chain(unnamed) {
            let any =
                |class| self.parked.get(&(home, sink, class)).is_some_and(|set| !set.is_empty());
            match state {
                Some(state) => drop(self.backlogs.insert((home, sink), state)),
                None if any(false) || any(true) => {
                    self.backlogs.entry((home, sink)).or_default();
                }
                None => drop(self.backlogs.remove(&(home, sink))),
            }
        }
        self.attempts += settlement.attempts.attempts.len();
        self.drops.extend(settlement.drops.drops.iter().cloned());
        self.turns.extend(settlement.drops.sinks.iter().cloned());
    }
}
