//! Shares: of the process's requests among sinks, of a sink's requests among fresh events and backlog.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    sinks::Answer,
    world::{World, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);

/// Publishes an event a tenth of a second to sink 1, and tells the longest time until one was requested.
async fn slowest_of(world: &World, events: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..events {
        let (name, began) = (format!("healthy{n}"), Instant::now());
        world.publish(ids(&name, 1), &[1]).await;
        let id = format!("{name}-0");
        while !world.sinks.requests(sid(1)).iter().any(|request| request.ids[0] == id) {
            assert!(began.elapsed() < 10 * SECOND, "{id} is not sent");
            sleep(Duration::from_millis(1)).await;
        }
        slowest = slowest.max(began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    slowest
}

#[tokio::test(start_paused = true)]
async fn sinks_that_are_slow_without_end_leave_places_for_one_that_is_well() {
    let world = World::with((1..=101).map(sink));
    let deliverer = world.start().await;
    for number in 2..=101 {
        // Slow enough to hold every place for ever, not slow enough to fail.
        world.sinks.answer(sid(number), move |ask| {
            let less = u64::try_from(ask.nth * 370).unwrap() + u64::try_from(number).unwrap() * 53;
            Answer::status(200).after(Duration::from_millis(4_900 - less % 2_000))
        });
        world.publish(ids(&format!("slow{number}"), 400), &[number]).await;
    }
    let slowest = slowest_of(&world, 200).await;
    assert!(slowest <= Duration::from_millis(10), "{slowest:?}");
    let had: Vec<_> = (2..=101).map(|number| world.sinks.requests(sid(number)).len()).collect();
    let (least, most) = (had.iter().min().unwrap(), had.iter().max().unwrap());
    assert!(least * 3 >= *most, "the slow ones share what they take: from {least} to {most}");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sinks_that_hang_all_at_once_leave_places_for_one_that_is_well() {
    let world = World::with((1..=101).map(sink));
    let deliverer = world.start().await;
    for number in 2..=101 {
        world.publish(ids(&format!("well{number}"), 120), &[number]).await;
    }
    world.until("all of them take 64 at once", SECOND, World::is_empty).await;
    for number in 2..=101 {
        world.sinks.answer(sid(number), |_| Answer::hangs());
        world.publish(ids(&format!("hangs{number}"), 100), &[number]).await;
    }
    let slowest = slowest_of(&world, 200).await;
    assert!(slowest <= Duration::from_millis(10), "{slowest:?}");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quarter_goes_to_the_backlog_while_fresh_events_come_without_end() {
    let mut one_by_one = sink(1);
    one_by_one.paused = true;
    let world = World::with([one_by_one.clone()]);
    world.sinks.answer(sid(1), |_| Answer::status(200).after(Duration::from_millis(10)));
    let deliverer = world.start().await;
    for n in 0..10 {
        world.publish(ids(&format!("old{n}"), 1_000), &[1]).await;
    }
    world
        .until("all is parked", 30 * SECOND, |w| w.backlog(1).is_some_and(|s| s.events == 10_000))
        .await;
    one_by_one.paused = false;
    one_by_one.max_concurrency = 1;
    world.configure(one_by_one);
    // More than the sink takes.
    for n in 0..100 {
        world.publish(ids(&format!("new{n}"), 20), &[1]).await;
        sleep(Duration::from_millis(100)).await;
    }
    let requests = world.sinks.requests(sid(1));
    let of_the_backlog =
        requests.iter().filter(|request| request.ids[0].starts_with("old")).count();
    let share = of_the_backlog as f64 / requests.len() as f64;
    assert!(requests.len() >= 900, "the sink is kept busy: {}", requests.len());
    assert!((0.24..=0.30).contains(&share), "{share} of {} go to the backlog", requests.len());
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_rests_as_long_as_it_works_after_a_fresh_event_and_wakes_by_itself() {
    const EVENTS: usize = 400;
    const TAKES: Duration = Duration::from_millis(3);
    let mut one_by_one = sink(1);
    one_by_one.max_concurrency = 1;
    one_by_one.paused = true;
    let world = World::with([one_by_one.clone()]);
    world.sinks.answer(sid(1), |_| Answer::status(200).after(TAKES));
    let deliverer = world.start().await;
    world.publish(ids("old", EVENTS), &[1]).await;
    world
        .until("all is parked", 30 * SECOND, |w| {
            w.backlog(1).is_some_and(|state| state.events == EVENTS as u64)
        })
        .await;
    one_by_one.paused = false;
    world.configure(one_by_one);
    world.publish(ids("new", 1), &[1]).await;
    // All of it within the seconds for which one fresh event is minded; no other comes that could wake the lane.
    world.until("the backlog is drained", 4 * SECOND, World::is_empty).await;
    let requests = world.sinks.requests(sid(1));
    let fresh = requests.iter().position(|request| request.ids[0] == "new-0").expect("it is sent");
    let after = &requests[fresh + 1..];
    assert!(after.len() > EVENTS / 2, "fresh events go first, not after {fresh} requests");
    let rests: Vec<_> = after
        .windows(2)
        .map(|pair| pair[1].began - pair[0].ended.expect("it was answered"))
        .collect();
    let rested: Duration = rests.iter().sum();
    let share = rested.div_duration_f64(rested + TAKES * u32::try_from(rests.len()).unwrap());
    assert!((0.45..0.6).contains(&share), "it rests for {share} of the time");
    let longest = rests.iter().max().expect("several");
    assert!(*longest < Duration::from_millis(50), "{longest:?} pass without a request");
    deliverer.stop().await;
}
