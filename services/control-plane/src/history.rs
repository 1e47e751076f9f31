//! What is forgotten of the past: changes that tell nothing of the last days, and entries of the audit log.

use std::{sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_runtime::CancellationToken;
use millrace_store::{ResourceStore, Result};
use tokio::time::sleep;

use crate::{explain::HISTORY_KEPT, random};

/// How long the audit log is kept.
const AUDIT_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often it is looked for what is old.
const PERIOD: Duration = Duration::from_secs(3600);
/// Rows that are removed at once: writers wait for each other no longer than that takes.
const BITE: u32 = 1_000;
/// The wait between two bites.
const PAUSE: Duration = Duration::from_millis(200);

/// Forgets what is old, for ever.
pub(crate) async fn keep_forgetting(
    store: Arc<dyn ResourceStore>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let forget = async {
        loop {
            if let Err(error) = forget(&*store, random::now()).await {
                tracing::debug!(%error, "cannot forget old changes, tries again");
            }
            sleep(PERIOD).await;
        }
    };
    // Cancelling is safe: a bite is one transaction, and the next process goes on.
    stopping.run_until_cancelled(forget).await;
    Ok(())
}

async fn forget(store: &dyn ResourceStore, now: Timestamp) -> Result<()> {
    let before = |kept: Duration| {
        Timestamp::from_millis(now.as_millis() - i64::try_from(kept.as_millis()).expect("days"))
    };
    let (mut changes, mut entries) = (0, 0);
    // A few seconds more than is promised: clocks differ.
    let slack = Duration::from_secs(60);
    while let bite @ 1.. = store.compact(before(HISTORY_KEPT + slack), BITE).await? {
        changes += bite;
        sleep(PAUSE).await;
    }
    while let bite @ 1.. = store.forget_audit(before(AUDIT_KEPT), BITE).await? {
        entries += bite;
        sleep(PAUSE).await;
    }
    if changes + entries > 0 {
        tracing::info!(changes, entries, "old changes and entries of the audit log are forgotten");
    }
    Ok(())
}
