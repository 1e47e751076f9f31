//! Appending to `ready` and reading from it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::Partition;
use tokio::time::Instant;

use super::{
    Fixture, PARTITIONS,
    given::{HOME, SOON, all, append, owner, standing},
};
use crate::{EntryId, Queue, READ_LIMIT, Settlement};

/// Runs the cases about `ready`.
pub async fn ready(fixture: &dyn Fixture) {
    entries_stand_in_the_order_of_their_appends(&*fixture.fresh().await.open().await).await;
    what_still_stands_is_read_by_id(&*fixture.fresh().await.open().await).await;
    concurrent_appends_are_all_there_once(fixture.fresh().await.open().await).await;
    a_read_is_bounded_and_leaves_no_partition_out(&*fixture.fresh().await.open().await).await;
    a_waiting_read_wakes_when_something_comes(&*fixture.fresh().await.open().await).await;
    a_read_of_nothing_ends_when_its_wait_does(&*fixture.fresh().await.open().await).await;
    a_read_that_is_given_up_holds_up_nobody(&*fixture.fresh().await.open().await).await;
}

async fn entries_stand_in_the_order_of_their_appends(queue: &dyn Queue) {
    let before = queue.now().await.expect("now");
    let mut ids = Vec::new();
    for text in ["a", "b", "c"] {
        ids.push(append(queue, text).await);
    }
    let after = queue.now().await.expect("now");
    assert!(ids.is_sorted_by(|a, b| a < b), "ids ascend: {ids:?}");
    assert!(ids.iter().all(|id| (before..=after).contains(&id.accepted())), "by its clock");
    for _ in 0..2 {
        let found = standing(queue, HOME).await;
        assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        assert_eq!(found[1].chunk, "b", "reading changes nothing");
    }
    let rest = queue.read(&[(HOME, ids[0])], Duration::ZERO).await.expect("read");
    assert_eq!(rest.len(), 2, "a cursor is exclusive");
    assert_eq!(queue.depth().await.expect("depth"), 3);
    assert_eq!(standing(queue, Partition(0)).await.len(), 0, "other partitions have their own");
}

async fn what_still_stands_is_read_by_id(queue: &dyn Queue) {
    let token = owner(queue).await;
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d"] {
        ids.push(append(queue, text).await);
    }
    let settled = Settlement { entries: vec![ids[1]], ..Settlement::default() };
    queue.settle(HOME, token, &settled).await.expect("settle");
    let asked = [ids[3], ids[1], ids[0]];
    let found = queue.standing(HOME, &asked).await.expect("read");
    let found: Vec<_> = found.iter().map(|entry| (entry.id, &entry.chunk[..])).collect();
    assert_eq!(found, [(ids[0], &b"a"[..]), (ids[3], &b"d"[..])], "in order, what is left");
    assert!(queue.standing(HOME, &[]).await.expect("read").is_empty());
    assert!(queue.standing(Partition(0), &asked).await.expect("read").is_empty());
}

async fn concurrent_appends_are_all_there_once(queue: Arc<dyn Queue>) {
    let appends = (0..200_u8).map(|n| {
        let queue = Arc::clone(&queue);
        async move { queue.append(HOME, Bytes::from(vec![n; 300])).await.expect("append") }
    });
    let ids: HashSet<_> = join_all(appends).await.into_iter().collect();
    assert_eq!(ids.len(), 200, "each has its own id");
    let found = standing(&*queue, HOME).await;
    assert_eq!(found.iter().map(|entry| entry.id).collect::<HashSet<_>>(), ids);
    let chunks: HashSet<_> = found.iter().map(|entry| entry.chunk[0]).collect();
    assert_eq!(chunks.len(), 200, "each has its own chunk");
}

async fn a_read_is_bounded_and_leaves_no_partition_out(queue: &dyn Queue) {
    let busy = (0..400).map(|_| queue.append(Partition(0), Bytes::from_static(b"busy")));
    assert!(join_all(busy).await.iter().all(Result::is_ok));
    for partition in 1..PARTITIONS {
        queue.append(Partition(partition), Bytes::from_static(b"quiet")).await.expect("append");
    }
    let mut cursors: Vec<_> = all().into_iter().map(|p| (p, EntryId::default())).collect();
    let first = queue.read(&cursors, Duration::ZERO).await.expect("read");
    assert!(first.len() <= READ_LIMIT, "{} chunks", first.len());
    let partitions: HashSet<_> = first.iter().map(|(partition, _)| *partition).collect();
    assert_eq!(partitions.len(), usize::from(PARTITIONS), "a busy partition hides no other");
    let (mut count, mut found) = (0, first);
    while !found.is_empty() {
        count += found.len();
        for (partition, entry) in &found {
            let cursor = &mut cursors[usize::from(partition.0)].1;
            assert!(entry.id > *cursor, "in order within a partition");
            *cursor = entry.id;
        }
        found = queue.read(&cursors, Duration::ZERO).await.expect("read");
    }
    assert_eq!(count, 403);
}

async fn a_waiting_read_wakes_when_something_comes(queue: &dyn Queue) {
    let cursors: Vec<_> = all().into_iter().map(|p| (p, EntryId::default())).collect();
    let started = Instant::now();
    let append_later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        append(queue, "late").await
    };
    let (found, id) = tokio::join!(queue.read(&cursors, Duration::from_secs(30)), append_later);
    let found = found.expect("read");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.id), (HOME, id));
    assert!(started.elapsed() < SOON, "it woke after {:?}", started.elapsed());
}

async fn a_read_of_nothing_ends_when_its_wait_does(queue: &dyn Queue) {
    let wait = Duration::from_millis(80);
    for cursors in [vec![], vec![(HOME, EntryId::default())]] {
        let started = Instant::now();
        assert!(queue.read(&cursors, wait).await.expect("read").is_empty());
        assert!((wait..SOON).contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

async fn a_read_that_is_given_up_holds_up_nobody(queue: &dyn Queue) {
    let started = Instant::now();
    for _ in 0..3 {
        let cursors = [(HOME, EntryId::default())];
        let read = queue.read(&cursors, Duration::from_secs(60));
        tokio::time::timeout(Duration::from_millis(20), read).await.expect_err("nothing came");
        let found = queue.read(&cursors, Duration::from_millis(20)).await.expect("read");
        assert!(found.is_empty());
    }
    append(queue, "a").await;
    assert_eq!(standing(queue, HOME).await.len(), 1);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}
