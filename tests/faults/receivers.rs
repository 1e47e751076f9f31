//! Receivers that misbehave in every way there is, all at once, beside one that is well.

use std::time::{Duration, Instant};

use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{
    Kind, Load, Mode, Options, Published, Stack, Verdict, arrivals::queue_is_empty, scaled,
};
use tokio::time::sleep;

/// Few requests for the process and little memory: what a sick sink takes, its neighbour would miss.
const BOUNDS: [(&str, &str); 5] = [
    ("delivery.timeout", "1s"),
    ("delivery.in_flight", "64"),
    ("delivery.in_flight_per_sink", "32"),
    ("delivery.unsettled_bytes", "2097152"),
    ("delivery.lane_bytes", "1048576"),
];
/// What a deliverer may grow by while its sinks are sick: its bounds, several times over for what an allocator keeps.
const GROWTH_MAX: u64 = 40 * 1024 * 1024;

fn sicknesses() -> Vec<(&'static str, Vec<Answer>)> {
    let alternating = (0..100_000).map(|n| Answer::status(if n % 2 == 0 { 500 } else { 200 }));
    let second = Duration::from_secs(1);
    vec![
        ("resets at once", vec![Answer::reset()]),
        ("resets in the head", vec![Answer::reset_in_head()]),
        ("resets in the body", vec![Answer::ok().reset_in_body()]),
        ("closes", vec![Answer::close()]),
        ("hangs", vec![Answer::hang()]),
        ("drips a byte a second", vec![Answer::ok().drip(second)]),
        ("never ends its body", vec![Answer::status(503).endless()]),
        ("answers 500", vec![Answer::status(500)]),
        ("answers 302", vec![Answer::status(302).header("location", "/elsewhere")]),
        ("asks to slow down", vec![Answer::status(429).header("retry-after", "1")]),
        ("alternates 500 and 200", alternating.collect()),
    ]
}

#[tokio::test]
async fn sick_receivers_leave_a_healthy_one_alone_and_get_everything_once_they_are_well() {
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&BOUNDS)).await;
    let (sick, well, down) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let sicknesses = sicknesses();
    let mut accounts = vec![stack.tenant(11, &well).await, stack.tenant(12, &down).await];
    accounts.extend(stack.tenants(sicknesses.len(), &sick).await);
    let address = down.stop().await;
    let path = |number: usize| format!("/tenant-{}", 100 + number);
    for (number, (_, answers)) in sicknesses.iter().enumerate() {
        sick.answers(&path(number), answers.clone());
    }
    let before = stack.process(Kind::Deliverer(0)).resident_bytes();
    let load = Load::start(stack.platform_publishers(), &accounts);
    let most = sickness_lasts(&mut stack, scaled(12, 180)).await;
    for (number, (name, _)) in sicknesses.iter().enumerate() {
        println!("{name}: {} requests", sick.requests_to(&path(number)).len());
        sick.answer(&path(number), Answer::ok());
    }
    let up = Receiver::start_at(address).await;
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&well, &sick, &up]).await;
    assert_eq!(verdict.published.failures, 0);
    assert!(verdict.dropped.is_empty(), "dropped: {:?}", verdict.dropped);
    assert_eq!(well.duplicates(), 0);
    prompt(&well, &verdict.published);
    println!("memory: {} MB, at most {} MB", before >> 20, most >> 20);
    assert!(most < before + GROWTH_MAX, "grew from {before} to {most} bytes");
    queue_is_empty(&mut stack).await;
}

/// Waits so many seconds; gives the most memory that the deliverer took meanwhile.
async fn sickness_lasts(stack: &mut Stack, seconds: u64) -> u64 {
    let (started, mut most) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(seconds) {
        most = most.max(stack.process(Kind::Deliverer(0)).resident_bytes());
        sleep(Duration::from_millis(100)).await;
    }
    most
}

/// The healthy receiver did not wait for the others.
fn prompt(well: &Receiver, published: &Published) {
    let sent = |id: &String| published.sent_at.get(id);
    let wait = |request: millrace_testkit::receiver::Request| {
        Some(request.arrived.saturating_duration_since(*sent(request.ids.first()?)?))
    };
    let mut waits: Vec<Duration> = well.requests().into_iter().filter_map(wait).collect();
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("the healthy receiver waited {median:?}, at most {longest:?}");
    assert!(median < Duration::from_millis(500), "it waited {median:?}");
    assert!(longest < Duration::from_secs(3), "it waited {longest:?}");
}
