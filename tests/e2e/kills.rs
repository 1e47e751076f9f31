//! kill -9, again and again, at random instants: every event that was acknowledged arrives.

use std::time::Duration;

use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Load, Mode, Options, Random, Stack};
use tokio::time::sleep;

use crate::arrivals::{all_of, queue_is_empty};

const KILLS: usize = 24;
const LEASES: [(&str, &str); 2] = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];

#[tokio::test]
async fn kills_of_routers_and_deliverers_lose_nothing() {
    let options = Options { routers: 2, deliverers: 2, ..Options::default().set(&LEASES) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for kill in 0..KILLS {
        // Of each kind as many, each of the two at random.
        let number = usize::from(random.between(0, 2) == 1);
        let kind = if kill % 2 == 0 { Kind::Deliverer(number) } else { Kind::Router(number) };
        load.progress(20).await;
        sleep(random.millis(0, 700)).await;
        stack.process(kind).kill();
        sleep(random.millis(0, 300)).await;
        stack.process(kind).restart().await;
    }
    load.progress(100).await;
    let published = all_of(load, &receiver).await;
    assert!(published.acknowledged.len() > 20 * KILLS);
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn kills_of_the_one_process_lose_nothing() {
    let mut stack = Stack::start(Mode::Embedded, Options::default().set(&LEASES)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for _ in 0..KILLS {
        load.progress(20).await;
        sleep(random.millis(0, 900)).await;
        stack.process(Kind::Deliverer(0)).kill();
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    load.progress(100).await;
    let published = all_of(load, &receiver).await;
    assert!(published.acknowledged.len() > 20 * KILLS);
    assert!(published.failures < published.acknowledged.len());
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

/// A deliverer dies while its requests are open and unanswered.
#[tokio::test]
async fn a_kill_with_requests_open_repeats_them_and_loses_nothing() {
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&LEASES)).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/slow", true).await;
    stack.subscribe(&sink, &[millrace_tests::TYPE]).await;
    let slow = millrace_testkit::receiver::Answer::ok().after(Duration::from_millis(200));
    receiver.answer("/slow", slow);
    let accounts = [stack.identity.account_sid.clone()];
    let load = Load::start(stack.platform_publishers(), &accounts);
    for _ in 0..5 {
        let before = receiver.requests().len();
        receiver.until("a request is open", |receiver| receiver.requests().len() > before).await;
        stack.process(Kind::Deliverer(0)).kill();
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    all_of(load, &receiver).await;
    queue_is_empty(&mut stack).await;
}
