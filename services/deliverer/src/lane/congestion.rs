//! How many requests the backlog may have open while fresh events come too.
//!
//! Requests that are more at once than a sink, or this machine, can work off only wait for each other, and fresh events wait
//! behind them. That shows in how long they take. So the backlog finds out, as TCP Vegas does, how many there may be: one more a
//! round while they take about as long as one alone, and fewer once they take twice as long. A sink that is far away is so
//! drained with many at once, one that is busy with few. Nor are there more than one thread of ours can keep up with: where what
//! a request takes is mostly our own work, as at a sink near by, more of them would leave no processor to the rest. Without fresh events nothing is held back, nor where a request takes so
//! long that it is not for us to be quick.

use std::time::Duration;

use tokio::time::Instant;

use super::rest::Rest;

/// For so long after a fresh event the backlog is held back: events that come more seldom are not a stream to be kept smooth.
const MINDFUL: Duration = Duration::from_secs(5);
/// The backlog of a sink that takes so long for a request is not held back: what it waits for is the sink, and to learn would take
/// as long as the drain.
const UNHURRIED: Duration = Duration::from_secs(1);
/// Requests that there may be of a sink that answers as slowly, before it is known whether it is the sink or their number.
const SLOW: f64 = 16.0;
/// How long one request takes alone is found out anew after so long, or after so many times as long as it takes: a sink may
/// have become slower. One is to be alone for that; then the limit is half of what it was, which is likely to be right still. (BBR,
/// which takes 10 s too, goes on with all of it; but this sink may have become slower, and fresh events wait behind what is open.)
const LEARNT_FOR: (Duration, u32) = (Duration::from_secs(10), 100);
/// Requests that take so many times as long as one alone wait for each other: the wait is then as long as the work.
const SLOWER: u32 = 2;
/// What is left of the limit after a request that waited for others.
const DECREASE: f64 = 0.9;

/// What is known of the requests of one lane's backlog.
#[derive(Debug)]
pub(super) struct Congestion {
    limit: f64,
    /// The limit when it was last begun to find out how long a request takes alone.
    before: f64,
    /// The limit doubles with each round, until the first request that waited for others.
    doubles: bool,
    fresh_at: Option<Instant>,
    /// How long the last request took, of the backlog or not.
    last: Duration,
    /// How long a request takes alone, and when that was found out.
    alone: Option<(Duration, Instant)>,
    /// No request was open when the last one was answered: the next begins alone.
    quiet: bool,
    rest: Rest,
    /// How long it takes us to make a request, about.
    making: Option<Duration>,
}

impl Congestion {
    pub(super) fn new() -> Self {
        Self {
            limit: 1.0,
            before: 1.0,
            doubles: true,
            fresh_at: None,
            last: Duration::ZERO,
            alone: None,
            quiet: true,
            rest: Rest::default(),
            making: None,
        }
    }

    /// Fresh events are sent.
    pub(super) fn saw_fresh(&mut self) {
        self.fresh_at = Some(Instant::now());
    }

    /// Tells whether there are fresh events to make way for.
    pub(super) fn is_mindful(&self) -> bool {
        self.fresh_at.is_some_and(|at| at.elapsed() < MINDFUL)
    }

    /// Requests of the backlog that there may be at once, of `most`.
    pub(super) fn limit(&self, most: usize) -> usize {
        let limit = match self.alone {
            Some((alone, _)) if alone >= UNHURRIED => return most,
            None if self.last >= UNHURRIED => SLOW,
            _ => self.limit,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never less than 1, and no more than requests there are"
        )]
        let limit = limit as usize;
        if self.is_mindful() { limit.min(most) } else { most }
    }

    /// Tells whether the backlog, with so many requests `open`, may have one more.
    pub(super) fn admits(&self, open: usize) -> bool {
        open < self.limit(usize::MAX) && self.rests_until().is_none()
    }

    /// Until when the backlog rests, where it is held back at all.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rest.until().filter(|_| self.limit(usize::MAX) < usize::MAX)
    }

    /// A request delivered events, of the backlog or not, in `took`.
    pub(super) fn heard(&mut self, took: Duration) {
        self.last = took;
    }

    /// A request of the backlog was made in `making`.
    pub(super) fn made(&mut self, making: Duration) {
        self.making = Some(self.making.map_or(making, |known| (known * 7 + making) / 8));
    }

    /// A request of the backlog took so long, whatever came of it, while others were `open`.
    pub(super) fn worked(&mut self, took: Duration, open: usize) {
        self.rest.worked(took, open);
    }

    /// A request of the backlog delivered events in `took`, while others were `open`, of `most` at once. What failed tells
    /// nothing: a refusal is quick.
    pub(super) fn answered(&mut self, took: Duration, open: usize, most: usize) {
        let was_alone = self.quiet && open == 0;
        self.quiet = open == 0;
        let (lasts, times) = LEARNT_FOR;
        let known = self.alone.filter(|(time, at)| at.elapsed() < lasts.max(*time * times));
        self.alone = match known {
            // One that was lucky, or not, does not stand for all.
            Some((time, at)) if was_alone => Some(((time * 3 + took) / 4, at)),
            Some(known) => Some(known),
            None => self.learn_anew(was_alone.then_some(took)),
        };
        let (Some(_), Some((alone, _))) = (known, self.alone) else { return };
        if took > alone * SLOWER {
            self.limit = (self.limit * DECREASE).max(1.0);
            self.doubles = false;
        } else {
            let more = if self.doubles { 1.0 } else { 1.0 / self.limit };
            self.limit =
                (self.limit + more).min(float(most).min(self.makes_within(alone))).max(1.0);
        }
    }

    /// Has one request be alone, or goes on from how long that took.
    fn learn_anew(&mut self, alone: Option<Duration>) -> Option<(Duration, Instant)> {
        if self.limit > 1.0 {
            self.before = self.limit;
        }
        (self.limit, self.doubles) = (1.0, true);
        let took = alone?;
        self.limit = (self.before / 2.0).min(self.makes_within(took)).max(1.0);
        self.before = 1.0;
        Some((took, Instant::now()))
    }

    /// Requests that one thread makes in the time that one takes.
    fn makes_within(&self, alone: Duration) -> f64 {
        match self.making {
            Some(making) if !making.is_zero() => alone.div_duration_f64(making),
            _ => f64::INFINITY,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests are far fewer than 2^52")]
fn float(requests: usize) -> f64 {
    requests as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests open at once after many rounds at a sink that works off `at_once` requests in `took`, and has others wait.
    async fn settled(congestion: &mut Congestion, at_once: u32, took: Duration) -> usize {
        let mut open = 0;
        for _ in 0..1_000 {
            open = round(congestion, at_once, took).await;
        }
        open
    }

    /// One round at such a sink; tells how many there were at once.
    async fn round(congestion: &mut Congestion, at_once: u32, took: Duration) -> usize {
        congestion.saw_fresh();
        let open = congestion.limit(64);
        let rounds = u32::try_from(open).expect("few").div_ceil(at_once);
        tokio::time::advance(took * rounds).await;
        for others in (0..open).rev() {
            congestion.heard(took * rounds);
            congestion.answered(took * rounds, others, 64);
        }
        open
    }

    #[tokio::test(start_paused = true)]
    async fn has_as_many_open_as_do_not_wait_for_each_other() {
        let mut congestion = Congestion::new();
        let busy = settled(&mut congestion, 2, Duration::from_millis(1)).await;
        assert!((2..=6).contains(&busy), "{busy} at a sink that takes two");
        let far = settled(&mut congestion, 1_000, Duration::from_millis(80)).await;
        assert_eq!(far, 64, "a sink that takes all there are is given all");
        let worse = settled(&mut congestion, 4, Duration::from_millis(300)).await;
        assert!((2..=12).contains(&worse), "{worse} at the same, when it takes four");
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_with_half_as_many_once_it_knows_anew_how_long_one_takes_alone() {
        let (mut congestion, took) = (Congestion::new(), Duration::from_millis(80));
        assert_eq!(settled(&mut congestion, 1_000, took).await, 64);
        tokio::time::advance(LEARNT_FOR.0).await;
        let mut rounds = Vec::new();
        for _ in 0..5 {
            rounds.push(round(&mut congestion, 1_000, took).await);
        }
        assert_eq!(rounds, [64, 1, 32, 64, 64]);
    }

    #[tokio::test(start_paused = true)]
    async fn has_no_more_open_than_one_thread_makes() {
        let mut congestion = Congestion::new();
        for _ in 0..100 {
            congestion.made(Duration::from_micros(600));
        }
        assert_eq!(settled(&mut congestion, 1_000, Duration::from_millis(1)).await, 1);
        assert_eq!(settled(&mut congestion, 1_000, Duration::from_millis(12)).await, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn holds_nothing_back_where_nothing_fresh_comes_or_the_sink_is_slow() {
        let mut congestion = Congestion::new();
        assert!(congestion.admits(1_000));
        congestion.saw_fresh();
        assert!(congestion.admits(0) && !congestion.admits(1));
        congestion.heard(UNHURRIED);
        assert!(
            congestion.admits(15) && !congestion.admits(16),
            "it may be slow, or have too many"
        );
        congestion.answered(UNHURRIED, 0, 64);
        assert!(congestion.admits(1_000), "a sink that is slow alone is waited for anyway");
        tokio::time::advance(UNHURRIED * 101).await;
        congestion.saw_fresh();
        congestion.answered(UNHURRIED, 1, 64);
        congestion.heard(Duration::from_millis(5));
        assert!(congestion.admits(0) && !congestion.admits(1));
        tokio::time::advance(MINDFUL).await;
        assert!(congestion.admits(1_000));
    }
    #[tokio::test(start_paused = true)]
    async fn rests_only_for_fresh_events_and_at_a_sink_that_is_not_slow() {
        let mut congestion = Congestion::new();
        let took = Duration::from_millis(2);
        congestion.worked(took, 0);
        assert!(congestion.admits(0), "nothing fresh comes");
        congestion.saw_fresh();
        assert!(!congestion.admits(0));
        assert_eq!(congestion.rests_until(), Some(Instant::now() + took));
        tokio::time::advance(took).await;
        assert!(congestion.admits(0));
        congestion.answered(UNHURRIED, 0, 64);
        congestion.worked(UNHURRIED, 0);
        assert!(congestion.admits(0), "what it waits for is the sink");
    }
}
