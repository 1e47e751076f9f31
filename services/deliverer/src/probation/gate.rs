//! The gate of a process for suspects of which something is noted: how many of them it has in hand at once.
//!
//! Whoever is further up the ladder waits until no partition has others left below: those are more, and quickly through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::step::{Course, FEW, MANY};

/// The gate of a process.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_hand: usize,
    alone: bool,
    /// How often some are held back now, to see whether the process lives without them.
    quiet: usize,
    /// Partitions that have some left of [`Course::Many`], and of [`Course::Few`].
    left: [usize; 2],
}

/// The place of one suspect that is in hand.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    alone: bool,
}

/// A partition has some left of a course.
pub(super) struct Left<'a> {
    gate: &'a Gate,
    course: Course,
}

/// Some are held back.
#[derive(Debug)]
pub(super) struct Quiet<'a>(&'a Gate);

impl Gate {
    /// Waits until none are in hand or left below: from then on, while what is given lives, none is run alone. So nobody is
    /// acquitted by the death that another suspect causes, and two that kill cannot acquit each other in turn.
    pub(super) async fn quiet(&self) -> Quiet<'_> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.is_idle() {
                    state.quiet += 1;
                    return Quiet(self);
                }
            }
            changed.await;
        }
    }

    /// Says, while it lives, that a partition has some left.
    pub(super) fn left(&self, course: Course) -> Left<'_> {
        if let Some(left) = self.state().left_of(course) {
            *left += 1;
        }
        Left { gate: self, course }
    }

    /// Waits for a place.
    pub(super) async fn enter(self: &Arc<Self>, course: Course) -> Pass {
        loop {
            let changed = self.changed.notified();
            if let Some(pass) = self.try_enter(course) {
                return pass;
            }
            changed.await;
        }
    }

    /// A place, where there is one now.
    pub(super) fn try_enter(self: &Arc<Self>, course: Course) -> Option<Pass> {
        let mut state = self.state();
        let alone = course >= Course::Alone;
        if !state.admits(course) {
            return None;
        }
        state.in_hand += 1;
        state.alone = alone;
        Some(Pass { gate: Arc::clone(self), alone })
    }

    /// How many are in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.state().in_hand
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admits(&self, course: Course) -> bool {
        let [many, _] = self.left;
        // While something is held back nothing else is tried: by the death that this causes, the other would be acquitted.
        !self.alone
            && self.quiet == 0
            && match course {
                Course::Together | Course::Many => self.in_hand < MANY,
                Course::Few => self.in_hand < FEW && many == 0,
                Course::Alone | Course::Quarantine => self.is_idle(),
            }
    }

    fn is_idle(&self) -> bool {
        self.in_hand + self.left.iter().sum::<usize>() == 0
    }

    fn left_of(&mut self, course: Course) -> Option<&mut usize> {
        match course {
            Course::Many => Some(&mut self.left[0]),
            Course::Few => Some(&mut self.left[1]),
            Course::Together | Course::Alone | Course::Quarantine => None,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.in_hand -= 1;
        if self.alone {
            state.alone = false;
        }
        drop(state);
        self.gate.changed.notify_waiters();
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.state().quiet -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if let Some(left) = self.gate.state().left_of(self.course) {
            *left -= 1;
        }
        self.gate.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn enter(gate: &Arc<Gate>, course: Course, count: usize) -> Vec<Pass> {
        (0..count).map_while(|_| gate.try_enter(course)).collect()
    }

    #[test]
    fn each_step_admits_fewer_and_the_last_one_alone() {
        let gate = Arc::new(Gate::default());
        assert_eq!(enter(&gate, Course::Many, 1_000).len(), MANY);
        assert_eq!(enter(&gate, Course::Few, 1_000).len(), FEW);
        let alone = enter(&gate, Course::Alone, 2);
        assert_eq!(alone.len(), 1);
        for course in [Course::Many, Course::Few, Course::Alone] {
            assert!(gate.try_enter(course).is_none(), "{course:?} beside one that is alone");
        }
        drop(alone);
        let many = enter(&gate, Course::Many, FEW);
        assert!(gate.try_enter(Course::Few).is_none(), "those would be more than few");
        assert!(gate.try_enter(Course::Alone).is_none());
        drop(many);
        assert_eq!(gate.in_hand(), 0);
    }

    #[tokio::test]
    async fn who_is_further_up_waits_for_all_below_of_any_partition() {
        let gate = Arc::new(Gate::default());
        let (many, few) = (gate.left(Course::Many), gate.left(Course::Few));
        let mut third = Box::pin(gate.enter(Course::Few));
        let mut fourth = Box::pin(gate.enter(Course::Alone));
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        drop(many);
        let pass = third.await;
        drop(few);
        assert!((&mut fourth).now_or_never().is_none(), "one of few is in hand");
        drop(pass);
        fourth.await;
    }

    #[tokio::test]
    async fn none_is_alone_while_others_are_held_back() {
        let gate = Arc::new(Gate::default());
        let pass = gate.enter(Course::Alone).await;
        let mut quiet = Box::pin(gate.quiet());
        assert!((&mut quiet).now_or_never().is_none(), "one is in hand that may kill");
        drop(pass);
        let (quiet, second) = (quiet.await, gate.quiet().await);
        assert!(gate.try_enter(Course::Alone).is_none());
        drop((quiet, second));
        assert!(gate.try_enter(Course::Alone).is_some());
    }
}
