//! What only the embedded queue promises: about its file, its ids, its one writer.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::Partition;
use millrace_queue::{EntryId, Error, Ownership, Queue, SqliteOptions, SqliteQueue, Token};
use uuid::Uuid;

const HOME: Partition = Partition(1);

fn options(directory: &tempfile::TempDir) -> SqliteOptions {
    let path: PathBuf = directory.path().join("queue.db");
    SqliteOptions { path: Some(path), partitions: 4, ..SqliteOptions::default() }
}

async fn open(directory: &tempfile::TempDir) -> SqliteQueue {
    SqliteQueue::open(options(directory)).await.expect("open")
}

#[tokio::test]
async fn what_was_appended_outlives_the_process_and_ids_go_on_after_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut last = EntryId::default();
    for life in 1..=3 {
        let queue = open(&directory).await;
        for _ in 0..10 {
            let id = queue.append(HOME, Bytes::from_static(b"a")).await.expect("append");
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        assert_eq!(queue.depth().await.expect("depth"), life * 10);
    }
}

#[tokio::test]
async fn opening_ends_every_lease_of_an_earlier_life() {
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let queue = open(&directory).await;
        let token = Token(Uuid::now_v7());
        let held = queue.acquire(&[HOME], token, Duration::from_secs(60)).await.expect("acquire");
        assert_eq!(held, [Ownership::Held]);
    }
}

#[tokio::test]
async fn a_file_of_another_p_or_of_no_queue_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(&directory).await);
    let other = SqliteQueue::open(SqliteOptions { partitions: 8, ..options(&directory) }).await;
    let Err(Error::Refused(why)) = other.map(drop) else { panic!("not refused") };
    assert_eq!(
        why,
        "the queue's file is set up with 4 partitions, this process with 8: set it to 4"
    );
    let path = directory.path().join("letter.txt");
    std::fs::write(&path, "Dear queue, ".repeat(1_000)).expect("write");
    let options = SqliteOptions { path: Some(path), ..SqliteOptions::default() };
    let none = SqliteQueue::open(options).await.map(drop);
    assert!(matches!(none, Err(Error::Corrupt { .. })), "{none:?}");
}

#[tokio::test]
async fn ephemeral_queues_are_each_alone() {
    let one = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
    let two = SqliteQueue::open(SqliteOptions::default()).await.expect("open");
    one.append(HOME, Bytes::from_static(b"a")).await.expect("append");
    assert_eq!(one.depth().await.expect("depth"), 1);
    assert_eq!(two.depth().await.expect("depth"), 0);
}

#[tokio::test]
async fn reads_and_writes_of_many_callers_go_on_beside_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let queue: Arc<dyn Queue> = Arc::new(open(&directory).await);
    let write = |n: u16| {
        let queue = Arc::clone(&queue);
        async move {
            for _ in 0..20 {
                let chunk = Bytes::from(vec![7; 2_000]);
                queue.append(Partition(n % 4), chunk).await.expect("append");
            }
        }
    };
    let read = async {
        let mut cursors: Vec<_> = (0..4).map(|p| (Partition(p), EntryId::default())).collect();
        let mut count = 0;
        while count < 64 * 20 {
            let found = queue.read(&cursors, Duration::from_secs(10)).await.expect("read");
            assert!(!found.is_empty(), "{count} came");
            count += found.len();
            for (partition, entry) in found {
                cursors[usize::from(partition.0)].1 = entry.id;
            }
        }
    };
    tokio::join!(join_all((0..64).map(write)), read);
}
