//! The private servers are what they say.

use millrace_testkit::{
    eventually,
    redis::{Cluster, Replicated},
};
use redis::cmd;

#[tokio::test]
async fn a_cluster_serves_every_slot_and_moves_one_with_its_keys() {
    let cluster = Cluster::start(false).await.expect("a cluster");
    for slot in [0, 5_460, 5_461, 10_922, 10_923, 16_383] {
        cluster.owner_of(slot).await.expect("served");
    }
    let slot = cluster.slot_of("{mr:1}:ready").await.expect("a slot");
    let from = cluster.owner_of(slot).await.expect("served");
    let to = (from + 1) % 3;
    let set = cmd("SET").arg("{mr:1}:ready").arg("a").take();
    cluster.nodes()[from].run::<()>(&set).await.expect("it takes its own");
    cluster.move_slot(slot, to).await.expect("it moves");
    assert_eq!(cluster.owner_of(slot).await.expect("served"), to);
    let get = cmd("GET").arg("{mr:1}:ready").take();
    assert_eq!(cluster.nodes()[to].run::<String>(&get).await.expect("it is there"), "a");
}

#[tokio::test]
async fn a_replica_takes_over_from_a_primary_of_a_cluster_that_is_gone() {
    let mut cluster = Cluster::start_with_replicas(false).await.expect("a cluster");
    assert_eq!(cluster.owner_of(0).await.expect("served"), 0);
    cluster.node(0).kill();
    let took_over = || async { (cluster.owner_of(0).await.ok()? == 3).then_some(()) };
    eventually("the replica takes over", took_over).await;
}

#[tokio::test]
async fn a_sentinel_elects_the_replica_of_a_primary_that_is_gone() {
    let mut servers = Replicated::start(false).await.expect("a primary, a replica, a sentinel");
    assert_eq!(servers.elected().await.expect("it answers"), servers.primary.port());
    servers.primary.kill();
    let elected =
        || async { (servers.elected().await.ok()? == servers.replica.port()).then_some(()) };
    eventually("the replica is elected", elected).await;
}
