//! What is forgotten in time: tombstones of sinks, and what named requests were answered.

use std::{sync::Arc, time::Duration};

use millrace_domain::Timestamp;
use millrace_runtime::CancellationToken;
use millrace_store::{
    ResourceStore,
    audit::{Actor, acting_as},
};
use tokio::time::sleep;

use crate::random;

/// How long a tombstone is kept: the longest window, 7 days, and a day.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// How often it is looked for old ones.
const PERIOD: Duration = Duration::from_secs(3600);
/// The wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// Forgets tombstones that are old enough, for ever.
pub(crate) async fn keep_forgetting(
    store: Arc<dyn ResourceStore>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let forget = async {
        loop {
            let kept = i64::try_from(TOMBSTONES_KEPT.as_millis()).expect("8 days");
            let before = Timestamp::from_millis(random::now().as_millis() - kept);
            let forgetting = acting_as(Actor::Process("retention"), store.forget_sinks(before));
            if let Err(error) = store.forget_answers(random::now()).await {
                tracing::debug!(%error, "cannot forget answers, tries again");
            }
            let wait = match forgetting.await {
                Ok(0) => PERIOD,
                Ok(forgotten) => {
                    tracing::info!(forgotten, "old tombstones are forgotten");
                    PERIOD
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot forget tombstones, tries again");
                    RETRY
                }
            };
            sleep(wait).await;
        }
    };
    // Cancelling is safe: forgetting is one transaction, and the next process repeats it.
    stopping.run_until_cancelled(forget).await;
    Ok(())
}
