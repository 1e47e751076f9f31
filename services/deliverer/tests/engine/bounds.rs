//! What is bounded: bytes of a settlement, the places that probes need, how much is read of a backlog that waits.

use std::{sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    sinks::Answer,
    world::{World, home, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);
const MB: usize = 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn a_settlement_parks_no_more_than_a_script_can_do_in_time() {
    let mut paused = sink(1);
    paused.paused = true;
    let world = World::with([paused]);
    for n in 0..40 {
        world.publish_sized(1_000_000, ids(&format!("large{n}"), 1), &[1]).await;
    }
    let deliverer = world.start().await;
    let all = |w: &World| w.backlog(1).is_some_and(|state| state.events == 40);
    world.until("all is parked", 60 * SECOND, all).await;
    let largest = world.queue.state().largest_park;
    assert!((2 * MB..=4 * MB + MB / 2).contains(&largest), "{largest} bytes at once");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_gets_a_place_though_others_want_all_of_them() {
    let mut world = World::with((1..=3).map(sink));
    world.settings.delivery.in_flight = 4;
    world.settings.delivery.backoff_cap = 4 * SECOND;
    let deliverer = world.start().await;
    for number in [1, 2] {
        world.sinks.answer(sid(number), |_| Answer::status(200).after(SECOND));
    }
    world.sinks.answer(sid(3), |_| Answer::status(500));
    world.publish(ids("sick", 50), &[3]).await;
    for n in 0..30 {
        world.publish(ids(&format!("busy{n}"), 20), &[1, 2]).await;
        sleep(SECOND).await;
    }
    let probes = world.sinks.requests(sid(3)).len();
    assert!(probes >= 8, "it is tried now and then: {probes}");
    world.sinks.answer(sid(3), |_| Answer::status(200));
    let arrived = |w: &World| w.sinks.delivered(sid(3)).len() == 50;
    world.until("it is back, beside those that are busy", 60 * SECOND, arrived).await;
    assert!(world.backlog(1).is_some() || world.backlog(2).is_some(), "they are busy still");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_backlog_that_makes_way_for_fresh_events_no_more_is_read_than_is_sent_soon() {
    const CHUNKS: usize = 60;
    let mut paused = sink(1);
    paused.paused = true;
    let world = World::with([paused]);
    let deliverer = world.start().await;
    for n in 0..CHUNKS {
        world.publish(ids(&format!("parked{n}"), 5), &[1]).await;
        let parked =
            |w: &World| w.backlog(1).is_some_and(|state| state.events == 5 * (n as u64 + 1));
        world.until("it is parked", 5 * SECOND, parked).await;
    }
    // It works off one request after the other, so that more at once only wait.
    let free_at = Mutex::new(Instant::now());
    world.sinks.answer(sid(1), move |_| {
        let mut free_at = free_at.lock().unwrap();
        *free_at = (*free_at).max(Instant::now()) + Duration::from_millis(300);
        Answer::status(200).after(*free_at - Instant::now())
    });
    world.configure(sink(1));
    let before = world.queue.state().unparked;
    let mut fresh = 0;
    while world.backlog(1).is_some() {
        world.publish(ids(&format!("fresh{fresh}"), 1), &[1]).await;
        (fresh, _) = (fresh + 1, sleep(2 * SECOND).await);
        assert!(fresh < 200, "the backlog is not drained");
    }
    let read = world.queue.state().unparked - before;
    assert!(read < CHUNKS * 3 / 2, "{read} chunks were read of {CHUNKS}");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_full_lane_had_no_room_for_comes_right_after_it_if_its_sink_is_well() {
    const GATHER: Duration = Duration::from_secs(10);
    let mut world = World::with([sink(1)]);
    world.settings.delivery.lane_events = 10;
    world.settings.delivery.gather = GATHER;
    world.sinks.answer(sid(1), |_| Answer::status(200).after(Duration::from_millis(5)));
    let deliverer = world.start().await;
    for n in 0..5 {
        world.publish(ids(&format!("chunk{n}-"), 15), &[1]).await;
    }
    let began = Instant::now();
    let all = |w: &World| w.sinks.delivered(sid(1)).len() == 75;
    world.until("all have come", 60 * SECOND, all).await;
    assert!(world.queue.state().parks > 0, "the lane was not full");
    assert!(began.elapsed() < GATHER / 2, "they were gathered while the lane had nothing to do");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_that_is_down_cannot_take_is_gathered() {
    let mut world = World::with([sink(1)]);
    world.settings.delivery.gather = 10 * SECOND;
    world.sinks.answer(sid(1), |_| Answer::status(500));
    let deliverer = world.start().await;
    world.publish(ids("first", 50), &[1]).await;
    let open = |w: &World| w.backlog(1).is_some_and(|state| state.next_probe_ms != 0);
    world.until("its breaker is open", 60 * SECOND, open).await;
    let before = world.queue.state().parks;
    for n in 0..50 {
        world.publish(ids(&format!("late{n}-"), 1), &[1]).await;
        sleep(SECOND / 50).await;
    }
    let late = |w: &World| w.queue.state().ready.is_empty();
    world.until("all are parked", 60 * SECOND, late).await;
    let parks = world.queue.state().parks - before;
    assert!(parks <= 3, "{parks} chunks were parked for fifty events within a second");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_others_that_are_down_cannot_take_is_gathered_while_a_lane_that_was_full_gets_its_rest()
 {
    let mut down = sink(2);
    down.paused = true;
    let mut world = World::with([sink(1), down]);
    world.settings.delivery.lane_events = 10;
    world.settings.delivery.gather = 10 * SECOND;
    world.sinks.answer(sid(1), |_| Answer::status(200).after(Duration::from_millis(5)));
    let deliverer = world.start().await;
    for n in 0..20 {
        world.publish(ids(&format!("down{n}-"), 1), &[2]).await;
        world.publish(ids(&format!("well{n}-"), 30), &[1]).await;
        let all = |w: &World| w.sinks.delivered(sid(1)).len() == 30 * (n + 1);
        world.until("the one that is well has all", 60 * SECOND, all).await;
    }
    let late = |w: &World| w.queue.state().ready.is_empty();
    world.until("the others are parked", 60 * SECOND, late).await;
    let chunks = world.queue.state().parked[&(home().0, sid(2), false)].len();
    assert!(chunks <= 3, "{chunks} chunks for twenty events");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lane_that_stays_full_has_no_room_for_is_gathered() {
    let mut world = World::with([sink(1)]);
    world.settings.delivery.lane_events = 10;
    world.settings.delivery.in_flight_per_sink = 2;
    world.sinks.answer(sid(1), |_| Answer::status(200).after(SECOND / 5));
    let deliverer = world.start().await;
    for n in 0..20 {
        world.publish(ids(&format!("more{n}-"), 15), &[1]).await;
        sleep(SECOND / 10).await;
    }
    let parks = world.queue.state().parks;
    assert!((1..=4).contains(&parks), "{parks} chunks were parked in two seconds");
    deliverer.stop().await;
}
