//! What the sinks of a partition have parked, for people: a copy of what the settler settled.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use millrace_domain::{SinkSid, Timestamp};
use millrace_proto::internal::BacklogState;
use millrace_queue::{Class, Settlement};

/// What is parked, by sink.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sinks: Mutex<HashMap<SinkSid, Waiting>>,
}

/// What a sink has parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// No event of it was accepted before; while a backlog drains it lags behind.
    pub(crate) since: Timestamp,
}

impl Tally {
    /// Starts from what the last owner settled.
    pub(crate) fn load(backlogs: &[(SinkSid, BacklogState)]) -> Self {
        let waiting = |(sink, state): &(SinkSid, BacklogState)| {
            let (events, bytes) = (state.events, state.bytes);
            (*sink, Waiting { events, bytes, since: Timestamp::default() })
        };
        Self { sinks: Mutex::new(backlogs.iter().map(waiting).collect()) }
    }

    /// Takes in what was settled.
    pub(crate) fn settled(&self, settlement: &Settlement, now: Timestamp) {
        if settlement.backlogs.is_empty() {
            return;
        }
        let mut sinks = self.lock();
        for (sink, state) in &settlement.backlogs {
            let Some(state) = state else {
                sinks.remove(sink);
                continue;
            };
            let known = sinks.entry(*sink).or_insert_with(|| {
                let parks = settlement.parks.iter().filter(|park| park.sink == *sink);
                // A delayed one says when it is due, which is later.
                let accepted = parks.map(|park| match park.class {
                    Class::Backlog => park.at,
                    Class::Delayed => now,
                });
                Waiting { events: 0, bytes: 0, since: accepted.min().unwrap_or(now) }
            });
            (known.events, known.bytes) = (state.events, state.bytes);
        }
    }

    /// What a sink has parked.
    pub(crate) fn of(&self, sink: SinkSid) -> Option<Waiting> {
        self.lock().get(&sink).copied()
    }

    /// Events and bytes of all sinks.
    pub(crate) fn total(&self) -> (u64, u64) {
        let sinks = self.lock();
        sinks.values().fold((0, 0), |(events, bytes), waiting| {
            (events + waiting.events, bytes + waiting.bytes)
        })
    }

    /// The sink that may have the oldest event, and its [`Waiting::since`].
    pub(crate) fn oldest(&self) -> Option<(SinkSid, Timestamp)> {
        let sinks = self.lock();
        sinks.iter().map(|(sink, waiting)| (*sink, waiting.since)).min_by_key(|(_, since)| *since)
    }

    /// Corrects since when a sink waits.
    pub(crate) fn learnt(&self, sink: SinkSid, since: Timestamp) {
        if let Some(waiting) = self.lock().get_mut(&sink) {
            waiting.since = waiting.since.max(since);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SinkSid, Waiting>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_queue::{Park, ParkedId};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn parking(sink: SinkSid, accepted: Timestamp, events: u64) -> Settlement {
        let id = ParkedId(uuid::Uuid::nil());
        let class = Class::Backlog;
        let park = Park { sink, id, class, at: accepted, expires: accepted, chunk: Bytes::new() };
        let state = BacklogState { events, bytes: events * 10, ..BacklogState::default() };
        Settlement {
            parks: vec![park],
            backlogs: vec![(sink, Some(state))],
            ..Settlement::default()
        }
    }

    #[test]
    fn counts_what_is_parked_and_knows_who_waits_longest() {
        let (one, two) = (SinkSid::from_u128(1), SinkSid::from_u128(2));
        let tally = Tally::default();
        tally.settled(&parking(one, at(10), 3), at(20));
        tally.settled(&parking(two, at(5), 1), at(20));
        tally.settled(&parking(one, at(15), 4), at(20));
        assert_eq!(tally.of(one), Some(Waiting { events: 4, bytes: 40, since: at(10) }));
        assert_eq!((tally.total(), tally.oldest()), ((5, 50), Some((two, at(5)))));
        tally.learnt(two, at(12));
        assert_eq!(tally.oldest(), Some((one, at(10))), "its oldest event is gone");
        let gone = Settlement { backlogs: vec![(one, None)], ..Settlement::default() };
        tally.settled(&gone, at(30));
        assert_eq!((tally.of(one), tally.total()), (None, (1, 10)));
    }
}
