//! The queue's time, by which windows and due times run, as this process takes it.
//!
//! Between two readings it runs by this machine's steady clock. A reading that is off by less than [`JUMP`] is followed at once.
//! One that is off by more is a jump of the queue's clock, which may be a glitch, or the end of one. It is followed slowly:
//! **this clock never stands still, never goes back by more than [`JUMP`], and runs at most twice as fast as time.** So a jump
//! of hours forwards expires nothing at once: no window is shorter than half of what it should be. After a jump of hours
//! backwards probes and delayed events are due after twice their time at worst, and not hours late.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use millrace_domain::Timestamp;
use tokio::time::Instant;

/// From where on a difference is a jump.
const JUMP: Duration = Duration::from_secs(60);
/// Longest wait that is asked of [`QueueClock::instant_of`].
const AHEAD_MAX: Duration = Duration::from_secs(3_600);
/// No event and no probe is ever put off for longer: what seems to be was, by a clock that has jumped back since.
pub(crate) const PUT_OFF_MAX: Duration = Duration::from_secs(2 * 3_600);

/// The queue's time.
#[derive(Debug)]
pub(crate) struct QueueClock {
    last: Mutex<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    /// What this clock said then.
    ours: Timestamp,
    /// What the queue's said.
    queue: Timestamp,
}

impl Reading {
    fn jumped(&self) -> bool {
        self.queue.since(self.ours).max(self.ours.since(self.queue)) >= JUMP
    }

    fn now(&self) -> Timestamp {
        let passed = self.at.elapsed();
        let queue = self.queue.plus(passed);
        if !self.jumped() {
            queue
        } else if self.ours < self.queue {
            self.ours.plus(passed * 2).min(queue)
        } else {
            self.ours.plus(passed / 2).max(queue)
        }
    }
}

impl QueueClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { last: Mutex::new(Reading { at: Instant::now(), ours: now, queue: now }) }
    }

    /// Takes a reading of the queue's clock.
    pub(crate) fn set(&self, queue: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = Reading { at: Instant::now(), ours: last.now(), queue };
        if reading.jumped() && !last.jumped() {
            tracing::warn!(
                ahead_seconds = queue.since(reading.ours).as_secs(),
                behind_seconds = reading.ours.since(queue).as_secs(),
                "the queue's clock has jumped: follows it slowly"
            );
        }
        *last = reading;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    /// When it will be `time` by the steady clock, at most an hour ahead.
    pub(crate) fn instant_of(&self, time: Timestamp) -> Instant {
        Instant::now() + time.since(self.now()).min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// Reads every 3 s a clock that is `offset` ms off, for `time`.
    async fn read_for(clock: &QueueClock, began: Instant, time: Duration, offset: i64) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            advance(Duration::from_secs(3)).await;
            let real = START.plus(began.elapsed()).as_millis();
            clock.set(Timestamp::from_millis(real + offset));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_forwards_that_passes_is_hardly_followed() {
        let (clock, began) = (QueueClock::new(START), Instant::now());
        read_for(&clock, began, Duration::from_secs(60), 5 * 3_600_000).await;
        let ahead = clock.now().since(START.plus(began.elapsed()));
        assert!(ahead <= Duration::from_secs(61), "{ahead:?}");
        read_for(&clock, began, Duration::from_secs(200), 0).await;
        let real = START.plus(began.elapsed());
        assert_eq!(
            (clock.now().since(real), real.since(clock.now())),
            <(Duration, Duration)>::default()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_forwards_that_stays_is_caught_up_with_at_twice_the_speed() {
        let (clock, began) = (QueueClock::new(START), Instant::now());
        read_for(&clock, began, HOUR, 2 * 3_600_000).await;
        let passed = clock.now().since(START).as_secs() / 60;
        assert!((119..=120).contains(&passed), "{passed} min in an hour");
        read_for(&clock, began, HOUR, 2 * 3_600_000).await;
        assert_eq!(clock.now().since(START).as_secs() / 60, 240, "it has caught up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_backwards_slows_it_to_half_and_never_stops_it() {
        let (clock, began) = (QueueClock::new(START), Instant::now());
        let mut last = clock.now();
        for _ in 0..10 {
            read_for(&clock, began, Duration::from_secs(60), -5 * 3_600_000).await;
            let now = clock.now();
            assert!(now.since(last) >= Duration::from_secs(29), "{:?}", now.since(last));
            last = now;
        }
        let due = clock.now().plus(Duration::from_secs(300));
        read_for(&clock, began, Duration::from_secs(600), -5 * 3_600_000).await;
        assert!(clock.now() >= due, "a probe comes within twice its time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_jump_is_followed_at_once() {
        let clock = QueueClock::new(START);
        clock.set(START.plus(Duration::from_secs(20)));
        assert_eq!(clock.now(), START.plus(Duration::from_secs(20)));
        clock.set(START);
        assert_eq!(clock.now(), START);
    }
}
