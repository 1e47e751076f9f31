//! The queue of a stack on servers, looked at from outside.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_domain::Partition;
use millrace_proto::internal::DropReason;
use millrace_queue::{EntryId, Queue, RedisOptions, RedisQueue, chunk};

use crate::servers::{PARTITIONS, Servers};

impl Servers {
    /// How many partitions the queue has.
    pub fn partitions(&self) -> u16 {
        PARTITIONS
    }

    /// The name of a key of a partition in Redis, such as of its `ready`.
    pub fn key(&self, partition: u64, name: &str) -> String {
        format!("{{{}:{partition}}}:{name}", self.plan.prefix)
    }

    /// The queue itself.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn queue(&self) -> RedisQueue {
        let options = RedisOptions {
            url: self.plan.redis_url.clone(),
            prefix: self.plan.prefix.clone(),
            partitions: PARTITIONS,
            ..RedisOptions::default()
        };
        RedisQueue::connect(options).await.expect("Redis answers")
    }

    /// How many chunks stand in the queue, not settled.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn unsettled(&self) -> usize {
        let depth = self.queue().await.depth().await.expect("Redis answers");
        usize::try_from(depth).expect("few")
    }

    /// Ids of the events that stand in the queue, not settled: what a kill at this instant may repeat.
    ///
    /// # Panics
    /// If Redis does not answer, or a chunk is none.
    pub async fn unsettled_ids(&self) -> BTreeSet<String> {
        let queue = self.queue().await;
        let mut cursors: Vec<_> = partitions().map(|it| (it, EntryId::default())).collect();
        let mut ids = BTreeSet::new();
        loop {
            let entries = queue.read(&cursors, std::time::Duration::ZERO).await;
            let entries = entries.expect("Redis answers");
            if entries.is_empty() {
                return ids;
            }
            for (partition, entry) in entries {
                ids.extend(ids_of(entry.chunk));
                cursors[usize::from(partition.0)].1 = entry.id;
            }
        }
    }

    /// How many events are parked, over all sinks, as their owners count them.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn parked_events(&self) -> u64 {
        let (queue, mut events) = (self.queue().await, 0);
        for partition in partitions() {
            let backlogs = queue.backlogs(partition).await.expect("Redis answers");
            events += backlogs.iter().map(|(_, state)| state.events).sum::<u64>();
        }
        events
    }

    /// What is in quarantine: why, and the bytes.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn quarantined(&self) -> Vec<(String, Bytes)> {
        let (queue, mut found) = (self.queue().await, Vec::new());
        for partition in partitions() {
            for listed in queue.quarantined(partition).await.expect("Redis answers") {
                let chunk = queue.quarantined_chunk(partition, listed.place).await;
                let chunk = chunk.expect("Redis answers").expect("nobody takes it away");
                found.push((listed.reason, chunk));
            }
        }
        found
    }

    /// Ids of the events in the chunks in quarantine that can be read.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn quarantined_ids(&self) -> BTreeSet<String> {
        let chunks = self.quarantined().await;
        chunks.into_iter().flat_map(|(_, bytes)| ids_of(bytes)).collect()
    }

    /// The reports of dropped events that control-plane keeps, where accounts read them.
    ///
    /// # Panics
    /// If Postgres does not answer.
    pub async fn dropped(&self) -> Vec<Dropped> {
        let sql = "SELECT concat(reason, ' ', event_id) FROM dropped_events";
        let kept = self.database.texts(sql).await.expect("Postgres answers");
        kept.iter().map(|row| dropped(row)).collect()
    }
}

/// An event that was dropped with a report.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// Its id.
    pub event_id: String,
    /// Why.
    pub reason: DropReason,
}

fn dropped(row: &str) -> Dropped {
    let (reason, event_id) = row.split_once(' ').expect("two columns");
    let reason: i32 = reason.parse().expect("a number");
    let reason = DropReason::try_from(reason).expect("a reason");
    Dropped { event_id: event_id.to_owned(), reason }
}

fn partitions() -> impl Iterator<Item = Partition> {
    (0..PARTITIONS).map(Partition)
}

/// The events of a chunk; none of one that is poison.
fn ids_of(bytes: Bytes) -> Vec<String> {
    let events = chunk::decode(bytes).map(|chunk| chunk.events).unwrap_or_default();
    events.into_iter().map(|event| event.id).collect()
}
