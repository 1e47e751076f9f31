//! Reads the chunks of all partitions that this process owns, and hands each to its tenure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use millrace_domain::{Partition, Timestamp};
use millrace_queue::Entry;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{context::Context, ownership::Tenures, tenure::Tenure};

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
    let mut pause = Duration::ZERO;
    loop {
        let mut changed = std::pin::pin!(tenures.changed());
        let serving = tenures.serving();
        let wanted: Vec<_> = serving
            .iter()
            .filter(|(_, tenure)| tenure.has_room())
            .map(|(partition, tenure)| (*partition, tenure.cursor.next()))
            .collect();
        if wanted.is_empty() {
            // Waiting changes nothing.
            tokio::select! { () = &mut changed => {}, () = cx.more_to_read.notified() => {} }
            continue;
        }
        // Not longer than these are served: a tenure that was given up holds what it had open until it is let go here.
        tokio::select! { () = cx.unsettled.room() => {}, () = &mut changed => continue }
        // A change of partitions cuts the read off, so that a new one is read at once; nothing is lost by it.
        let read = tokio::select! {
            read = cx.queue.read(&wanted, READ_WAIT) => read,
            () = &mut changed => continue,
            () = cx.more_to_read.notified() => continue,
        };
        match read {
            Ok(entries) => {
                pause = Duration::ZERO;
                measure_lag(cx, &entries);
                hand_over(entries, &serving);
            }
            Err(error) => {
                if pause.is_zero() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot read the queue, will try again"
                    );
                }
                // What comes back may be another server, with less than this one had.
                serving.values().for_each(|tenure| tenure.cursor.rewind());
                pause = (pause * 2).clamp(Duration::from_millis(50), PAUSE_MAX);
                sleep(pause).await;
            }
        }
    }
}

/// Tells how long what was read had waited.
fn measure_lag(cx: &Context, entries: &[(Partition, Entry)]) {
    let now = cx.clock.now();
    entries.iter().for_each(|(_, entry)| crate::metrics::read(now.since(entry.id.accepted())));
    let lag = lag_of(entries, now);
    metrics::gauge!("millrace_read_lag_seconds").set(lag.as_secs_f64());
}

/// How long the oldest of what was read had waited: more deliverers help while it is high.
fn lag_of(entries: &[(Partition, Entry)], now: Timestamp) -> Duration {
    let oldest = entries.iter().map(|(_, entry)| entry.id.accepted()).min();
    oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
}

/// Gives each tenure its entries in order, as many as it takes.
fn hand_over(entries: Vec<(Partition, Entry)>, serving: &HashMap<Partition, Arc<Tenure>>) {
    let mut refused = HashSet::new();
    for (partition, entry) in entries {
        let Some(tenure) = serving.get(&partition) else { continue };
        if !refused.contains(&partition) && !tenure.accept(entry) {
            refused.insert(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_queue::EntryId;

    use super::*;

    #[test]
    fn the_lag_is_the_age_of_the_oldest_that_was_read() {
        let entry = |ms| (Partition(1), Entry { id: EntryId { ms, seq: 0 }, chunk: Bytes::new() });
        let now = Timestamp::from_millis(10_000);
        assert_eq!(
            lag_of(&[entry(9_000), entry(4_000), entry(9_500)], now),
            Duration::from_secs(6)
        );
        assert_eq!(lag_of(&[], now), Duration::ZERO, "nothing waits");
        assert_eq!(lag_of(&[entry(11_000)], now), Duration::ZERO, "the queue's clock is ahead");
    }
}
