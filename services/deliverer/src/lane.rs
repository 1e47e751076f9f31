//! A lane: the events of one sink that are in memory, and what is known of those that are parked. Bounded: what does not
//! fit is parked. [`run`] is its task.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_domain::{SinkSid, Timestamp};
use millrace_queue::{Class, ParkedId};
use tokio::{sync::Notify, time::Instant};

use self::pulse::Pulse;
use crate::{config::DeliverySettings, parcel::Parcel};

mod batch;
mod concurrency;
mod congestion;
mod drain;
mod outcome;
mod pace;
mod probe;
pub(crate) mod pulse;
mod rest;
pub(crate) mod run;
mod send;
mod shelf;
mod telling;

/// The shared side of a lane: the reader and the settler put in, its task takes out.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) sink: SinkSid,
    state: Mutex<State>,
    wake: Notify,
    /// Whether its sink takes events: its breaker is closed, and nobody asked for a pause.
    sends: AtomicBool,
    pub(crate) pulse: Pulse,
}

#[derive(Debug, Default)]
struct State {
    fresh: VecDeque<Parcel>,
    fresh_bytes: usize,
    /// It was too full for something since it was last empty.
    overflowed: bool,
    closed: bool,
    parked: Parked,
}

/// What is known of a sink's parked chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parked {
    /// There may be some in the backlog.
    pub(crate) backlog: bool,
    /// When the next delayed one is due.
    pub(crate) delayed: Option<Timestamp>,
    /// Those that are in hand: loaded and not settled.
    pub(crate) in_hand: Vec<(Class, ParkedId)>,
    /// Counts the parks, so that "there are none" is believed only if none came meanwhile.
    pub(crate) parks: u64,
}

impl Parked {
    /// Those of one set that are in hand.
    pub(crate) fn in_hand_of(&self, class: Class) -> Vec<ParkedId> {
        self.in_hand.iter().filter(|(of, _)| *of == class).map(|(_, id)| *id).collect()
    }
}

impl Lane {
    pub(crate) fn new(sink: SinkSid) -> Self {
        Self {
            sink,
            state: Mutex::default(),
            wake: Notify::new(),
            sends: AtomicBool::new(false),
            pulse: Pulse::default(),
        }
    }

    /// Adds a fresh parcel, or gives it back if the lane is full or closed.
    pub(crate) fn push(&self, parcel: Parcel, bounds: &DeliverySettings) -> Result<(), Parcel> {
        let mut state = self.lock();
        let size = parcel.bytes().len();
        let full = state.fresh.len() >= bounds.lane_events
            || (state.fresh_bytes + size > bounds.lane_bytes && !state.fresh.is_empty());
        if state.closed || full {
            state.overflowed = true;
            return Err(parcel);
        }
        state.fresh_bytes += size;
        state.fresh.push_back(parcel);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes fresh parcels from the front while `wanted` says so, given how many were taken and their bytes before it.
    pub(crate) fn take_fresh(&self, mut wanted: impl FnMut(&Parcel) -> bool) -> Vec<Parcel> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while state.fresh.front().is_some_and(&mut wanted) {
            let Some(parcel) = state.fresh.pop_front() else { break };
            state.fresh_bytes -= parcel.bytes().len();
            taken.push(parcel);
        }
        let_go(&mut state.fresh);
        taken
    }

    /// Says whether its sink takes events.
    fn set_sends(&self, sends: bool) {
        self.sends.store(sends, Ordering::Relaxed);
    }

    /// Tells whether its sink takes events, and none that is fresh waits: what it was too full for is not to wait any longer.
    pub(crate) fn is_hungry(&self) -> bool {
        self.sends.load(Ordering::Relaxed) && self.lock().fresh.is_empty()
    }

    /// Tells once that it is empty which was too full.
    fn has_recovered(&self) -> bool {
        let mut state = self.lock();
        let recovered = state.overflowed && state.fresh.is_empty();
        state.overflowed &= !recovered;
        recovered
    }

    /// How many fresh parcels wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().fresh.len()
    }

    /// Since when the oldest fresh parcel has waited.
    pub(crate) fn oldest_fresh(&self) -> Option<Instant> {
        self.lock().fresh.front().map(|parcel| parcel.arrived)
    }

    /// When the fresh parcel was accepted that came first.
    pub(crate) fn oldest_accepted(&self) -> Option<Timestamp> {
        self.lock().fresh.front().map(|parcel| parcel.accepted)
    }

    /// Parks what has waited longer than `linger`.
    pub(crate) fn park_stale(&self, linger: Duration) {
        drop(self.take_fresh(|parcel| parcel.arrived.elapsed() >= linger));
    }

    /// What is known to be parked.
    pub(crate) fn view(&self) -> Parked {
        self.lock().parked.clone()
    }

    /// A chunk was parked.
    pub(crate) fn parked(&self, class: Class, at: Timestamp) {
        let mut state = self.lock();
        let parked = &mut state.parked;
        parked.parks += 1;
        match class {
            Class::Backlog => parked.backlog = true,
            Class::Delayed => parked.delayed = Some(parked.delayed.map_or(at, |next| next.min(at))),
        }
        self.wake.notify_one();
    }

    /// A new owner starts: something is parked, it is not known what.
    pub(crate) fn resume(&self) {
        let mut state = self.lock();
        state.parked.backlog = true;
        state.parked.delayed = Some(Timestamp::default());
        self.wake.notify_one();
    }

    /// A parked chunk was loaded.
    pub(crate) fn loaded(&self, class: Class, id: ParkedId) {
        self.lock().parked.in_hand.push((class, id));
    }

    /// A parked chunk is settled, or let go: what its set still has is to be looked up anew.
    pub(crate) fn closed(&self, class: Class, id: ParkedId) {
        let mut state = self.lock();
        let parked = &mut state.parked;
        parked.in_hand.retain(|other| *other != (class, id));
        parked.parks += 1;
        match class {
            Class::Backlog => parked.backlog = true,
            Class::Delayed => parked.delayed = Some(Timestamp::default()),
        }
        self.wake.notify_one();
    }

    /// Corrects what is known of a set, unless something was parked after `parks` was read. Tells whether by that nothing at all
    /// is parked.
    pub(crate) fn learnt(&self, class: Class, first: Option<Timestamp>, parks: u64) -> bool {
        let mut state = self.lock();
        let parked = &mut state.parked;
        if parked.parks != parks {
            return false;
        }
        match class {
            Class::Backlog => parked.backlog = first.is_some(),
            Class::Delayed => parked.delayed = first,
        }
        !parked.backlog && parked.delayed.is_none() && parked.in_hand.is_empty()
    }

    /// Closes the lane if nothing waits and nothing is parked.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut state = self.lock();
        let parked = &state.parked;
        let idle = state.fresh.is_empty()
            && !parked.backlog
            && parked.delayed.is_none()
            && parked.in_hand.is_empty();
        state.closed |= idle;
        idle
    }

    /// Closes the lane for good: what waits is parked, and nothing more comes in.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            state.fresh_bytes = 0;
            std::mem::take(&mut state.fresh)
        };
        drop(waiting);
    }

    /// Waits for something to change.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parcels that an empty queue keeps room for: thousands of lanes that were full once would keep much.
const ROOM_KEPT: usize = 32;

/// Lets go the memory of a queue that is empty.
fn let_go(parcels: &mut VecDeque<Parcel>) {
    if parcels.is_empty() {
        parcels.shrink_to(ROOM_KEPT);
    }
}
