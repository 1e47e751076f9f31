//! Parked chunks and the state of backlogs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use millrace_domain::{Partition, Timestamp};
use millrace_proto::internal::BacklogState;

use super::{
    Fixture,
    given::{
        EVER, HOME, SOON, owner, park, parked, parked_texts, parking, sink, snapshot, state,
        unparking,
    },
};
use crate::{Class, Park, ParkedId, ParkedQuery, Queue, Settled, Settlement};

/// Runs the cases about what is parked.
pub async fn parks(fixture: &dyn Fixture) {
    parked_chunks_come_by_time_within_limits(&*fixture.fresh().await.open().await).await;
    a_repeated_park_is_the_same_park(&*fixture.fresh().await.open().await).await;
    what_is_unparked_is_gone(&*fixture.fresh().await.open().await).await;
    a_chunk_moves_between_sets_in_one_step(&*fixture.fresh().await.open().await).await;
    a_chunk_is_parked_again_in_one_step(&*fixture.fresh().await.open().await).await;
    an_expired_chunk_is_named_without_its_bytes(&*fixture.fresh().await.open().await).await;
    backlogs_hold_the_last_state_of_each_sink(&*fixture.fresh().await.open().await).await;
    a_sink_with_something_parked_stays_listed(&*fixture.fresh().await.open().await).await;
    large_chunks_and_thousands_of_sinks_are_parked(fixture.fresh().await.open().await).await;
}

async fn parked_chunks_come_by_time_within_limits(queue: &dyn Queue) {
    let owner = owner(queue).await;
    assert_eq!(queue.first_parked(HOME, sink(1), Class::Backlog).await.expect("first"), None);
    let of = |at: i64, text: &str| park(sink(1), Class::Backlog, at, text);
    let chunks = [of(30, "c"), of(10, "a"), of(20, "b"), of(40, "d")];
    let delayed = park(sink(1), Class::Delayed, 5, "delayed");
    let other = park(sink(2), Class::Backlog, 1, "other");
    let all = chunks.clone().into_iter().chain([delayed, other]);
    queue.settle(HOME, owner, &parking(all)).await.expect("park");
    assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["a", "b", "c", "d"]);
    assert_eq!(parked_texts(queue, sink(1), Class::Delayed).await, ["delayed"]);
    let first = queue.first_parked(HOME, sink(1), Class::Backlog).await.expect("first");
    assert_eq!(first, Some(Timestamp::from_millis(10)));
    let ask = |until: i64, limit, skip: Vec<ParkedId>| async move {
        let query = ParkedQuery { until: Timestamp::from_millis(until), limit, skip: &skip };
        let found = queue.parked(HOME, sink(1), Class::Backlog, query).await.expect("parked");
        found.into_iter().map(|chunk| chunk.at.as_millis()).collect::<Vec<_>>()
    };
    assert_eq!(ask(30, 10, vec![]).await, [10, 20, 30], "until is inclusive");
    assert_eq!(ask(9, 10, vec![]).await, [0; 0]);
    assert_eq!(ask(99, 2, vec![]).await, [10, 20]);
    let skip = vec![chunks[1].id, chunks[2].id];
    assert_eq!(ask(99, 1, skip.clone()).await, [30], "what is skipped takes no room");
    assert_eq!(ask(25, 10, skip).await, [0; 0]);
    let query = ParkedQuery { until: EVER, limit: 9, skip: &[] };
    let elsewhere = queue.parked(Partition(0), sink(1), Class::Backlog, query).await;
    assert!(elsewhere.expect("parked").is_empty());
}

async fn a_repeated_park_is_the_same_park(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let settlement = Settlement {
        backlogs: vec![(sink(1), Some(state(3)))],
        ..parking([park(sink(1), Class::Backlog, 7, "a")])
    };
    queue.settle(HOME, owner, &settlement).await.expect("park");
    let before = snapshot(queue, &[sink(1)]).await;
    let repeated = queue.settle(HOME, owner, &settlement).await.expect("repeat");
    assert_eq!(repeated, Settled::Done, "it consumes nothing");
    assert_eq!(snapshot(queue, &[sink(1)]).await, before);
}

async fn what_is_unparked_is_gone(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let (a, b) = (park(sink(1), Class::Backlog, 1, "a"), park(sink(1), Class::Backlog, 2, "b"));
    queue.settle(HOME, owner, &parking([a.clone(), b.clone()])).await.expect("park");
    let wrong_set = Park { class: Class::Delayed, ..a.clone() };
    let settled = queue.settle(HOME, owner, &unparking([&wrong_set])).await.expect("settle");
    assert_eq!(settled, Settled::Already);
    assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["a", "b"]);
    for expected in [Settled::Done, Settled::Already] {
        let settled = queue.settle(HOME, owner, &unparking([&a])).await.expect("settle");
        assert_eq!(settled, expected);
        assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["b"]);
    }
}

async fn a_chunk_moves_between_sets_in_one_step(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let due = park(sink(1), Class::Delayed, 1, "a");
    queue.settle(HOME, owner, &parking([due.clone()])).await.expect("park");
    let again = Park { class: Class::Backlog, at: Timestamp::from_millis(8), ..due.clone() };
    let moved = Settlement { parks: vec![again], ..unparking([&due]) };
    assert_eq!(queue.settle(HOME, owner, &moved).await.expect("move"), Settled::Done);
    assert_eq!(queue.settle(HOME, owner, &moved).await.expect("repeat"), Settled::Already);
    assert!(parked(queue, sink(1), Class::Delayed).await.is_empty());
    assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["a"]);
}

async fn a_chunk_is_parked_again_in_one_step(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let first = park(sink(1), Class::Backlog, 1, "a");
    queue.settle(HOME, owner, &parking([first.clone()])).await.expect("park");
    let later = Park { at: Timestamp::from_millis(8), ..first.clone() };
    let again = Settlement { parks: vec![later], ..unparking([&first]) };
    assert_eq!(queue.settle(HOME, owner, &again).await.expect("park again"), Settled::Done);
    assert_eq!(parked_texts(queue, sink(1), Class::Backlog).await, ["a"]);
    let at = queue.first_parked(HOME, sink(1), Class::Backlog).await.expect("first");
    assert_eq!(at, Some(Timestamp::from_millis(8)));
}

async fn an_expired_chunk_is_named_without_its_bytes(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let now = queue.now().await.expect("now").as_millis();
    let expiring = |hours: i64, text: &str| Park {
        expires: Timestamp::from_millis(now - hours * 3_600_000),
        ..park(sink(1), Class::Backlog, hours, text)
    };
    let (kept, gone, ancient) = (
        expiring(23, "its window closed, within the day"),
        expiring(25, "gone"),
        Park { expires: Timestamp::from_millis(i64::MIN), ..expiring(26, "ancient") },
    );
    let all = [kept.clone(), gone.clone(), ancient.clone()];
    queue.settle(HOME, owner, &parking(all.clone())).await.expect("park");
    let found = parked(queue, sink(1), Class::Backlog).await;
    let found: Vec<_> = found.into_iter().map(|chunk| (chunk.id, chunk.chunk)).collect();
    assert_eq!(found, [(kept.id, Some(kept.chunk.clone())), (gone.id, None), (ancient.id, None)]);
    let settled = queue.settle(HOME, owner, &unparking(&all)).await.expect("settle");
    assert_eq!(settled, Settled::Done, "what expired is there to be settled");
    assert!(parked(queue, sink(1), Class::Backlog).await.is_empty());
}

async fn backlogs_hold_the_last_state_of_each_sink(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let set = |backlogs| Settlement { backlogs, ..Settlement::default() };
    assert!(queue.backlogs(HOME).await.expect("backlogs").is_empty());
    let first = set(vec![
        (sink(1), Some(state(1))),
        (sink(2), Some(BacklogState::default())),
        (sink(3), Some(state(3))),
    ]);
    queue.settle(HOME, owner, &first).await.expect("settle");
    let second = set(vec![(sink(1), Some(state(5))), (sink(3), None), (sink(4), None)]);
    queue.settle(HOME, owner, &second).await.expect("settle");
    let found = snapshot(queue, &[]).await.backlogs;
    assert_eq!(found, [(sink(1), state(5)), (sink(2), BacklogState::default())]);
    assert!(queue.backlogs(Partition(0)).await.expect("backlogs").is_empty());
}

async fn a_sink_with_something_parked_stays_listed(queue: &dyn Queue) {
    let owner = owner(queue).await;
    let backlog = park(sink(1), Class::Backlog, 1, "a");
    let delayed = park(sink(1), Class::Delayed, 1, "b");
    let listed = |state| vec![(sink(1), state)];
    let parks = parking([backlog.clone(), delayed.clone()]);
    let settle = |settlement: Settlement| async move {
        queue.settle(HOME, owner, &settlement).await.expect("settle");
        queue.backlogs(HOME).await.expect("backlogs")
    };
    let unlisted = Settlement { backlogs: listed(None), ..parks };
    assert_eq!(settle(unlisted).await, [(sink(1), BacklogState::default())]);
    let stated = Settlement { backlogs: listed(Some(state(3))), ..Settlement::default() };
    assert_eq!(settle(stated).await, [(sink(1), state(3))]);
    let half = Settlement { backlogs: listed(None), ..unparking([&backlog]) };
    assert_eq!(settle(half).await, [(sink(1), state(3))], "one set is left");
    assert_eq!(settle(unparking([&delayed])).await, [], "named or not");
}

async fn large_chunks_and_thousands_of_sinks_are_parked(queue: Arc<dyn Queue>) {
    let owner = owner(&*queue).await;
    // What does not shrink: xorshift.
    let mut random = 88_172_645_463_325_252_u64;
    let noise: Bytes = (0..128 * 1024)
        .flat_map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()
        })
        .collect();
    let large = Park { chunk: noise.clone(), ..park(sink(1), Class::Backlog, 1, "") };
    queue.settle(HOME, owner, &parking([large])).await.expect("park");
    assert_eq!(parked(&*queue, sink(1), Class::Backlog).await[0].chunk, Some(noise));
    let started = tokio::time::Instant::now();
    let queue = &queue;
    let settle = |batch: u128| {
        let sinks = (0..500).map(|n| sink(1_000 + batch * 500 + n));
        let settlement = Settlement {
            backlogs: sinks.clone().map(|sink| (sink, Some(state(1)))).collect(),
            ..parking(sinks.map(|sink| park(sink, Class::Backlog, 1, "x")))
        };
        async move { queue.settle(HOME, owner, &settlement).await }
    };
    let settled = join_all((0..10).map(settle)).await;
    assert!(settled.into_iter().all(|settled| matches!(settled, Ok(Settled::Done))));
    assert_eq!(queue.backlogs(HOME).await.expect("backlogs").len(), 5_000);
    assert!(started.elapsed() < SOON + Duration::from_secs(5), "{:?}", started.elapsed());
}
