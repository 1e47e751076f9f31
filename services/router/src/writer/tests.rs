//! What the writers promise, on a real queue that fails when told.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use millrace_domain::{AccountSid, SinkSid};
use millrace_proto::internal::Variant;
use millrace_queue::chunk::{account_bytes, sinks_bytes};
use millrace_testkit::eventually;

use super::*;
use crate::fixture::{Fickle, no_answer};

const HOME: Partition = Partition(0);
const KEEP: Duration = Duration::from_secs(60);

fn event(id: &str, bytes: usize) -> ChunkEvent {
    ChunkEvent {
        id: id.to_owned(),
        account: account_bytes(AccountSid::from_u128(1)),
        r#type: "com.example.paid".to_owned(),
        variants: vec![Variant {
            schema_version: 1,
            event: Bytes::from(vec![b'x'; bytes]),
            sinks: sinks_bytes([SinkSid::from_u128(1)]),
        }],
        ..ChunkEvent::default()
    }
}

fn parcel(events: Vec<ChunkEvent>, config_seq: u64) -> Parcel {
    let events = events.into_iter().map(|event| (event, None)).collect();
    Parcel { events, config_seq, charge: Charge::default() }
}

fn start(queue: Fickle) -> (Arc<Fickle>, Arc<Writers>, Tasks) {
    let (tasks, _failures) = Tasks::new();
    let queue = Arc::new(queue);
    let seam: Arc<dyn Queue> = Arc::clone(&queue) as _;
    (queue, Arc::new(Writers::start(&seam, 2, KEEP, &tasks)), tasks)
}

/// Hands a parcel over, and waits until it is written.
async fn write(writers: &Writers, partition: Partition, parcel: Parcel) -> Exceptions {
    writers.hand_over(partition, parcel).await.await.expect("an answer")
}

/// Writes one event in a task of its own, and waits until it waits for the writer.
#[expect(clippy::disallowed_methods, reason = "the task ends with the test")]
fn publish(
    writers: &Arc<Writers>,
    id: &str,
    config_seq: u64,
) -> tokio::task::JoinHandle<Exceptions> {
    let (writers, parcel) = (Arc::clone(writers), parcel(vec![event(id, 10)], config_seq));
    tokio::spawn(async move { write(&writers, HOME, parcel).await })
}

async fn tried(queue: &Fickle, times: usize) {
    eventually("the append is tried", || async {
        (queue.tried.load(Ordering::SeqCst) == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_comes_while_a_chunk_is_written_is_one_chunk() {
    let (queue, writers, _tasks) = start(Fickle::shut(2).await);
    let first = publish(&writers, "1", 4);
    tried(&queue, 1).await;
    let rest = [publish(&writers, "2", 9), publish(&writers, "3", 6)];
    eventually("both wait", || async {
        (writers.0[0].capacity() == WAITING_MAX - 2).then_some(())
    })
    .await;
    assert!(!first.is_finished(), "nothing is acknowledged before it is in the queue");
    queue.gate.add_permits(2);
    assert_eq!(first.await.expect("answered"), []);
    for later in rest {
        assert_eq!(later.await.expect("answered"), []);
    }
    assert_eq!(queue.ids().await, [vec!["1"], vec!["2", "3"]]);
    assert_eq!(queue.chunks().await[1].1.config_seq, 9, "the newest of the versions");
}

#[tokio::test]
async fn what_there_is_room_for_is_handed_over_at_once() {
    let (queue, writers, _tasks) = start(Fickle::open(1).await);
    let ids: Vec<_> = (0..WAITING_MAX).map(|n| n.to_string()).collect();
    let mut answers = Vec::new();
    for id in &ids {
        // Without a turn for others in between, which they might take to hand over before.
        let handed = writers.hand_over(HOME, parcel(vec![event(id, 10)], 1)).now_or_never();
        answers.push(handed.expect("there is room"));
    }
    for answer in answers {
        assert_eq!(answer.await.expect("an answer"), []);
    }
    assert_eq!(queue.ids().await.concat(), ids);
}

#[tokio::test]
async fn a_chunk_is_bounded_by_events_and_by_bytes() {
    let (queue, writers, _tasks) = start(Fickle::open(2).await);
    let many = (0..2_500).map(|n| event(&n.to_string(), 10)).collect();
    assert_eq!(write(&writers, HOME, parcel(many, 1)).await, []);
    let sizes: Vec<usize> = queue.ids().await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);

    let large = (0..9).map(|n| event(&n.to_string(), 250 * 1024)).collect();
    assert_eq!(write(&writers, Partition(1), parcel(large, 1)).await, []);
    let mut sizes = Vec::new();
    for (partition, chunk) in queue.chunks().await {
        assert!(chunk.encoded_len() <= CHUNK_MAX_BYTES, "{partition:?} {}", chunk.encoded_len());
        if partition == Partition(1) {
            sizes.push(chunk.events.len());
        }
    }
    assert_eq!(sizes, [4, 4, 1]);
}

#[tokio::test]
async fn a_full_queue_refuses_its_chunk_alone() {
    let queue = Fickle::open(2).await.then([None, Some(Error::Full), None]);
    let (queue, writers, _tasks) = start(queue);
    let many = (0..2_001).map(|n| event(&n.to_string(), 10)).collect();
    let failures = write(&writers, HOME, parcel(many, 1)).await;
    let expected: Exceptions = (1_000..2_000).map(|index| (index, Unwritten::Full)).collect();
    assert_eq!(failures, expected);
    assert_eq!(queue.ids().await.concat().len(), 1_001);
}

#[tokio::test]
async fn a_queue_that_does_not_answer_is_not_asked_again_for_what_was_taken_with_it() {
    let (queue, writers, _tasks) = start(Fickle::open(2).await.then([Some(no_answer())]));
    let many = (0..1_500).map(|n| event(&n.to_string(), 10)).collect();
    let failures = write(&writers, HOME, parcel(many, 1)).await;
    assert_eq!(failures.len(), 1_500);
    assert!(failures.iter().all(|(_, failure)| *failure == Unwritten::Unavailable));
    assert_eq!(queue.tried.load(Ordering::SeqCst), 1, "and never twice the same");
    assert_eq!(publish(&writers, "later", 1).await.expect("answered"), []);
    assert_eq!(queue.ids().await, [vec!["later"]]);
}

#[tokio::test]
async fn what_was_handed_over_is_written_though_the_client_goes_and_the_process_stops() {
    let (queue, writers, tasks) = start(Fickle::shut(2).await);
    let first = publish(&writers, "1", 1);
    tried(&queue, 1).await;
    let second = publish(&writers, "2", 1);
    eventually("the second waits", || async {
        (writers.0[0].capacity() == WAITING_MAX - 1).then_some(())
    })
    .await;
    let gone = [first, second];
    gone.iter().for_each(tokio::task::JoinHandle::abort);
    for task in gone {
        assert!(task.await.is_err(), "its client is gone");
    }
    drop(writers);
    queue.gate.close();
    tasks.stop(Duration::from_secs(10)).await.expect("writers end once all is written");
    assert_eq!(queue.ids().await, [["1"], ["2"]]);
}
