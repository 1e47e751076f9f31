//! A sink that is deleted while its backlog waits: each event is dropped with a report, also where its owner dies meanwhile.

use millrace_proto::internal::DropReason;
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
};
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, event, scaled,
};
use tokio::time::sleep;

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];

#[tokio::test]
async fn the_backlog_of_a_deleted_sink_is_dropped_with_reports() {
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&LEASE)).await;
    let receiver = Receiver::start().await;
    let tenant = stack.tenant(11, &receiver).await;
    let sink = stack.subscribed(&receiver, "/sick").await;
    receiver.answer("/sick", Answer::status(503));
    let ids: Vec<String> = (0..scaled(2_000, 50_000)).map(|n| format!("waits-{n}")).collect();
    for batch in ids.chunks(500) {
        stack.publish(batch.iter().map(|id| event(id))).await;
    }
    let servers = &*stack.servers();
    eventually("all of them wait in the backlog", || async {
        (servers.parked_events().await == ids.len() as u64).then_some(())
    })
    .await;
    let load = Load::start(stack.platform_publishers(), &[tenant]);
    stack.delete_sink(&sink).await;
    // In the middle of it, or after, or before it begins.
    sleep(Random::announced().millis(0, 500)).await;
    stack.process(Kind::Deliverer(0)).kill();
    let unsettled = stack.servers().unsettled_ids().await.len();
    stack.process(Kind::Deliverer(0)).restart().await;
    load.progress(100).await;

    let mut published = load.stop().await;
    published.acknowledged.extend(ids.iter().cloned());
    let verdict = Verdict::on(&mut stack, published, &[&receiver]).await;
    assert_eq!(verdict.dropped, ids.into_iter().collect(), "all that waited, and nothing else");
    assert!(verdict.duplicates <= unsettled);
    let drops = stack.servers().dropped().await;
    assert!(drops.iter().all(|drop| drop.reason == DropReason::SinkDeleted));
    queue_is_empty(&mut stack).await;
    assert_eq!(stack.servers().parked_events().await, 0);
}
