//! Settling: whole or not at all, once, and only by the owner.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::Partition;

use super::{
    Fixture,
    given::{
        HOME, LONG, append, attempt, drop_of, owner, park, parked_texts, parking, quarantined,
        settling, sink, snapshot, standing, state, token, unparking,
    },
};
use crate::{Class, EntryId, Error, Park, Place, Queue, ReportKind, Settled, Settlement, Token};

/// Runs the cases about settling.
pub async fn settlements(fixture: &dyn Fixture) {
    a_settlement_is_done_whole_and_its_repeat_changes_nothing(&*fixture.fresh().await.open().await)
        .await;
    a_stale_token_changes_nothing(&*fixture.fresh().await.open().await).await;
    what_is_partly_left_is_done_whole(&*fixture.fresh().await.open().await).await;
    one_of_concurrent_repeats_does_it(fixture.fresh().await.open().await).await;
    concurrent_settlements_are_all_done(fixture.fresh().await.open().await).await;
    quarantine_keeps_the_raw_bytes_and_the_reason(&*fixture.fresh().await.open().await).await;
    a_settlement_reaches_its_partition_only(&*fixture.fresh().await.open().await).await;
}

/// A settlement that has a bit of everything, and what it needs.
async fn everything(queue: &dyn Queue, owner: Token) -> (Settlement, Park, [EntryId; 2]) {
    let (done, bad) = (append(queue, "done").await, append(queue, "bad").await);
    append(queue, "stays").await;
    let drained = park(sink(1), Class::Backlog, 5, "drained");
    let first =
        Settlement { backlogs: vec![(sink(1), Some(state(1)))], ..parking([drained.clone()]) };
    queue.settle(HOME, owner, &first).await.expect("park");
    let settlement = Settlement {
        entries: vec![done],
        quarantined: vec![(Place::Ready(bad), "undecodable".into())],
        parks: vec![park(sink(2), Class::Delayed, 9, "waits")],
        backlogs: vec![(sink(1), None), (sink(2), Some(state(2)))],
        attempts: attempt("503"),
        drops: drop_of("EZ1"),
        ..unparking([&drained])
    };
    (settlement, drained, [done, bad])
}

async fn reports_found(queue: &dyn Queue) -> (usize, usize) {
    let attempts = queue.reports(ReportKind::Attempts, "c", 100).await.expect("reports");
    let drops = queue.reports(ReportKind::Drops, "c", 100).await.expect("reports");
    (attempts.len(), drops.len())
}

async fn a_settlement_is_done_whole_and_its_repeat_changes_nothing(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let (settlement, _, [_, bad]) = everything(queue, owner).await;
    let settled = queue.settle(HOME, owner, &settlement).await.expect("settle");
    assert_eq!(settled, Settled::Done);
    let after = snapshot(queue, &[sink(1), sink(2)]).await;
    assert_eq!(after.ready.iter().map(|(_, chunk)| chunk).collect::<Vec<_>>(), ["stays"]);
    assert_eq!(
        after.quarantined,
        [(Place::Ready(bad), "undecodable".into(), Bytes::from_static(b"bad"))]
    );
    assert_eq!(after.backlogs, [(sink(2), state(2))]);
    assert_eq!(after.parked.len(), 1, "{:?}", after.parked);
    let repeated = queue.settle(HOME, owner, &settlement).await.expect("repeat");
    assert_eq!(repeated, Settled::Already);
    assert_eq!(snapshot(queue, &[sink(1), sink(2)]).await, after);
    assert_eq!(reports_found(queue).await, (1, 1), "reported once");
}

async fn a_stale_token_changes_nothing(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let (settlement, ..) = everything(queue, owner).await;
    let before = snapshot(queue, &[sink(1), sink(2)]).await;
    let never_held = queue.settle(HOME, token(), &settlement).await;
    assert!(matches!(never_held, Err(Error::Stale)), "{never_held:?}");
    let unowned = queue.settle(Partition(2), owner, &settlement).await;
    assert!(matches!(unowned, Err(Error::Stale)), "{unowned:?}");
    queue.release(&[HOME], owner).await.expect("release");
    let released = queue.settle(HOME, owner, &settlement).await;
    assert!(matches!(released, Err(Error::Stale)), "{released:?}");
    assert_eq!(snapshot(queue, &[sink(1), sink(2)]).await, before);
    assert_eq!(reports_found(queue).await, (0, 0));
}

async fn what_is_partly_left_is_done_whole(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let (a, b) = (append(queue, "a").await, append(queue, "b").await);
    queue.settle(HOME, owner, &settling([a])).await.expect("settle");
    let both =
        Settlement { parks: vec![park(sink(1), Class::Backlog, 1, "b")], ..settling([a, b]) };
    assert_eq!(queue.settle(HOME, owner, &both).await.expect("settle"), Settled::Done);
    assert!(standing(queue, HOME).await.is_empty());
    assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["b"]);
    let nothing = Settlement::default();
    assert_eq!(queue.settle(HOME, owner, &nothing).await.expect("settle"), Settled::Done);
}

async fn one_of_concurrent_repeats_does_it(queue: Arc<dyn Queue>) {
    let owner = owner(&*queue).await;
    let id = append(&*queue, "a").await;
    let settlement = Settlement { drops: drop_of("EZ1"), ..settling([id]) };
    let settles = (0..20).map(|_| queue.settle(HOME, owner, &settlement));
    let settled: Vec<_> = join_all(settles).await.into_iter().map(|s| s.expect("settle")).collect();
    let done = settled.iter().filter(|settled| **settled == Settled::Done).count();
    assert_eq!(done, 1, "{settled:?}");
    assert_eq!(reports_found(&*queue).await, (0, 1));
}

async fn concurrent_settlements_are_all_done(queue: Arc<dyn Queue>) {
    let owner = owner(&*queue).await;
    let ids = join_all((0..100).map(|_| append(&*queue, "a"))).await;
    let settle = |(n, id): (usize, &EntryId)| {
        let parks = vec![park(sink(n as u128 % 7), Class::Backlog, 1, &n.to_string())];
        let settlement = Settlement { parks, ..settling([*id]) };
        let queue = Arc::clone(&queue);
        async move { queue.settle(HOME, owner, &settlement).await.expect("settle") }
    };
    let settled = join_all(ids.iter().enumerate().map(settle)).await;
    assert!(settled.iter().all(|settled| *settled == Settled::Done));
    assert_eq!(queue.depth().await.expect("depth"), 0);
    let mut texts = HashSet::new();
    for n in 0..7 {
        texts.extend(parked_texts(&*queue, sink(n), Class::Backlog).await);
    }
    assert_eq!(texts.len(), 100);
}

async fn quarantine_keeps_the_raw_bytes_and_the_reason(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let raw = Bytes::from((0..=255).collect::<Vec<u8>>());
    let id = queue.append(HOME, raw.clone()).await.expect("append");
    let settlement = Settlement {
        quarantined: vec![(Place::Ready(id), "nobody survives it".into())],
        ..Settlement::default()
    };
    for expected in [Settled::Done, Settled::Already] {
        let settled = queue.settle(HOME, owner, &settlement).await.expect("settle");
        assert_eq!(settled, expected);
        let found = quarantined(queue, HOME).await;
        assert_eq!(found, [(Place::Ready(id), "nobody survives it".into(), raw.clone())]);
        assert!(standing(queue, HOME).await.is_empty());
    }
    assert!(queue.quarantined(Partition(0)).await.expect("quarantined").is_empty());
}

async fn a_settlement_reaches_its_partition_only(queue: &dyn Queue) {
    let owner = owner(queue).await;
    queue.acquire(&[Partition(2)], owner, LONG).await.expect("acquire");
    let id = append(queue, "a").await;
    let parked = park(sink(1), Class::Backlog, 1, "p");
    queue.settle(HOME, owner, &parking([parked.clone()])).await.expect("park");
    let before = snapshot(queue, &[sink(1)]).await;
    let elsewhere = Settlement { entries: vec![id], ..unparking([&parked]) };
    let settled = queue.settle(Partition(2), owner, &elsewhere).await.expect("settle");
    assert_eq!(settled, Settled::Already, "it is not there");
    assert_eq!(snapshot(queue, &[sink(1)]).await, before);
}
