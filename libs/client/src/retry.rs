//! When a call is made again: where the server says that it may pass, with longer and longer waits.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How often and after what waits a call is made again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Most calls in all. Default: 5.
    pub attempts: u32,
    /// The first wait at most; doubled each time. Default: 100 ms.
    pub base: Duration,
    /// The longest wait. Default: 5 s.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(100), cap: Duration::from_secs(5) }
    }
}

impl Retry {
    /// Makes a call, again and again while that may help. For calls that are safe to repeat.
    ///
    /// # Errors
    /// What the last call was answered.
    pub async fn run<T>(
        &self,
        mut call: impl AsyncFnMut() -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(status) if attempt < self.attempts && may_pass(&status) => {
                    sleep(self.wait(attempt, &status)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// What the server asks for, or a random part of a wait that doubles (full jitter).
    fn wait(&self, attempt: u32, status: &Status) -> Duration {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let longest =
            self.base.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.cap);
        asked.map_or_else(|| longest.mul_f64(fastrand::f64()), |asked| asked.min(self.cap))
    }
}

/// Whether the same call may be answered otherwise later. What is cancelled or too late may have been done: only what is safe to
/// repeat gets here.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::ResourceExhausted
    ) && !is_limit(status)
}

/// A limit of an account is reached until something is deleted, and no wait is given with it.
fn is_limit(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted && status.get_details_retry_info().is_none()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    async fn calls(answers: &[Status]) -> (u32, Result<(), Code>) {
        let mut calls = 0;
        let mut answers = answers.iter();
        let retry = Retry::default();
        let done = retry.run(async || {
            calls += 1;
            answers.next().map_or(Ok(()), |status| Err(status.clone()))
        });
        let done = done.await.map_err(|status| status.code());
        (calls, done)
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_nothing_else() {
        let away = Status::unavailable("away");
        assert_eq!(calls(&[away.clone(), away.clone()]).await, (3, Ok(())));
        let always = vec![away; 9];
        assert_eq!(calls(&always).await, (5, Err(Code::Unavailable)));
        for wrong in [Status::invalid_argument("no"), Status::resource_exhausted("100 sinks")] {
            assert_eq!(calls(std::slice::from_ref(&wrong)).await, (1, Err(wrong.code())));
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
        let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
        assert_eq!(calls(&[full]).await, (2, Ok(())));
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_heed_the_server() {
        let retry = Retry::default();
        for attempt in 1..70 {
            assert!(retry.wait(attempt, &Status::unavailable("")) <= retry.cap);
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Code::Unavailable, "", details);
        assert_eq!(retry.wait(1, &status), Duration::from_secs(3));
    }
}
