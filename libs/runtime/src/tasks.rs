//! Named tasks with one end: every task is spawned here, told to stop here, and waited for here.

use std::{future::Future, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A handle to spawn tasks and to stop them all. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    failures: mpsc::Sender<Failure>,
}

/// A task that ended with an error, or panicked: the process must stop.
#[derive(Debug)]
pub struct Failure {
    /// Name of the task.
    pub task: String,
    /// What went wrong.
    pub error: anyhow::Error,
}

/// Where the first failures of tasks arrive.
pub type Failures = mpsc::Receiver<Failure>;

impl Tasks {
    /// Makes a set of tasks, and the place where their failures arrive.
    pub fn new() -> (Self, Failures) {
        let (failures, received) = mpsc::channel(8);
        (
            Self { tracker: TaskTracker::new(), stopping: CancellationToken::new(), failures },
            received,
        )
    }

    /// Is cancelled when the process is to stop. A task finishes what it has begun, and returns.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Runs a task, which gets [`Self::stopping`]. One that returns an error or panics stops the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where tasks get their name and supervisor"
    )]
    pub fn spawn<F, T>(&self, name: impl Into<String>, task: F)
    where
        F: FnOnce(CancellationToken) -> T,
        T: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (name, failures) = (name.into(), self.failures.clone());
        let running = std::panic::AssertUnwindSafe(task(self.stopping())).catch_unwind();
        // Not an async block around it: that would take the task's memory twice.
        let supervised = running.map(move |ended| {
            let error = match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("panicked"),
            };
            // A full channel means that the process is stopping for an earlier failure.
            drop(failures.try_send(Failure { task: name, error }));
        });
        drop(tokio::spawn(self.tracker.track_future(supervised)));
    }

    /// Tells every task to stop, and waits for all of them, at most `grace`.
    ///
    /// # Errors
    /// [`Elapsed`] if some were still running; they end with the process.
    pub async fn stop(&self, grace: Duration) -> Result<(), Elapsed> {
        self.stopping.cancel();
        self.tracker.close();
        timeout(grace, self.tracker.wait()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_or_panics_is_reported_by_name() {
        let (tasks, mut failures) = Tasks::new();
        tasks.spawn("fails", |_| async { anyhow::bail!("no") });
        let failure = failures.recv().await.expect("a failure");
        assert_eq!((failure.task.as_str(), failure.error.to_string().as_str()), ("fails", "no"));
        tasks.spawn("panics", |_| async { panic!("on purpose") });
        assert_eq!(failures.recv().await.expect("a failure").task, "panics");
    }

    #[tokio::test]
    async fn stopping_waits_for_every_task() {
        let (tasks, _failures) = Tasks::new();
        let done = CancellationToken::new();
        let told = done.clone();
        tasks.spawn("finishes", |stopping| async move {
            stopping.cancelled().await;
            told.cancel();
            Ok(())
        });
        tasks.stop(Duration::from_secs(5)).await.expect("in time");
        assert!(done.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_given_up_after_the_grace_period() {
        let (tasks, _failures) = Tasks::new();
        tasks.spawn("hangs", |_| std::future::pending());
        assert!(tasks.stop(Duration::from_secs(5)).await.is_err());
    }
}
