//! Appending what was not appended before.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use millrace_domain::{AccountSid, Mark, Partition};
use millrace_proto::internal::{Chunk, ChunkEvent};

use super::{
    Fixture, Store,
    given::{HOME, LONG, standing, until},
};
use crate::{
    Queue,
    chunk::{MarkedChunk, encode_marked},
};

/// Runs the cases about marks.
pub async fn marks(fixture: &dyn Fixture) {
    what_was_appended_is_left_out_and_told(&*fixture.fresh().await.open().await).await;
    of_one_mark_the_first_counts(&*fixture.fresh().await.open().await).await;
    marks_are_of_a_partition(&*fixture.fresh().await.open().await).await;
    a_mark_is_forgotten_after_its_time(&*fixture.fresh().await.open().await).await;
    concurrent_appends_of_one_event_append_it_once(fixture.fresh().await.open().await).await;
    a_mark_outlives_its_process_as_the_event_does(&*fixture.fresh().await).await;
}

fn chunk(ids: &[&str]) -> MarkedChunk {
    let event = |id: &&str| ChunkEvent { id: (*id).to_owned(), ..ChunkEvent::default() };
    let marks: Vec<_> = ids.iter().map(|id| Mark::of(AccountSid::from_u128(1), id)).collect();
    let chunk = Chunk { config_seq: 7, events: ids.iter().map(event).collect() };
    encode_marked(&chunk, &marks)
}

async fn append(queue: &dyn Queue, ids: &[&str]) -> Vec<usize> {
    queue.append_new(HOME, chunk(ids), LONG).await.expect("append")
}

/// The ids that stand in a partition, chunk by chunk.
async fn ids(queue: &dyn Queue, partition: Partition) -> Vec<Vec<String>> {
    let read = |bytes: bytes::Bytes| {
        let chunk: Chunk = prost::Message::decode(bytes).expect("a chunk");
        assert_eq!(chunk.config_seq, 7);
        chunk.events.into_iter().map(|event| event.id).collect()
    };
    standing(queue, partition).await.into_iter().map(|entry| read(entry.chunk)).collect()
}

async fn what_was_appended_is_left_out_and_told(queue: &dyn Queue) {
    assert_eq!(append(queue, &["a", "b", "c"]).await, [0_usize; 0]);
    assert_eq!(append(queue, &["d", "b", "e", "a"]).await, [1, 3]);
    assert_eq!(append(queue, &["c", "d"]).await, [0, 1], "a repeat of it all");
    assert_eq!(append(queue, &[]).await, [0_usize; 0]);
    assert_eq!(ids(queue, HOME).await, [vec!["a", "b", "c"], vec!["d", "e"]]);
}

async fn of_one_mark_the_first_counts(queue: &dyn Queue) {
    assert_eq!(append(queue, &["a", "b", "a", "a"]).await, [2, 3]);
    assert_eq!(ids(queue, HOME).await, [["a", "b"]]);
}

async fn marks_are_of_a_partition(queue: &dyn Queue) {
    for partition in [HOME, Partition(0)] {
        let seen = queue.append_new(partition, chunk(&["a"]), LONG).await.expect("append");
        assert_eq!(seen, [0_usize; 0]);
        assert_eq!(ids(queue, partition).await, [["a"]]);
    }
}

async fn a_mark_is_forgotten_after_its_time(queue: &dyn Queue) {
    let keep = Duration::from_millis(200);
    queue.append_new(HOME, chunk(&["a"]), keep).await.expect("append");
    assert_eq!(append(queue, &["b", "a"]).await, [1]);
    until("the mark is forgotten", || async {
        queue.append_new(HOME, chunk(&["a"]), LONG).await.expect("append").is_empty()
    })
    .await;
    assert_eq!(append(queue, &["a"]).await, [0], "and set again");
}

async fn concurrent_appends_of_one_event_append_it_once(queue: Arc<dyn Queue>) {
    let appends = (0..50).map(|n: usize| {
        let queue = Arc::clone(&queue);
        async move { append(&*queue, &["all", &format!("own-{}", n % 25)]).await.len() }
    });
    let seen: usize = join_all(appends).await.into_iter().sum();
    let found = ids(&*queue, HOME).await.concat();
    assert_eq!(found.len(), 26, "{found:?}");
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), 26, "each once");
    assert_eq!(seen, 100 - 26, "and the others are told so");
}

async fn a_mark_outlives_its_process_as_the_event_does(store: &dyn Store) {
    if store.is_durable() {
        append(&*store.open().await, &["a"]).await;
        let queue = store.open().await;
        assert_eq!(append(&*queue, &["a", "b"]).await, [0]);
        assert_eq!(ids(&*queue, HOME).await, [["a"], ["b"]]);
    }
}
