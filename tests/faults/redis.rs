//! Redis is killed, falls silent, forgets everything: what it acknowledged to keep is not lost, and nobody is restarted.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use millrace_proto::v1::Event;
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    redis::ServerOptions,
};
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, event, scaled,
};
use tokio::time::sleep;

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "6s"), ("deliverer.renew", "1s")];

/// Events that may be published between a look at the queue and the fault: some batches of each producer.
const MEANWHILE: usize = 120;

fn durable() -> Options {
    let redis = Some(ServerOptions { durable: true, ..ServerOptions::default() });
    Options { redis, routers: 2, deliverers: 2, ..Options::default().set(&LEASE) }
}

#[tokio::test]
async fn a_durable_redis_that_is_killed_loses_nothing() {
    let mut stack = Stack::start(Mode::Servers, durable()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for _ in 0..scaled(3, 30) {
        load.progress(100).await;
        sleep(random.millis(0, 500)).await;
        stack.servers().redis().kill();
        sleep(random.millis(0, 1_500)).await;
        stack.servers().redis().restart().await.expect("it starts again");
    }
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!(verdict.duplicates, 0, "no outage was as long as the lease");
    queue_is_empty(&mut stack).await;
}

/// Silent for less than the lease: whoever owned a partition still does, and repeats nothing.
#[tokio::test]
async fn a_redis_that_pauses_for_less_than_the_lease_costs_only_time() {
    let mut stack = Stack::start(Mode::Servers, durable()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for round in 0..scaled(2, 10) {
        load.progress(100).await;
        let redis = stack.servers().redis();
        match round % 2 {
            0 => redis.tell(&["CLIENT", "PAUSE", "2500", "ALL"]).await.expect("it answers"),
            _ => {
                redis.freeze();
                sleep(Duration::from_millis(2_500)).await;
                redis.thaw();
            }
        }
        load.progress(100).await;
    }
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!((verdict.duplicates, verdict.published.failures), (0, 0));
    queue_is_empty(&mut stack).await;
}

/// Silent for longer than the lease: owners give up, and take over again what is theirs.
#[tokio::test]
async fn a_redis_that_pauses_for_longer_than_the_lease_loses_nothing() {
    let mut stack = Stack::start(Mode::Servers, durable()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut bound = 0;
    for round in 0..scaled(2, 6) {
        load.progress(100).await;
        let pause = scaled(Duration::from_secs(8), Duration::from_secs(10));
        bound += stack.servers().unsettled_ids().await.len() + MEANWHILE;
        let redis = stack.servers().redis();
        if round % 2 == 0 {
            let millis = pause.as_millis().to_string();
            redis.tell(&["CLIENT", "PAUSE", &millis, "ALL"]).await.expect("it answers");
            sleep(pause).await;
        } else {
            redis.freeze();
            sleep(pause).await;
            redis.thaw();
        }
        load.progress(100).await;
    }
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert!(verdict.duplicates <= bound, "{} came again, {bound} may", verdict.duplicates);
    queue_is_empty(&mut stack).await;
}

/// There is nobody to settle with: a deliverer that is told to end gives up when its leases are over.
#[tokio::test]
async fn a_deliverer_ends_while_redis_is_silent() {
    let mut stack = Stack::start(Mode::Servers, durable()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for round in 0..scaled(1, 4) {
        load.progress(100).await;
        stack.servers().redis().freeze();
        let started = Instant::now();
        stack.process(Kind::Deliverer(round % 2)).terminate().await;
        println!("ended after {:?}", started.elapsed());
        stack.servers().redis().thaw();
        stack.process(Kind::Deliverer(round % 2)).restart().await;
    }
    load.progress(100).await;
    Verdict::of(&mut stack, load, &[&receiver]).await;
    queue_is_empty(&mut stack).await;
}

/// What was queued is gone, as the documentation says. What is published from then on arrives, from within 5 s on.
#[tokio::test]
async fn after_flushall_all_services_work_again_within_5_s() {
    heals_within_5_s(async |stack| {
        stack.servers().redis().tell(&["FLUSHALL"]).await.expect("it answers");
    })
    .await;
}

/// As FLUSHALL, and connections break besides. Redis forgets nothing that it acknowledged after it was back.
#[tokio::test]
async fn after_a_restart_that_kept_nothing_all_services_work_again_within_5_s() {
    heals_within_5_s(async |stack| {
        stack.servers().redis().kill();
        stack.servers().redis().restart().await.expect("it starts again");
    })
    .await;
}

async fn heals_within_5_s(forget: impl AsyncFn(&mut Stack)) {
    // As in production.
    let lease = [("deliverer.lease", "10s"), ("deliverer.renew", "3s")];
    let redis = Some(ServerOptions::default());
    let options = Options { deliverers: 2, redis, ..Options::default().set(&lease) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for _ in 0..scaled(3, 20) {
        load.progress(100).await;
        forget(&mut stack).await;
        let flushed = Instant::now();
        load.progress(100).await;
        let published = load.so_far();
        let later = published.sent_at.iter().filter(|(_, sent)| **sent > flushed);
        let later: BTreeSet<String> = later.map(|(id, _)| id.clone()).collect();
        let arrived = |receiver: &Receiver| later.is_subset(&receiver.accepted_ids());
        receiver.until("what is published after that arrives", arrived).await;
        let healed = flushed.elapsed();
        println!("healed after {healed:?}");
        assert!(healed < Duration::from_secs(5), "healed after {healed:?}");
    }
    let published = load.stop().await;
    let lost = published.acknowledged.difference(&receiver.accepted_ids()).count();
    println!("{} acknowledged, {lost} of them not arrived", published.acknowledged.len());
    queue_is_empty(&mut stack).await;
    // Reports find their way, too.
    let started = Instant::now();
    receiver.answer("/tenant-100", Answer::status(404));
    let refused = Event { account_sid: accounts[0].clone(), ..event("refused") };
    stack.platform_publishers()[0].publish(vec![refused]).await.expect("the router answers");
    let servers = &*stack.servers();
    eventually("the report of what is refused is kept", || async {
        let dropped = servers.dropped().await;
        dropped.iter().any(|it| it.event_id == "refused").then_some(())
    })
    .await;
    println!("reports come through after {:?}", started.elapsed());
}
