//! A rolling restart of everything under load: nothing is lost, nothing is sent twice.

use std::time::Duration;

use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, scaled,
};
use tokio::time::sleep;

#[tokio::test]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    let options = Options { routers: 2, deliverers: 2, ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(8, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    let all = [
        Kind::Deliverer(0),
        Kind::Router(0),
        Kind::ControlPlane,
        Kind::Router(1),
        Kind::Deliverer(1),
    ];
    for _ in 0..scaled(1, 10) {
        for kind in all {
            load.progress(60).await;
            sleep(random.millis(0, 300)).await;
            stack.process(kind).terminate().await;
            load.progress(40).await;
            stack.process(kind).restart().await;
        }
    }
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!(verdict.duplicates, 0);
    queue_is_empty(&mut stack).await;
}

/// What waits in backlogs, what is drained just then, and what is being tried: none of it is sent twice.
#[tokio::test]
async fn a_rolling_restart_among_backlogs_repeats_nothing() {
    let options = Options { deliverers: 2, ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for round in 0..scaled(4, 40) {
        let path = |number: u64| format!("/tenant-{}", 100 + number);
        receiver.answer(&path(random.between(0, 6)), Answer::status(503));
        let slow = Answer::ok().after(Duration::from_millis(150));
        receiver.answer(&path(random.between(0, 6)), slow);
        load.progress(60).await;
        // The backlog begins to be drained, and its owner goes.
        (0..6).filter(|n| n % 2 == round % 2).for_each(|n| receiver.answer(&path(n), Answer::ok()));
        sleep(random.millis(0, 1_500)).await;
        let deliverer = Kind::Deliverer(usize::from(round % 2 == 1));
        stack.process(deliverer).terminate().await;
        load.progress(20).await;
        stack.process(deliverer).restart().await;
    }
    (0..6).for_each(|n| receiver.answer(&format!("/tenant-{}", 100 + n), Answer::ok()));
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!((verdict.duplicates, verdict.published.failures), (0, 0));
    assert!(verdict.dropped.is_empty());
    queue_is_empty(&mut stack).await;
}
