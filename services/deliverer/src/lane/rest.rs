//! How the backlog rests while fresh events come too.
//!
//! A backlog that goes on without a pause takes what the others leave of the processors, not only here but at Redis, the sink and the logs
//! too, and a fresh event, which passes all of them, then waits a little at each. So a sink's backlog rests for about as long as it is at work.
//! Half of the time is enough: nothing of it has to be accepted or routed any more.

use std::time::Duration;

use tokio::time::Instant;

/// What takes longer does so at the sink or on the way there: that keeps no processor of ours busy.
const NEAR: Duration = Duration::from_millis(4);
/// The shortest rest, as timers go by milliseconds: what is less is owed.
const SHORTEST: Duration = Duration::from_millis(1);

/// The rest of one lane's backlog.
#[derive(Debug, Default)]
pub(super) struct Rest {
    owed: Duration,
    until: Option<Instant>,
}

impl Rest {
    /// A request took so long, while others were `open`, which are at work during the rest.
    pub(super) fn worked(&mut self, took: Duration, open: usize) {
        let requests = u32::try_from(open).unwrap_or(u32::MAX).saturating_add(1);
        self.owed += took.min(NEAR) / requests;
        if self.owed >= SHORTEST {
            let until = Instant::now() + std::mem::take(&mut self.owed);
            self.until = self.until.max(Some(until));
        }
    }

    /// Until when it rests, if it does.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What share of the time requests of so long are open, one after the other.
    async fn share_at_work(took: Duration) -> f64 {
        let (mut rest, began) = (Rest::default(), Instant::now());
        for _ in 0..1_000 {
            tokio::time::advance(took).await;
            rest.worked(took, 0);
            if let Some(until) = rest.until() {
                tokio::time::advance(until - Instant::now()).await;
                assert_eq!(rest.until(), None);
            }
        }
        (took * 1_000).div_duration_f64(began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn near_by_half_of_the_time_is_worked() {
        for micros in [70, 700, 1_500, 4_000] {
            let share = share_at_work(Duration::from_micros(micros)).await;
            assert!((0.49..0.51).contains(&share), "{share} with {micros} µs a request");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_is_far_away_hardly_waits() {
        assert!(share_at_work(Duration::from_millis(80)).await > 0.95);
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_at_once_each_rests_its_part() {
        let mut rest = Rest::default();
        rest.worked(Duration::from_micros(1_500), 2);
        assert_eq!(rest.until(), None);
        rest.worked(Duration::from_micros(1_500), 2);
        let left = rest.until().expect("a rest").duration_since(Instant::now());
        assert!(left.abs_diff(SHORTEST) < Duration::from_micros(1), "{left:?}");
    }
}
