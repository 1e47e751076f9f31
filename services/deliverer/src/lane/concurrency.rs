//! How many requests a sink takes at once: found out by additive increase and multiplicative decrease. At first, until the
//! first failure, it doubles with each round.

/// Requests at once that a lane starts with: few, for a sink that nothing is known of may hang on all of them.
const START: f64 = 4.0;

/// The limit of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Concurrency {
    limit: f64,
    max: f64,
    doubles: bool,
}

impl Concurrency {
    pub(super) fn new(max: u32) -> Self {
        let max = f64::from(max.max(1));
        Self { limit: START.min(max), max, doubles: true }
    }

    /// Changes the most that it may grow to.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = f64::from(max.max(1));
        self.limit = self.limit.min(self.max);
    }

    /// Requests at once, now.
    pub(super) fn limit(&self) -> usize {
        // Between 1 and a u32: the cast is exact.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by `max`, which is a u32"
        )]
        let limit = self.limit as usize;
        limit.max(1)
    }

    /// A request succeeded: about one more after each full round, or twice as many at first.
    pub(super) fn succeeded(&mut self) {
        let more = if self.doubles { 1.0 } else { 1.0 / self.limit.max(1.0) };
        self.limit = (self.limit + more).min(self.max);
    }

    /// A request failed for want of capacity.
    pub(super) fn failed(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
        self.doubles = false;
    }

    /// The sink comes back after its breaker was open.
    pub(super) fn restart(&mut self) {
        self.limit = 1.0;
        self.doubles = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_one_and_its_maximum() {
        let mut concurrency = Concurrency::new(64);
        (0..4).for_each(|_| concurrency.succeeded());
        assert_eq!(concurrency.limit(), 8, "a round doubles it");
        (0..10_000).for_each(|_| concurrency.succeeded());
        assert_eq!(concurrency.limit(), 64);
        (0..100).for_each(|_| concurrency.failed());
        assert_eq!(concurrency.limit(), 1);
        concurrency.restart();
        (0..10).for_each(|_| concurrency.succeeded());
        assert_eq!(concurrency.limit(), 4);
        assert_eq!(Concurrency::new(2).limit(), 2);
        concurrency.set_max(3);
        assert_eq!(concurrency.limit(), 3);
        concurrency.set_max(64);
        assert_eq!(concurrency.limit(), 3, "it grows by successes only");
    }
}
