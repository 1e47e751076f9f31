//! Reads the chunks of all partitions that this process owns, and hands each to its tenure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use millrace_domain::Partition;
use millrace_queue::EntryId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{context::Context, ownership::Tenures};

/// How long one read waits for something to come.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Longest pause after reads that failed.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Reads until `stopping`.
pub(crate) async fn run(cx: Arc<Context>, tenures: Arc<Tenures>, stopping: CancellationToken) {
    // Reading changes nothing: cut off anywhere, what was read stays in `ready`.
    stopping.run_until_cancelled(read_all(&cx, &tenures)).await;
}

async fn read_all(cx: &Context, tenures: &Tenures) {
    let mut cursors: HashMap<Partition, (millrace_queue::Token, EntryId)> = HashMap::new();
    let mut pause = Duration::ZERO;
    loop {
        let changed = tenures.changed();
        let serving = tenures.serving();
        cursors.retain(|partition, (token, _)| {
            serving.get(partition).is_some_and(|tenure| tenure.token == *token)
        });
        let wanted: Vec<_> = serving
            .iter()
            .map(|(partition, tenure)| {
                (
                    *partition,
                    cursors
                        .entry(*partition)
                        .or_insert_with(|| (tenure.token, EntryId::default()))
                        .1,
                )
            })
            .collect();
        if wanted.is_empty() {
            changed.await;
            continue;
        }
        cx.unsettled.room().await;
        // A change of partitions cuts the read off, so that a new one is read at once; nothing is lost by it.
        let read = tokio::select! {
            read = cx.queue.read(&wanted, READ_WAIT) => read,
            () = changed => continue,
        };
        match read {
            Ok(entries) => {
                pause = Duration::ZERO;
                for (partition, entry) in entries {
                    let (Some(tenure), Some((_, cursor))) =
                        (serving.get(&partition), cursors.get_mut(&partition))
                    else {
                        continue;
                    };
                    *cursor = entry.id;
                    tenure.accept(entry);
                }
            }
            Err(error) => {
                if pause.is_zero() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot read the queue, will try again"
                    );
                }
                pause = (pause * 2).clamp(Duration::from_millis(50), PAUSE_MAX);
                sleep(pause).await;
            }
        }
    }
}
