//! A sink that is down for long costs bounded memory and nobody else's time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use millrace_proto::v1::Event;
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Mode, Options, Stack, TYPE, event, event_of};

use crate::arrivals::complete;

const OTHER: &str = "com.twilio.messaging.message.delivered";
const EVENTS: usize = 30_000;
const BATCH: usize = 200;
/// What a deliverer may grow by: its bounds for one lane and for what is unsettled, as this test sets them, and several times
/// as much for what an allocator keeps. What is published meanwhile is more.
const GROWTH_MAX: u64 = 28 * 1024 * 1024;

#[tokio::test]
async fn a_sink_that_is_down_costs_the_others_nothing_embedded() {
    a_sink_that_is_down_costs_the_others_nothing(Mode::Embedded).await;
}

#[tokio::test]
async fn a_sink_that_is_down_costs_the_others_nothing_on_servers() {
    a_sink_that_is_down_costs_the_others_nothing(Mode::Servers).await;
}

async fn a_sink_that_is_down_costs_the_others_nothing(mode: Mode) {
    let bounds = [("delivery.unsettled_bytes", "2097152"), ("delivery.lane_bytes", "1048576")];
    let mut stack = Stack::start(mode, Options::default().set(&bounds)).await;
    let (down, well) = (Receiver::start().await, Receiver::start().await);
    let sink = stack.sink(&down, "/down", true).await;
    stack.subscribe(&sink, &[TYPE]).await;
    let other = stack.sink(&well, "/well", false).await;
    stack.subscribe(&other, &[OTHER]).await;
    let address = down.stop().await;

    let data = format!(r#"{{"messageSid": "SM1", "body": "{}"}}"#, "x".repeat(1_024));
    let large = |n: usize| Event { data: data.clone(), ..event(&format!("large-{n}")) };
    // What only the first events cost, whatever their number, is not growth.
    stack.publish((0..BATCH).map(large)).await;
    let before = stack.process(Kind::Deliverer(0)).resident_bytes();
    let mut most = before;
    let mut published = HashMap::new();
    for first in (BATCH..EVENTS).step_by(BATCH) {
        stack.publish((first..first + BATCH).map(large)).await;
        let id = format!("small-{first}");
        published.insert(id.clone(), Instant::now());
        stack.publish([event_of(OTHER, &id)]).await;
        most = most.max(stack.process(Kind::Deliverer(0)).resident_bytes());
    }
    let all = |well: &Receiver| well.accepted() == published.len();
    well.until("the other sink has its events", all).await;
    let mut waits: Vec<Duration> = well
        .requests()
        .iter()
        .map(|request| request.arrived.saturating_duration_since(published[&request.ids[0]]))
        .collect();
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "the other sink waited {median:?}, at most {longest:?}; memory {} MB, at most {} MB",
        before >> 20,
        most >> 20
    );
    assert!(median < Duration::from_secs(1), "the other sink waited {median:?}");
    assert!(longest < Duration::from_secs(5), "the other sink waited {longest:?}");
    assert!(most - before < GROWTH_MAX, "grew from {before} to {most} bytes");

    let back = Receiver::start_at(address).await;
    back.expect_signatures("/down", &stack.identity.auth_token, &sink.signing_secret);
    complete(&(0..EVENTS).map(|n| format!("large-{n}")).collect(), &back).await;
    println!("{} events came again", back.duplicates());
}
