//! Work that holds a thread.

use tokio::{runtime::Handle, task::JoinError};

/// Runs `work` on a thread that it may hold; dropped or not, it goes on. That thread is started by one that runs tasks, whoever asks: a new
/// thread has the priority of who starts it, which may be low, and keeps it while it serves others.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    Handle::current().spawn(async { tokio::task::spawn_blocking(work).await }).await?
}
