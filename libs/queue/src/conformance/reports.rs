//! Reports: each in one consumer's hands until it is acknowledged.

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use millrace_domain::Partition;
use millrace_proto::internal::DropReports;
use prost::Message;

use super::{
    ATTEMPTS_MAX, Fixture, Store,
    given::{HOME, LONG, all, attempt, drop_of, token},
};
use crate::{EntryId, Queue, Report, ReportKind, Settlement};

/// Runs the cases about reports.
pub async fn reports(fixture: &dyn Fixture) {
    a_report_is_in_one_hand_until_acknowledged(&*fixture.fresh().await.open().await).await;
    consumers_share_without_overlap(fixture.fresh().await.open().await).await;
    limits_hold_over_partitions_and_order_within(&*fixture.fresh().await.open().await).await;
    attempts_are_bounded_and_drops_are_not(fixture.fresh().await.open().await).await;
    a_consumer_that_starts_again_gets_what_it_had(&*fixture.fresh().await).await;
}

/// Reports `count` drops in each of `partitions`, named by partition and number.
async fn report_drops(queue: &dyn Queue, partitions: &[Partition], count: usize) {
    let owner = token();
    queue.acquire(partitions, owner, LONG).await.expect("acquire");
    for partition in partitions {
        for n in 0..count {
            let drops = drop_of(format!("{}-{n}", partition.0));
            let settlement = Settlement { drops, ..Settlement::default() };
            queue.settle(*partition, owner, &settlement).await.expect("settle");
        }
    }
    queue.release(partitions, owner).await.expect("release");
}

async fn take(queue: &dyn Queue, consumer: &str, limit: usize) -> Vec<Report> {
    queue.reports(ReportKind::Drops, consumer, limit).await.expect("reports")
}

async fn acknowledge(queue: &dyn Queue, reports: &[Report]) {
    let ids: Vec<_> = reports.iter().map(|report| (report.partition, report.id)).collect();
    queue.acknowledge(ReportKind::Drops, &ids).await.expect("acknowledge");
}

fn places(reports: &[Report]) -> HashSet<(Partition, EntryId)> {
    reports.iter().map(|report| (report.partition, report.id)).collect()
}

async fn a_report_is_in_one_hand_until_acknowledged(queue: &dyn Queue) {
    assert!(take(queue, "a", 10).await.is_empty());
    report_drops(queue, &[HOME], 2).await;
    let mine = take(queue, "a", 10).await;
    let drops = DropReports::decode(mine[1].body.clone()).expect("a report");
    assert_eq!((mine.len(), mine[0].partition, drops), (2, HOME, drop_of("1-1")));
    assert!(take(queue, "b", 10).await.is_empty(), "another has them in hand");
    assert!(take(queue, "a", 10).await.is_empty(), "it has them already");
    for _ in 0..2 {
        acknowledge(queue, &mine).await;
    }
    acknowledge(queue, &[]).await;
    assert!(take(queue, "b", 10).await.is_empty());
    assert!(queue.reports(ReportKind::Attempts, "a", 10).await.expect("reports").is_empty());
    report_drops(queue, &[HOME], 1).await;
    assert_eq!(take(queue, "b", 10).await.len(), 1);
}

async fn consumers_share_without_overlap(queue: Arc<dyn Queue>) {
    report_drops(&*queue, &all(), 20).await;
    let consume = |name: String| {
        let queue = Arc::clone(&queue);
        async move {
            let mut mine = Vec::new();
            loop {
                let found = take(&*queue, &name, 7).await;
                if found.is_empty() {
                    return mine;
                }
                acknowledge(&*queue, &found).await;
                mine.extend(found);
            }
        }
    };
    let shares = join_all((0..4).map(|n| consume(format!("consumer-{n}")))).await;
    let count: usize = shares.iter().map(Vec::len).sum();
    let distinct: HashSet<_> = shares.iter().flat_map(|share| places(share)).collect();
    assert_eq!((count, distinct.len()), (80, 80));
}

async fn limits_hold_over_partitions_and_order_within(queue: &dyn Queue) {
    report_drops(queue, &all(), 10).await;
    let mut seen: Vec<Report> = Vec::new();
    for limit in [1, 3, 4, 9, 100] {
        let found = take(queue, "a", limit).await;
        assert_eq!(found.len(), limit.min(40 - seen.len()), "there was more");
        seen.extend(found);
    }
    for partition in all() {
        let ids: Vec<_> = seen.iter().filter(|r| r.partition == partition).map(|r| r.id).collect();
        assert_eq!(ids.len(), 10);
        assert!(ids.is_sorted_by(|a, b| a < b), "oldest first: {ids:?}");
    }
}

async fn attempts_are_bounded_and_drops_are_not(queue: Arc<dyn Queue>) {
    let owner = token();
    queue.acquire(&[HOME], owner, LONG).await.expect("acquire");
    for _ in 0..10 {
        let settles = (0..60).map(|n| {
            let (attempts, drops) = (attempt(n.to_string()), drop_of(n.to_string()));
            let settlement = Settlement { attempts, drops, ..Settlement::default() };
            let queue = &queue;
            async move { queue.settle(HOME, owner, &settlement).await }
        });
        assert!(join_all(settles).await.iter().all(Result::is_ok));
    }
    let attempts = queue.reports(ReportKind::Attempts, "a", 1_000).await.expect("reports");
    let most = ATTEMPTS_MAX * 3;
    assert!((ATTEMPTS_MAX..=most).contains(&(attempts.len() as u64)), "{}", attempts.len());
    assert_eq!(take(&*queue, "a", 1_000).await.len(), 600);
}

async fn a_consumer_that_starts_again_gets_what_it_had(store: &dyn Store) {
    if !store.is_durable() {
        return;
    }
    let queue = store.open().await;
    report_drops(&*queue, &all(), 3).await;
    let had = take(&*queue, "a", 5).await;
    acknowledge(&*queue, &had[..1]).await;
    drop(queue);
    let queue = store.open().await;
    let mut again = Vec::new();
    loop {
        let found = take(&*queue, "a", 2).await;
        if found.is_empty() {
            break;
        }
        again.extend(found);
    }
    assert_eq!(again.len(), 11, "all but what was acknowledged, once");
    assert!(places(&again).is_superset(&places(&had[1..])));
}
