//! A Redis Cluster whose slots move, and whose nodes die, under load.

use std::time::Duration;

use millrace_testkit::{receiver::Receiver, redis::Cluster};
use millrace_tests::{
    Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, scaled,
};
use tokio::time::sleep;

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "6s"), ("deliverer.renew", "1s")];

#[tokio::test]
async fn slots_that_move_under_load_lose_nothing_and_repeat_nothing() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    let options = Options { deliverers: 2, queue_url: Some(cluster.url()), ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options.set(&LEASE)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for _ in 0..scaled(6, 100) {
        load.progress(40).await;
        let partition = random.between(0, u64::from(stack.servers().partitions()));
        let slot = cluster.slot_of(&stack.servers().key(partition, "ready")).await.expect("a slot");
        let from = cluster.owner_of(slot).await.expect("an owner");
        let to = (from + 1) % 3;
        cluster.open_slot(slot, from, to).await.expect("the move begins");
        sleep(random.millis(0, 300)).await;
        cluster.move_keys(slot, from, to).await.expect("keys move");
        sleep(random.millis(0, 300)).await;
        cluster.close_slot(slot, from, to).await.expect("the move ends");
    }
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!(verdict.duplicates, 0);
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn a_durable_node_that_is_killed_loses_nothing() {
    let mut cluster = Cluster::start(true).await.expect("a cluster");
    let options = Options { deliverers: 2, queue_url: Some(cluster.url()), ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options.set(&LEASE)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for round in 0..scaled(3, 30) {
        load.progress(40).await;
        cluster.node(round % 3).kill();
        sleep(Duration::from_millis(500)).await;
        cluster.node(round % 3).restart().await.expect("it starts again");
    }
    load.progress(100).await;
    Verdict::of(&mut stack, load, &[&receiver]).await;
    queue_is_empty(&mut stack).await;
}
