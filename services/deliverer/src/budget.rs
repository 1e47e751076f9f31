//! The places for requests of the process, shared by its lanes.
//!
//! A lane may have as many requests open as there are places left, an eighth of all not counted, which is for lanes that have
//! nothing open. So however many lanes want all they can get, they end up with equal shares and leave one of the same size;
//! and while sinks that hang hold what they got first for seconds, a lane that comes with nothing open finds a place at once.
//! Of lanes that wait, the one with the fewest open requests is next, and among equals the one that has waited longest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// This part of all places is for lanes that have nothing open.
const RESERVED: usize = 8;

/// All places, and who has them.
#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// How many of them are for lanes that have nothing open.
    reserved: usize,
    /// Counts lanes and waits.
    turn: u64,
    lanes: HashMap<u64, Claim>,
    /// Lanes that wait, by open requests and since when.
    waiting: BTreeMap<(usize, u64), u64>,
}

#[derive(Debug)]
struct Claim {
    /// Places taken, one that is granted included.
    held: usize,
    /// A place was granted and is not fetched yet.
    granted: bool,
    waits_since: Option<u64>,
    wake: Arc<Notify>,
}

impl Budget {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let state = State {
            free: places,
            reserved: places / RESERVED,
            turn: 0,
            lanes: HashMap::new(),
            waiting: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Gives a lane its share.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let wake = Arc::new(Notify::new());
        let mut state = self.lock();
        state.turn += 1;
        let lane = state.turn;
        let claim = Claim { held: 0, granted: false, waits_since: None, wake: Arc::clone(&wake) };
        state.lanes.insert(lane, claim);
        Share { budget: Arc::clone(self), lane, wake }
    }

    /// Places that nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells whether a lane that holds so many places may have one more.
    fn may_take(&self, held: usize) -> bool {
        let left = if held == 0 { self.free } else { self.free.saturating_sub(self.reserved) };
        held < left
    }

    /// Takes a place for a lane, or has it wait.
    fn take(&mut self, lane: u64) -> bool {
        let held = self.lanes.get(&lane).map_or(0, |claim| claim.held);
        let may = self.may_take(held);
        let Some(claim) = self.lanes.get_mut(&lane) else { return false };
        if claim.granted {
            claim.granted = false;
            return true;
        }
        if may {
            self.stop_waiting(lane);
            self.give(lane);
            return true;
        }
        if claim.waits_since.is_none() {
            self.turn += 1;
            claim.waits_since = Some(self.turn);
            self.waiting.insert((claim.held, self.turn), lane);
        }
        false
    }

    fn give(&mut self, lane: u64) {
        if let Some(claim) = self.lanes.get_mut(&lane) {
            self.free -= 1;
            claim.held += 1;
        }
    }

    fn stop_waiting(&mut self, lane: u64) {
        let Some(claim) = self.lanes.get_mut(&lane) else { return };
        if let Some(since) = claim.waits_since.take() {
            self.waiting.remove(&(claim.held, since));
        }
    }

    /// A place of a lane, which may be gone, is free again.
    fn free_one(&mut self, lane: u64) {
        self.free += 1;
        if let Some(claim) = self.lanes.get_mut(&lane) {
            let before = claim.held;
            claim.held -= 1;
            if let Some(since) = claim.waits_since {
                self.waiting.remove(&(before, since));
                self.waiting.insert((claim.held, since), lane);
            }
        }
        self.grant();
    }

    /// Grants what may be granted: if not to the first that waits, then to nobody.
    fn grant(&mut self) {
        while let Some((&(held, _), &lane)) = self.waiting.first_key_value() {
            if !self.may_take(held) {
                return;
            }
            self.stop_waiting(lane);
            self.give(lane);
            if let Some(claim) = self.lanes.get_mut(&lane) {
                claim.granted = true;
                claim.wake.notify_one();
            }
        }
    }

    /// Wants nothing more: neither waits, nor keeps a place that was granted.
    fn leave(&mut self, lane: u64) {
        self.stop_waiting(lane);
        let granted =
            self.lanes.get_mut(&lane).is_some_and(|claim| std::mem::take(&mut claim.granted));
        if granted {
            self.free_one(lane);
        }
    }
}

/// What one lane has of the budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    lane: u64,
    wake: Arc<Notify>,
}

impl Share {
    /// Takes a place. Where there is none for this lane now, the lane waits from here on, is woken by [`Self::granted`], and
    /// then asks again.
    pub(crate) fn take(&self) -> Option<Place> {
        let taken = self.budget.lock().take(self.lane);
        taken.then(|| Place { budget: Arc::clone(&self.budget), lane: self.lane })
    }

    /// Waits until a place was granted. Cut off, the place stays granted.
    pub(crate) async fn granted(&self) {
        self.wake.notified().await;
    }

    /// Waits no longer, and lets go a place that was granted and not taken.
    pub(crate) fn leave(&self) {
        self.budget.lock().leave(self.lane);
    }
}

impl Drop for Share {
    /// The places of its requests end with those.
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.leave(self.lane);
        state.lanes.remove(&self.lane);
    }
}

/// A place for one request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budget: Arc<Budget>,
    lane: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.lock().free_one(self.lane);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grab(share: &Share) -> Vec<Place> {
        let places = std::iter::from_fn(|| share.take()).collect();
        share.leave();
        places
    }

    #[test]
    fn lanes_that_want_everything_leave_a_share_for_the_next() {
        let budget = Budget::new(1_024);
        let lanes: Vec<_> = (0..100).map(|_| budget.share()).collect();
        let mut held: Vec<Vec<Place>> = lanes.iter().map(|_| Vec::new()).collect();
        for _ in 0..64 {
            for (share, places) in lanes.iter().zip(&mut held) {
                places.extend(share.take());
            }
        }
        assert!(held.iter().all(|places| (8..=10).contains(&places.len())), "equal shares");
        let newcomer = budget.share();
        assert!(!grab(&newcomer).is_empty(), "there is a place for one that comes later");
    }

    #[test]
    fn lanes_that_took_all_they_could_leave_places_for_those_with_none() {
        let budget = Budget::new(1_024);
        let lanes: Vec<_> = (0..100).map(|_| budget.share()).collect();
        let hold: Vec<_> =
            lanes.iter().flat_map(|share| grab(share).into_iter().take(64)).collect();
        assert!(hold.len() > 900, "one after the other they hold {}", hold.len());
        let late: Vec<_> = (0..20).map(|_| budget.share()).collect();
        assert!(late.iter().all(|share| share.take().is_some()));
    }

    #[test]
    fn a_lane_alone_gets_nearly_half_and_never_nothing() {
        for (places, most) in [(1, 1), (2, 1), (3, 2), (1_024, 448)] {
            let budget = Budget::new(places);
            let share = budget.share();
            assert_eq!(grab(&share).len(), most, "of {places}");
        }
    }

    #[test]
    fn a_free_place_goes_to_who_has_the_fewest_then_to_who_waited_longest() {
        let budget = Budget::new(3);
        let (rich, first, second) = (budget.share(), budget.share(), budget.share());
        let mut places = grab(&rich);
        let other = budget.share();
        places.extend(grab(&other));
        assert_eq!((places.len(), budget.free()), (3, 0));
        assert!(rich.take().is_none() && first.take().is_none() && second.take().is_none());
        drop(places.pop());
        assert!(second.take().is_none(), "it was granted to the one that waited longer");
        let place = first.take().expect("granted");
        drop(place);
        assert!(second.take().is_some(), "both have none, and it has waited longer than `rich`");
    }

    #[test]
    fn a_grant_that_is_not_wanted_any_more_goes_to_the_next() {
        let budget = Budget::new(1);
        let (holder, gone, next) = (budget.share(), budget.share(), budget.share());
        let place = holder.take().expect("free");
        assert!(gone.take().is_none() && next.take().is_none());
        drop(place);
        drop(gone);
        assert!(next.take().is_some());
    }

    proptest! {
        /// Whatever lanes do: no place is lost or made, and whoever could be served is not left waiting.
        #[test]
        fn places_are_neither_lost_nor_kept_from_who_may_have_them(places in 1..20_usize, steps in proptest::collection::vec((0..6_usize, 0..4_u8), 1..200)) {
            let budget = Budget::new(places);
            let mut lanes: Vec<(Share, Vec<Place>)> = (0..6).map(|_| (budget.share(), Vec::new())).collect();
            for (lane, step) in steps {
                let (share, held) = &mut lanes[lane];
                match step {
                    0 | 1 => held.extend(share.take()),
                    2 => drop(held.pop()),
                    _ => share.leave(),
                }
                let state = budget.lock();
                let taken: usize = state.lanes.values().map(|claim| claim.held).sum();
                prop_assert_eq!(taken + state.free, places);
                if let Some((&(fewest, _), _)) = state.waiting.first_key_value() {
                    prop_assert!(!state.may_take(fewest), "a lane waits for a place that it may have");
                }
                for (&(held, since), lane) in &state.waiting {
                    prop_assert_eq!((state.lanes[lane].held, state.lanes[lane].waits_since), (held, Some(since)));
                }
            }
            drop(lanes);
            prop_assert_eq!(budget.free(), places);
        }
    }
}
