//! kill -9, again and again, at random instants: every event that was acknowledged arrives.

use std::time::{Duration, Instant};

use millrace_testkit::receiver::Receiver;
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict,
    arrivals::{all_of, queue_is_empty},
    scaled,
};
use tokio::time::sleep;

const LEASES: [(&str, &str); 2] = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];

#[tokio::test]
async fn kills_of_any_service_lose_nothing_and_repeat_what_was_unsettled() {
    let options = Options { routers: 2, deliverers: 2, ..Options::default().set(&LEASES) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    let (kills, mut unsettled) = (scaled(18, 200), 0);
    for kill in 0..kills {
        // Of each service as many, each of the two at random.
        let number = usize::from(random.between(0, 2) == 1);
        let kind = match kill % 3 {
            0 => Kind::Deliverer(number),
            1 => Kind::Router(number),
            _ => Kind::ControlPlane,
        };
        load.progress(20).await;
        sleep(random.millis(0, 700)).await;
        stack.process(kind).kill();
        if kind == Kind::Deliverer(number) {
            unsettled += stack.servers().unsettled_ids().await.len();
        }
        sleep(random.millis(0, 300)).await;
        stack.process(kind).restart().await;
    }
    load.progress(100).await;
    let Verdict { published, duplicates, .. } = Verdict::of(&mut stack, load, &[&receiver]).await;
    println!("{unsettled} were unsettled when a deliverer was killed");
    assert!(published.acknowledged.len() > 20 * kills);
    assert!(duplicates <= unsettled, "{duplicates} came again, {unsettled} were unsettled");
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn kills_of_the_one_process_lose_nothing() {
    let mut stack = Stack::start(Mode::Embedded, Options::default().set(&LEASES)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(6, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    let kills = scaled(16, 200);
    for _ in 0..kills {
        load.progress(20).await;
        sleep(random.millis(0, 900)).await;
        stack.process(Kind::Deliverer(0)).kill();
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    load.progress(100).await;
    let published = all_of(load, &receiver).await;
    assert!(published.acknowledged.len() > 20 * kills);
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
    for _ in 0..scaled(5, 50) {
        // One is answered between: where nothing is, and nothing but one chunk is in hand at each death, it is the cause.
        let accepted = receiver.accepted();
        receiver.until("one is answered", |receiver| receiver.accepted() > accepted).await;
        let before = receiver.requests().len();
        receiver.until("a request is open", |receiver| receiver.requests().len() > before).await;
        stack.process(Kind::Deliverer(0)).kill();
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    let stopped = Instant::now();
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    println!("all arrived {:?} after the last kill", stopped.elapsed());
    assert!(verdict.quarantined.is_empty(), "{:?}", verdict.quarantined);
    queue_is_empty(&mut stack).await;
}
