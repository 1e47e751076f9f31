//! How fast a lane may send: requests at once, found out from how the sink does, and events a second, as the sink asks for.

use millrace_domain::{rate::Bucket, sink::SinkDelivery};
use tokio::time::{Duration, Instant};

use super::concurrency::Concurrency;

/// A sink with a rate limit and batches is sent about so many requests a second: events are gathered for fewer, fuller ones.
const BATCHES_PER_SECOND: usize = 4;

/// The pace of one lane.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) concurrency: Concurrency,
    /// The operator's bound of requests at once.
    per_sink: u32,
    began: Instant,
    limit: Option<(u32, Bucket)>,
}

impl Pace {
    pub(super) fn new(per_sink: u32) -> Self {
        let concurrency = Concurrency::new(per_sink);
        Self { concurrency, per_sink, began: Instant::now(), limit: None }
    }

    /// Follows what the sink asks for now.
    pub(super) fn follow(&mut self, asked: &SinkDelivery) {
        let most =
            asked.max_concurrency.map_or(self.per_sink, |most| most.get().min(self.per_sink));
        self.concurrency.set_max(most);
        let now = self.began.elapsed();
        self.limit = match (asked.rate_limit, self.limit.take()) {
            (None, _) => None,
            (Some(rate), None) => Some((rate.get(), Bucket::new(rate.get(), now))),
            (Some(rate), Some((before, mut bucket))) => {
                if rate.get() != before {
                    bucket.set_rate(rate.get(), now);
                }
                Some((rate.get(), bucket))
            }
        };
    }

    /// Tells whether the sink has a rate limit.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Requests at once, now.
    pub(super) fn requests(&self) -> usize {
        self.concurrency.limit()
    }

    /// Events that the rate allows now.
    pub(super) fn events(&mut self) -> usize {
        let now = self.began.elapsed();
        self.limit.as_mut().map_or(usize::MAX, |(_, bucket)| bucket.available(now))
    }

    /// How long to wait before a request that could have up to `events` events; zero: not at all.
    pub(super) fn wait(&mut self, events: usize) -> Duration {
        let now = self.began.elapsed();
        let Some((rate, bucket)) = &mut self.limit else { return Duration::ZERO };
        let rate = usize::try_from(*rate).unwrap_or(usize::MAX);
        bucket.wait(events.min(rate / BATCHES_PER_SECOND).max(1), now)
    }

    /// How long to wait before a request of exactly `events` events.
    pub(super) fn wait_for_all(&mut self, events: usize) -> Duration {
        let now = self.began.elapsed();
        self.limit.as_mut().map_or(Duration::ZERO, |(_, bucket)| bucket.wait(events, now))
    }

    /// Counts events that are sent.
    pub(super) fn sent(&mut self, events: usize) {
        let now = self.began.elapsed();
        if let Some((_, bucket)) = &mut self.limit {
            bucket.take(events, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn asked(rate: u32, concurrency: u32) -> SinkDelivery {
        SinkDelivery {
            rate_limit: NonZeroU32::new(rate),
            max_concurrency: NonZeroU32::new(concurrency),
            ..SinkDelivery::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn follows_what_the_sink_asks_for_and_forgets_what_it_takes_back() {
        let mut pace = Pace::new(64);
        pace.follow(&asked(8, 2));
        assert_eq!((pace.requests(), pace.events()), (2, 1));
        pace.sent(1);
        pace.follow(&asked(8, 2));
        assert_eq!(pace.events(), 0, "asking for the same again gives nothing");
        assert_eq!(pace.wait(1), Duration::from_millis(125));
        assert_eq!(pace.wait(100), Duration::from_millis(250), "gathers for fuller requests");
        pace.follow(&asked(0, 0));
        (0..10_000).for_each(|_| pace.concurrency.succeeded());
        assert_eq!((pace.requests(), pace.events()), (64, usize::MAX));
        pace.follow(&asked(0, 1_000));
        assert_eq!(pace.requests(), 64, "never more than the operator allows");
    }
}
