//! A sink that is down: its breaker, its probes, its return.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    sinks::{Answer, most_at_once},
    world::{World, batched, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_costs_one_probe_at_a_time_each_of_another_event() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(500));
    let deliverer = world.start().await;
    for chunk in 0..30 {
        world.publish(ids(&format!("c{chunk}"), 10), &[1]).await;
        sleep(2 * SECOND).await;
    }
    let settled = Instant::now();
    sleep(3_600 * SECOND).await;
    let probes: Vec<_> =
        world.sinks.requests(sid(1)).into_iter().filter(|r| r.began >= settled).collect();
    // Full jitter up to 5 minutes: 2.5 minutes on average.
    assert!((10..60).contains(&probes.len()), "{} probes in an hour", probes.len());
    assert_eq!(most_at_once(&probes), 1);
    let chunks: BTreeSet<_> =
        probes.iter().map(|probe| probe.ids[0].split_once('-').unwrap().0.to_owned()).collect();
    assert!(chunks.len() * 10 >= probes.len() * 9, "of another chunk each: {chunks:?}");
    assert_eq!(world.backlog(1).unwrap().events, 300, "the others wait");
    deliverer.stop().await;
}

/// A backlog rests after its requests where fresh events came lately.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_due_while_the_backlog_rests_is_not_put_off() {
    let mut world = World::with([sink(1)]);
    world.settings.delivery.backoff_base = Duration::from_millis(1);
    world.settings.delivery.backoff_cap = Duration::from_millis(1);
    world.sinks.answer(sid(1), |_| Answer::status(500).after(Duration::from_millis(5)));
    let deliverer = world.start().await;
    world.publish(ids("a", 20), &[1]).await;
    let probed = |world: &World| world.sinks.requests(sid(1)).len() >= 50;
    world.until("it is probed again and again", 4 * SECOND, probed).await;
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_does_not_keep_a_sink_down() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(500));
    let deliverer = world.start().await;
    for name in ["bad", "worse", "a", "b", "c"] {
        world.publish(ids(name, 1), &[1]).await;
        sleep(2 * SECOND).await;
    }
    // Down it was; now only two events are refused, and they are the first in the backlog.
    world.sinks.answer(sid(1), |ask| {
        Answer::status(if ask.ids[0].contains("bad") || ask.ids[0].contains("worse") {
            500
        } else {
            200
        })
    });
    world
        .until("the others arrived", 1_800 * SECOND, |world| {
            world.sinks.delivered(sid(1)).len() == 3
        })
        .await;
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_some_of_every_batch_is_not_down() {
    let world = World::with([batched(1)]);
    world.sinks.answer(sid(1), |_| Answer::takes_first(10));
    let deliverer = world.start().await;
    world.publish(ids("a", 400), &[1]).await;
    let opened = |world: &World| world.backlog(1).is_some_and(|state| state.next_probe_ms > 0);
    for _ in 0..3_600 {
        assert!(!opened(&world), "its breaker opened");
        sleep(SECOND).await;
    }
    world.until("all of them arrived", 3_600 * SECOND, World::is_empty).await;
    let delivered = world.sinks.delivered(sid(1));
    assert_eq!(delivered.len(), 400);
    assert!(delivered.values().all(|times| *times == 1), "only what failed came again");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_fails_together_is_one_outage() {
    let mut world = World::with([sink(1)]);
    world.settings.delivery.in_flight_per_sink = 64;
    world.settings.delivery.backoff_base = 8 * SECOND;
    let deliverer = world.start().await;
    world.publish(ids("well", 100), &[1]).await;
    world.until("it takes many at once", SECOND, World::is_empty).await;
    world.sinks.answer(sid(1), |_| Answer::hangs());
    let began = Instant::now();
    world.publish(ids("a", 100), &[1]).await;
    sleep(Duration::from_millis(6_500)).await;
    let first: Vec<_> =
        world.sinks.requests(sid(1)).into_iter().filter(|r| r.began >= began).collect();
    assert!(first.len() >= 40, "several at once: {}", first.len());
    let state = world.backlog(1).expect("parked");
    assert_eq!(state.failures, 5, "the rest of the burst does not count");
    let wait = state.next_probe_ms - state.opened_ms;
    assert!((0..=8_000).contains(&wait), "the first wait, not a later one: {wait} ms");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_burst_does_not_close_the_breaker() {
    let mut world = World::with([sink(1)]);
    world.settings.delivery.backoff_base = 60 * SECOND;
    world.settings.delivery.backoff_cap = 600 * SECOND;
    let deliverer = world.start().await;
    world.publish(ids("well", 12), &[1]).await;
    world.until("it takes 16 at once", SECOND, World::is_empty).await;
    // Nine fail at once; seven more are slow, and succeed after the breaker opened.
    world.sinks.answer(sid(1), |ask| match ask.nth - 12 {
        0..9 => Answer::status(503).retry_after(120 * SECOND),
        9..16 => Answer::status(200).after(2 * SECOND),
        _ => Answer::status(200),
    });
    world.publish(ids("a", 100), &[1]).await;
    sleep(60 * SECOND).await;
    assert_eq!(world.sinks.requests(sid(1)).len(), 28, "nothing is attempted while it is open");
    assert_eq!(world.sinks.delivered(sid(1)).len(), 19);
    world.until("all arrived", 600 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(1)).len(), 112);
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_back_sends_and_probes() {
    let world = World::with([sink(1)]);
    let answers = |nth| match nth {
        0..20 => Answer::status(429).retry_after(60 * SECOND),
        _ => Answer::status(503).retry_after(100 * SECOND),
    };
    world.sinks.answer(sid(1), move |ask| answers(ask.nth));
    let deliverer = world.start().await;
    world.publish(ids("a", 40), &[1]).await;
    sleep(59 * SECOND).await;
    let before = world.sinks.requests(sid(1)).len();
    assert!((1..=16).contains(&before), "only what was open already: {before}");
    assert_eq!(world.backlog(1).map(|state| state.next_probe_ms), Some(0), "429 opens nothing");
    // From the 20th request on it answers 503: the breaker opens, and probes wait for as long as they are asked.
    let open = |world: &World| world.backlog(1).is_some_and(|state| state.next_probe_ms > 0);
    world.until("it opens", 3_600 * SECOND, open).await;
    sleep(3_600 * SECOND).await;
    let requests = world.sinks.requests(sid(1));
    for (one, next) in requests.iter().zip(&requests[1..]).skip(26) {
        let gap = next.began - one.began;
        assert!(gap >= 100 * SECOND, "{gap:?}");
    }
    assert!(requests.len() > 40);
    deliverer.stop().await;
}

/// As a stream with too few shards does: of a request it takes some, or none, and says that the rest is too much.
#[tokio::test(start_paused = true)]
async fn a_sink_that_throttles_is_slowed_down_and_never_taken_for_down() {
    let mut world = World::with([batched(1)]);
    world.settings.delivery.backoff_base = SECOND;
    world.sinks.answer(sid(1), |ask| match ask.nth {
        0..40 if ask.nth % 2 == 0 => Answer::throttles_after(ask.ids.len() / 2),
        0..40 => Answer::status(429),
        _ => Answer::status(200),
    });
    let deliverer = world.start().await;
    world.publish(ids("a", 2_000), &[1]).await;
    let throttled = |world: &World| world.sinks.requests(sid(1)).len() > 40;
    while !throttled(&world) {
        let opened = world.backlog(1).map_or(0, |state| state.next_probe_ms);
        assert_eq!(opened, 0, "its breaker is closed");
        sleep(Duration::from_millis(100)).await;
    }
    let requests = world.sinks.requests(sid(1));
    // What was open at once when it said so for the first time ends; from then on one at a time, a pause after each.
    let slowed = &requests[8..40];
    assert_eq!(most_at_once(slowed), 1);
    for (one, next) in slowed.iter().zip(&slowed[1..]) {
        let gap = next.began - one.began;
        assert!(gap >= SECOND, "{gap:?}");
    }
    world.until("all arrived", 3_600 * SECOND, World::is_empty).await;
    let delivered = world.sinks.delivered(sid(1));
    assert!(delivered.len() == 2_000 && delivered.values().all(|times| *times == 1));
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_comes_back_is_drained_from_one_request_at_a_time_upwards() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(500));
    let deliverer = world.start().await;
    for _ in 0..4 {
        world.publish(ids("a", 500), &[1]).await;
    }
    sleep(60 * SECOND).await;
    let back = Instant::now();
    world.sinks.answer(sid(1), |_| Answer::status(200).after(Duration::from_millis(100)));
    world.until("all arrived", 3_600 * SECOND, World::is_empty).await;
    let requests: Vec<_> =
        world.sinks.requests(sid(1)).into_iter().filter(|r| r.began >= back).collect();
    assert_eq!(most_at_once(&requests[..2]), 1, "the probe, then one");
    assert!(most_at_once(&requests[..6]) <= 3);
    assert!(most_at_once(&requests) >= 30, "it grows");
    assert!(world.backlog(1).is_none());
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn fresh_events_do_not_wait_while_parked_ones_are_loaded() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(503));
    let deliverer = world.start().await;
    world.publish(ids("old", 3_000), &[1]).await;
    let parked = |world: &World| world.backlog(1).is_some_and(|state| state.events == 3_000);
    world.until("all is parked", 60 * SECOND, parked).await;
    world.troubles.unparking_ms.store(2_000, Ordering::Relaxed);
    world.sinks.answer(sid(1), |_| Answer::status(200));
    let is_back = |world: &World| !world.sinks.delivered(sid(1)).is_empty();
    world.until("it is back, and drained", 600 * SECOND, is_back).await;
    for n in 0..5 {
        let (id, began) = (format!("new{n}"), Instant::now());
        world.publish([id.clone()], &[1]).await;
        world.until("it came", 60 * SECOND, |world| world.sinks.has(sid(1), &id)).await;
        assert!(began.elapsed() < SECOND, "it waited {:?} for a load", began.elapsed());
    }
    assert!(world.backlog(1).is_some(), "the backlog was there all the while");
    world.until("all is delivered", 600 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(1)).len(), 3_005);
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_an_events_own_delays_that_event_alone() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |ask| {
        Answer::status(if ask.ids[0] == "a-7" && ask.nth < 120 { 500 } else { 200 })
    });
    let deliverer = world.start().await;
    let began = Instant::now();
    world.publish(ids("a", 100), &[1]).await;
    world
        .until("the others arrived", SECOND, |world| world.sinks.delivered(sid(1)).len() == 99)
        .await;
    for n in 0..60 {
        world.publish(ids(&format!("later{n}"), 1), &[1]).await;
        sleep(SECOND).await;
        assert!(world.sinks.has(sid(1), &format!("later{n}-0")), "after {:?}", began.elapsed());
    }
    world.until("it arrived too", 1_200 * SECOND, World::is_empty).await;
    assert!(world.sinks.delivered(sid(1)).values().all(|times| *times == 1));
    deliverer.stop().await;
}
