//! The life of a process: bind, serve, wait for the end, end in order.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tokio::net::TcpListener;

use crate::{
    Readiness, Tasks, server, signal,
    tasks::{Failure, Failures},
};

/// A process while it runs: its tasks, and whether it is ready. A service is built on it by spawning tasks and adding servers.
#[derive(Debug)]
pub struct Process {
    /// Where tasks are spawned.
    pub tasks: Tasks,
    /// What must hold for the process to get work.
    pub readiness: Readiness,
    failures: Failures,
}

impl Default for Process {
    fn default() -> Self {
        let (tasks, failures) = Tasks::new();
        Self { tasks, readiness: Readiness::default(), failures }
    }
}

impl Process {
    /// Serves `routes` on `listener` and gives its address.
    ///
    /// # Errors
    /// A listener without an address.
    pub fn serve(
        &self,
        name: &str,
        listener: TcpListener,
        routes: Router,
    ) -> anyhow::Result<SocketAddr> {
        let address = listener.local_addr()?;
        self.tasks
            .spawn(format!("serve-{name}"), |stopping| server::serve(listener, routes, stopping));
        tracing::info!(%address, "listens for {name}");
        Ok(address)
    }

    /// Runs until SIGTERM or SIGINT or until a task fails; then tells all tasks to stop and waits for them, at most `grace`.
    ///
    /// # Errors
    /// The failure of the task that ended the process; tasks that did not end in time.
    pub async fn run(mut self, grace: Duration) -> anyhow::Result<()> {
        // Cancelling either arm loses nothing: the process is ending.
        let failed = tokio::select! {
            signal = signal::stop_requested() => {
                tracing::info!(signal = signal?, "stops: finishes what is open");
                None
            }
            failure = self.failures.recv() => failure,
        };
        self.readiness.set("running", false);
        let stopped = self.tasks.stop(grace).await;
        if let Some(Failure { task, error }) = failed {
            return Err(error.context(format!("task `{task}` failed")));
        }
        stopped.map_err(|_| anyhow::anyhow!("some tasks did not end within {grace:?}"))
    }
}
