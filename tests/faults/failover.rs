//! A primary dies and its replica takes over: with `WAIT 1` nothing is lost; without, what is lost is counted.

use std::time::Duration;

use millrace_testkit::{eventually::eventually_within, receiver::Receiver, redis::Replicated};
use millrace_tests::{Load, Mode, Options, Stack, Verdict, arrivals::queue_is_empty};
use tokio::time::sleep;

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "6s"), ("deliverer.renew", "1s")];
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_failover_loses_nothing_that_a_replica_was_waited_for() {
    let (_redis, mut stack, receiver, load) = fails_over(&[("queue.wait_replicas", "1")]).await;
    Verdict::of(&mut stack, load, &[&receiver]).await;
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn a_failover_without_waiting_goes_on_and_what_it_lost_is_counted() {
    let (_redis, mut stack, receiver, load) = fails_over(&[]).await;
    let published = load.stop().await;
    queue_is_empty(&mut stack).await;
    // What was on its way when the queue was empty arrives, too.
    sleep(Duration::from_secs(1)).await;
    let accepted = receiver.accepted_ids();
    let lost = published.acknowledged.difference(&accepted).count();
    println!("{} acknowledged, {lost} of them lost", published.acknowledged.len());
}

/// Load, the end of the primary, and what is published once all is well again, which arrives.
async fn fails_over(
    settings: &[(&'static str, &'static str)],
) -> (Replicated, Stack, Receiver, Load) {
    let mut redis = Replicated::start(false).await.expect("a primary and a replica");
    let options = Options { deliverers: 2, queue_url: Some(redis.url()), ..Options::default() };
    let options = options.set(&LEASE).set(settings);
    let stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    load.progress(200).await;
    redis.primary.kill();
    eventually_within(PATIENCE, "the replica is the primary", || async {
        let elected = redis.elected().await.ok()?;
        (elected == redis.replica.port()).then_some(())
    })
    .await;
    // Comes back as the replica: the sentinel sees to it. Until then there is none to wait for.
    redis.primary.restart().await.expect("it starts again");
    load.progress(200).await;
    (redis, stack, receiver, load)
}
