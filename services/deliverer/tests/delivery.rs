//! A deliverer on a real queue: what it does with chunks, sinks that fail, owners that change.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use millrace_proto::internal::DropReason;
use millrace_queue::{Class, ReportKind};
use millrace_testkit::{
    eventually::{eventually, eventually_eq},
    receiver::{Answer, Receiver},
};
use support::{
    ACCOUNT, AUTH_TOKEN, Deliverer, SIGNING_SECRET, dropped_in, drops, home, ids, park,
    parked_event, publish, queue, settings, sink, tombstone, until_all_is_settled, watch,
};

mod support;

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn delivers_every_event_once_signed_and_settles_its_chunk() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    for path in ["/one", "/batch"] {
        receiver.expect_signatures(path, AUTH_TOKEN, SIGNING_SECRET);
    }
    let watch =
        watch(vec![sink(1, &receiver.url("/one"), false), sink(2, &receiver.url("/batch"), true)]);
    let deliverer = Deliverer::start(&settings(), &queue, watch).await;
    let ids = ids("a", 100);
    publish(&queue, ids.clone(), &[1, 2]).await;
    receiver.until("both sinks have all", |r| r.accepted_ids_with_repeats().len() == 200).await;
    assert_eq!(receiver.accepted_ids(), set(&ids));
    assert_eq!(receiver.requests_to("/one").len(), 100);
    assert!(receiver.requests_to("/batch").len() < 20, "events are batched");
    assert_eq!(receiver.signature_failures(), Vec::<String>::new());
    until_all_is_settled(&queue).await;
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_full_while_it_has_as_much_waiting_as_it_may() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    receiver.answer("/", Answer::status(503));
    let mut settings = settings();
    settings.queue.account_backlog_bytes = Some(5_000);
    let watch = watch(vec![sink(1, &receiver.url("/"), false)]);
    let deliverer = Deliverer::start(&settings, &queue, watch).await;
    let full = || async { queue.full_accounts().await.expect("full accounts") };
    publish(&queue, ids("few", 3), &[1]).await;
    eventually("they wait", || async {
        (!queue.backlogs(home()).await.expect("backlogs").is_empty()).then_some(())
    })
    .await;
    assert!(full().await.is_empty());
    publish(&queue, ids("many", 200), &[1]).await;
    eventually_eq(vec![ACCOUNT], full).await;
    receiver.answer("/", Answer::ok());
    until_all_is_settled(&queue).await;
    eventually_eq(vec![], full).await;
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_what_failed_and_drops_what_was_refused() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    receiver.answers(
        "/flaky",
        [
            Answer::status(503),
            Answer::status(500),
            Answer::status(429).header("retry-after", "1"),
            Answer::ok(),
        ],
    );
    receiver.answers("/gone", [Answer::status(404)]);
    let watch = watch(vec![
        sink(1, &receiver.url("/flaky"), false),
        sink(2, &receiver.url("/gone"), false),
    ]);
    let deliverer = Deliverer::start(&settings(), &queue, watch).await;
    publish(&queue, ids("a", 3), &[1, 2]).await;
    receiver.until("the flaky sink has all", |r| r.accepted_ids().len() == 3).await;
    until_all_is_settled(&queue).await;
    assert_eq!(receiver.duplicates(), 0);
    let dropped = drops(&queue).await;
    assert_eq!(dropped.len(), 3);
    assert!(
        dropped
            .iter()
            .all(|drop| drop.reason() == DropReason::Rejected && drop.error_code == 91305)
    );
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_is_halved_to_its_culprit() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    // 8 events: the batch, its first half, its first quarter are refused, then the first event alone; all others pass.
    receiver.answers(
        "/",
        [
            Answer::status(400),
            Answer::status(400),
            Answer::ok(),
            Answer::status(400),
            Answer::ok(),
            Answer::status(400),
            Answer::ok(),
        ],
    );
    let mut settings = settings();
    settings.delivery.in_flight_per_sink = 1;
    let deliverer =
        Deliverer::start(&settings, &queue, watch(vec![sink(1, &receiver.url("/"), true)])).await;
    publish(&queue, ids("a", 8), &[1]).await;
    until_all_is_settled(&queue).await;
    let dropped = eventually("a drop", || async {
        Some(drops(&queue).await).filter(|drops| !drops.is_empty())
    })
    .await;
    assert_eq!(dropped.len(), 1, "only the culprit is dropped");
    assert_eq!(receiver.accepted_ids().len(), 7);
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_is_parked_while_others_get_their_events() {
    let (healthy, down, queue) = (Receiver::start().await, Receiver::start().await, queue().await);
    let destination = down.url("/");
    let address = down.stop().await;
    let deliverer = Deliverer::start(
        &settings(),
        &queue,
        watch(vec![sink(1, &destination, false), sink(2, &healthy.url("/"), false)]),
    )
    .await;
    let ids = ids("a", 500);
    for part in ids.chunks(50) {
        publish(&queue, part.to_vec(), &[1, 2]).await;
    }
    healthy.until("the healthy sink has all", |r| r.accepted() == 500).await;
    eventually_eq(0, || async { queue.depth().await.unwrap() }).await;
    let backlogs = queue.backlogs(home()).await.unwrap();
    assert_eq!(
        backlogs.iter().map(|(_, state)| state.events).sum::<u64>(),
        500,
        "all of the sink's events are parked"
    );
    let back = Receiver::start_at(address).await;
    back.until("the sink that came back has all", |r| r.accepted() == 500).await;
    until_all_is_settled(&queue).await;
    assert_eq!((back.accepted_ids(), back.duplicates()), (set(&ids), 0));
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_outlives_its_deliverer() {
    let (down, queue) = (Receiver::start().await, queue().await);
    let (destination, address) = (down.url("/"), down.stop().await);
    let resources = vec![sink(1, &destination, true)];
    let first = Deliverer::start(&settings(), &queue, watch(resources.clone())).await;
    publish(&queue, ids("a", 40), &[1]).await;
    eventually_eq((0, 1), || async {
        (queue.depth().await.unwrap(), queue.backlogs(home()).await.unwrap().len())
    })
    .await;
    first.stop().await;
    publish(&queue, ids("b", 40), &[1]).await;
    let back = Receiver::start_at(address).await;
    let second = Deliverer::start(&settings(), &queue, watch(resources)).await;
    back.until("everything arrived", |r| r.accepted() == 80).await;
    until_all_is_settled(&queue).await;
    assert_eq!(back.duplicates(), 0);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_open_and_repeats_nothing() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    receiver.answer("/", Answer::ok().after(Duration::from_millis(300)));
    let resources = vec![sink(1, &receiver.url("/"), false)];
    let ids = ids("a", 300);
    let first = Deliverer::start(&settings(), &queue, watch(resources.clone())).await;
    publish(&queue, ids.clone(), &[1]).await;
    receiver.until("some are on their way", |r| !r.requests().is_empty()).await;
    first.stop().await;
    assert_eq!(queue.depth().await.unwrap(), 0, "everything is settled");
    let second = Deliverer::start(&settings(), &queue, watch(resources)).await;
    receiver.until("everything arrived", |r| r.accepted() == 300).await;
    until_all_is_settled(&queue).await;
    assert_eq!((receiver.accepted_ids(), receiver.duplicates()), (set(&ids), 0));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deliverers_share_the_partitions_and_hand_them_over() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    let resources = vec![sink(1, &receiver.url("/"), false)];
    let first = Deliverer::start(&settings(), &queue, watch(resources.clone())).await;
    publish(&queue, ids("a", 50), &[1]).await;
    receiver.until("the first batch arrived", |r| r.accepted() == 50).await;
    let second = Deliverer::start(&settings(), &queue, watch(resources)).await;
    publish(&queue, ids("b", 50), &[1]).await;
    receiver.until("the second batch arrived", |r| r.accepted() == 100).await;
    first.stop().await;
    publish(&queue, ids("c", 50), &[1]).await;
    receiver.until("the third batch arrived", |r| r.accepted() == 150).await;
    until_all_is_settled(&queue).await;
    assert_eq!(receiver.duplicates(), 0);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_deleted_sink_are_dropped_and_of_an_unknown_one_kept() {
    let queue = queue().await;
    let mut settings = settings();
    settings.delivery.window = Duration::from_secs(3600);
    let deliverer = Deliverer::start(&settings, &queue, watch(vec![tombstone(1)])).await;
    publish(&queue, ids("a", 5), &[1, 2]).await;
    eventually_eq((0, vec![5]), || async {
        let backlogs = queue.backlogs(home()).await.unwrap();
        (queue.depth().await.unwrap(), backlogs.iter().map(|(_, state)| state.events).collect())
    })
    .await;
    let dropped = drops(&queue).await;
    assert_eq!(dropped.len(), 5);
    assert!(dropped.iter().all(|drop| drop.reason() == DropReason::SinkDeleted));
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_window_closes_is_dropped_with_a_report() {
    let (down, queue) = (Receiver::start().await, queue().await);
    let destination = down.url("/");
    down.stop().await;
    let mut settings = settings();
    settings.delivery.window = Duration::from_secs(1);
    let deliverer =
        Deliverer::start(&settings, &queue, watch(vec![sink(1, &destination, false)])).await;
    publish(&queue, ids("a", 20), &[1]).await;
    let mut dropped = Vec::new();
    while dropped.len() < 20 {
        // Acknowledged is what was read, and no more: another report may come between two reads.
        let reports = eventually("drops", || async {
            let reports = queue.reports(ReportKind::Drops, "test", 1_000).await.unwrap();
            Some(reports).filter(|reports| !reports.is_empty())
        })
        .await;
        let seen: Vec<_> = reports.iter().map(|report| (report.partition, report.id)).collect();
        dropped.extend(dropped_in(reports));
        queue.acknowledge(ReportKind::Drops, &seen).await.unwrap();
    }
    assert!(dropped.iter().all(|drop| drop.reason() == DropReason::Expired));
    until_all_is_settled(&queue).await;
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_cannot_be_read_goes_to_quarantine_and_holds_nothing_up() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    let deliverer =
        Deliverer::start(&settings(), &queue, watch(vec![sink(1, &receiver.url("/"), false)]))
            .await;
    queue.append(home(), "\u{ff}not a chunk".into()).await.unwrap();
    publish(&queue, ids("a", 1), &[1]).await;
    receiver.until("the good event arrived", |r| r.accepted() == 1).await;
    until_all_is_settled(&queue).await;
    assert_eq!(queue.quarantined(home()).await.unwrap().len(), 1);
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_chunk_that_cannot_be_read_goes_to_quarantine() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    park(&queue, Class::Backlog, "\u{ff}not a chunk".into()).await;
    let deliverer =
        Deliverer::start(&settings(), &queue, watch(vec![sink(1, &receiver.url("/"), false)]))
            .await;
    eventually_eq(1, || async { queue.quarantined(home()).await.unwrap().len() }).await;
    publish(&queue, ids("a", 1), &[1]).await;
    receiver.until("the good event arrived", |r| r.accepted() == 1).await;
    until_all_is_settled(&queue).await;
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_event_is_not_forgotten_while_the_backlog_is_being_sent() {
    let (receiver, queue) = (Receiver::start().await, queue().await);
    let (slow, fast) =
        (parked_event(&queue, "slow").await, parked_event(&queue, "fails-once").await);
    park(&queue, Class::Delayed, fast).await;
    park(&queue, Class::Backlog, slow).await;
    let answers = [Answer::status(503), Answer::ok().after(Duration::from_secs(3)), Answer::ok()];
    receiver.answers("/", answers);
    let mut settings = settings();
    settings.delivery.backoff_base = Duration::from_secs(2);
    settings.delivery.backoff_cap = Duration::from_secs(2);
    let watch = watch(vec![sink(1, &receiver.url("/"), false)]);
    let deliverer = Deliverer::start(&settings, &queue, watch).await;
    receiver.until("both arrived", |r| r.accepted() == 2).await;
    until_all_is_settled(&queue).await;
    assert_eq!(receiver.duplicates(), 0);
    deliverer.stop().await;
}
