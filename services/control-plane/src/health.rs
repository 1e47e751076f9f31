//! Whether the database answers, for readiness.

use std::{sync::Arc, time::Duration};

use millrace_runtime::{CancellationToken, Readiness};
use millrace_store::ResourceStore;
use tokio::time::{sleep, timeout};

/// How often the database is asked.
const PERIOD: Duration = Duration::from_secs(2);
/// Longest wait for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sets the condition `database` by whether the store answers, for ever.
pub(crate) async fn keep_probing(
    store: Arc<dyn ResourceStore>,
    readiness: Readiness,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let mut answered = None;
    let probe = async {
        loop {
            let answers = matches!(timeout(PATIENCE, store.version()).await, Ok(Ok(_)));
            readiness.set("database", answers);
            match answered.replace(answers) {
                Some(true) if !answers => tracing::warn!("the database does not answer"),
                Some(false) if answers => tracing::info!("the database answers again"),
                _ => {}
            }
            sleep(PERIOD).await;
        }
    };
    // Cancelling is safe: the probe changes nothing.
    stopping.run_until_cancelled(probe).await;
    Ok(())
}
