//! A window of suspects that opens slowly: what kills does so soon, and should have few others in hand with it. It begins with
//! a few at once, and with each that is settled there may be one more: so twice as many each round, as TCP's slow start does.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places at first.
const FIRST: usize = 4;

/// A window.
#[derive(Debug)]
pub(super) struct Window {
    places: Arc<Semaphore>,
    size: AtomicUsize,
    most: usize,
}

/// A place in a window.
#[derive(Debug)]
pub(super) struct Turn {
    of: Arc<Window>,
    _permit: OwnedSemaphorePermit,
}

impl Window {
    /// One that opens up to `most`.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(FIRST));
        Arc::new(Self { places, size: AtomicUsize::new(FIRST), most })
    }

    /// Waits for a place; `None`: never.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Turn> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Turn { of: Arc::clone(self), _permit: permit })
    }

    /// A place, where there is one now.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Turn> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Turn { of: Arc::clone(self), _permit: permit })
    }
}

impl Turn {
    /// How many may be in hand with it.
    pub(super) fn of(&self) -> usize {
        self.of.size.load(Ordering::Relaxed)
    }

    /// The suspect is settled: there may be more.
    pub(super) fn survived(&self) {
        let Window { places, size, most } = &*self.of;
        let grown = size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| {
            (size < *most).then_some(size + 1)
        });
        if grown.is_ok() {
            places.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_each_round_that_is_survived() {
        let (window, mut rounds) = (Window::new(64), Vec::new());
        for _ in 0..7 {
            let turns: Vec<_> = std::iter::from_fn(|| window.try_take()).collect();
            rounds.push(turns.len());
            turns.iter().for_each(Turn::survived);
        }
        assert_eq!(rounds, [4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn what_was_not_run_opens_nothing() {
        let window = Window::new(64);
        for _ in 0..2 {
            let turns: Vec<_> = std::iter::from_fn(|| window.try_take()).collect();
            assert_eq!(turns.len(), FIRST);
        }
    }
}
