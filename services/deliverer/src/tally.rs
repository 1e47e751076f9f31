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
