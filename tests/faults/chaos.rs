//! Whatever comes, in any order, several at a time: processes killed, ended, suspended; Redis killed and silent; receivers sick
//! and well again. At the end all are well, and the judge looks.

use std::time::Duration;

use millrace_testkit::{
    receiver::{Answer, Receiver},
    redis::ServerOptions,
};
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, scaled,
};
use tokio::time::sleep;

const SETTINGS: [(&str, &str); 4] = [
    ("deliverer.lease", "3s"),
    ("deliverer.renew", "600ms"),
    ("deliverer.quiet", "3s"),
    ("delivery.timeout", "1s"),
];
const TENANTS: usize = 6;

#[tokio::test]
async fn any_mix_of_faults_loses_nothing() {
    let redis = Some(ServerOptions { durable: true, ..ServerOptions::default() });
    let options = Options { routers: 2, deliverers: 2, redis, ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options.set(&SETTINGS)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(TENANTS, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for step in 0..scaled(12, 250) {
        load.progress(40).await;
        sleep(random.millis(0, 300)).await;
        let fault = random.between(0, 8);
        println!("step {step}: {}", one(fault, &mut stack, &receiver, &mut random).await);
    }
    for tenant in 0..TENANTS {
        receiver.answer(&path(tenant), Answer::ok());
    }
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert!(verdict.dropped.is_empty(), "no window closed: {:?}", verdict.dropped);
    queue_is_empty(&mut stack).await;
    assert_eq!(stack.servers().parked_events().await, 0);
    let quarantined = stack.servers().quarantined().await;
    let why: Vec<_> = quarantined.iter().map(|(why, chunk)| (why, chunk.len())).collect();
    assert!(why.is_empty(), "nobody dies of a chunk here, however often they die: {why:?}");
}

/// Breaks one thing, and mends it but for receivers; tells what it was.
async fn one(
    fault: u64,
    stack: &mut Stack,
    receiver: &Receiver,
    random: &mut Random,
) -> &'static str {
    let either = usize::from(random.between(0, 2) == 1);
    match fault {
        0 => kill(stack, Kind::Deliverer(either), random).await,
        1 => kill(stack, Kind::Router(either), random).await,
        2 => kill(stack, Kind::ControlPlane, random).await,
        3 => {
            stack.process(Kind::Deliverer(either)).terminate().await;
            sleep(random.millis(0, 500)).await;
            stack.process(Kind::Deliverer(either)).restart().await;
            "a deliverer ended"
        }
        4 => {
            stack.process(Kind::Deliverer(either)).suspend();
            sleep(random.millis(0, 4_500)).await;
            stack.process(Kind::Deliverer(either)).resume();
            "a deliverer suspended"
        }
        5 => {
            stack.servers().redis().kill();
            sleep(random.millis(0, 1_000)).await;
            stack.servers().redis().restart().await.expect("it starts again");
            "Redis killed"
        }
        6 => {
            stack.servers().redis().freeze();
            sleep(random.millis(0, 4_500)).await;
            stack.servers().redis().thaw();
            "Redis silent"
        }
        _ => {
            let tenant = usize::try_from(random.between(0, TENANTS as u64)).expect("few");
            receiver.answer(&path(tenant), mood(random));
            "a receiver in another mood"
        }
    }
}

async fn kill(stack: &mut Stack, kind: Kind, random: &mut Random) -> &'static str {
    stack.process(kind).kill();
    sleep(random.millis(0, 500)).await;
    stack.process(kind).restart().await;
    "a process killed"
}

fn mood(random: &mut Random) -> Answer {
    match random.between(0, 6) {
        0 => Answer::status(503),
        1 => Answer::hang(),
        2 => Answer::reset(),
        3 => Answer::ok().after(Duration::from_millis(300)),
        4 => Answer::status(429).header("retry-after", "1"),
        _ => Answer::ok(),
    }
}

fn path(tenant: usize) -> String {
    format!("/tenant-{}", 100 + tenant)
}
