//! Deliverers that die again and again: what becomes of what they had in hand, and of everything else.

use std::{collections::BTreeSet, time::Duration};

use millrace_queue::{Place, Queue};
use tokio::time::{Instant, sleep};

use crate::{
    sinks::Answer,
    world::{World, home, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_millis(200);

pub(crate) async fn quarantined(world: &World) -> Vec<Place> {
    let found = world.queue.quarantined(home()).await.unwrap();
    found.into_iter().map(|chunk| chunk.place).collect()
}

pub(crate) async fn noted(world: &World) -> usize {
    world.queue.inherit(home()).await.unwrap().notes.len()
}

pub(crate) fn requests(world: &World, number: u128) -> usize {
    world.sinks.requests(sid(number)).len()
}

/// Publishes chunks of two events to a sink; gives their ids.
async fn publish_chunks(world: &World, name: &str, chunks: usize, number: u128) -> Vec<String> {
    let all = ids(name, chunks * 2);
    for chunk in all.chunks(2) {
        world.publish(chunk.to_vec(), &[number]).await;
    }
    all
}

/// Starts a deliverer and kills it as soon as requests to the sink were answered and others are open.
async fn live_and_die(world: &World, number: u128) {
    let (deliverer, before) = (world.start().await, world.sinks.delivered(sid(number)).len());
    let what = "one more is delivered";
    world.until(what, 30 * SECOND, |w| w.sinks.delivered(sid(number)).len() > before).await;
    let before = requests(world, number);
    world.until("a request is open", 30 * SECOND, |w| requests(w, number) > before).await;
    deliverer.kill();
}

#[tokio::test(start_paused = true)]
async fn fifty_kills_in_a_row_quarantine_nothing_and_hold_up_nothing_that_is_fresh() {
    let world = World::with([sink(1), sink(2)]);
    world.sinks.answer(sid(1), |_| Answer::status(200).after(SLOW));
    let mut accepted = BTreeSet::new();
    for kill in 0..50 {
        accepted.extend(publish_chunks(&world, &format!("k{kill}"), 50, 1).await);
        live_and_die(&world, 1).await;
    }
    assert!(noted(&world).await > 500, "much was in hand at deaths");
    let last = world.start().await;
    let lease = world.settings.deliverer.lease;
    world.until("it owns the partition", lease * 2, |world| world.queue.is_owned(home())).await;
    sleep(lease).await;
    world.publish(ids("other", 1), &[2]).await;
    let fresh = publish_chunks(&world, "fresh", 5, 1).await;
    accepted.extend(fresh.iter().cloned());
    let all_fresh = |world: &World| fresh.iter().all(|id| world.sinks.has(sid(1), id));
    world.until("what is fresh is delivered", 5 * SECOND, all_fresh).await;
    assert!(world.sinks.has(sid(2), "other-0"));
    let began = Instant::now();
    world.until("everything is delivered", 60 * SECOND, World::is_empty).await;
    println!("all that was in hand at deaths is through after {:?}", began.elapsed());
    assert_eq!(quarantined(&world).await, []);
    assert_eq!(noted(&world).await, 0);
    let delivered: BTreeSet<_> = world.sinks.delivered(sid(1)).into_keys().collect();
    assert_eq!(delivered, accepted);
    last.stop().await;
}

/// Starts deliverers that die when they send to sink 1, until one survives; tells how many died.
async fn deaths_of_poison(world: &World) -> usize {
    for deaths in 0..20 {
        let (deliverer, before) = (world.start().await, requests(world, 1));
        loop {
            if requests(world, 1) > before {
                deliverer.kill();
                break;
            }
            if !quarantined(world).await.is_empty() {
                world.until("all others are through", 120 * SECOND, World::is_empty).await;
                deliverer.stop().await;
                return deaths;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
    panic!("nobody survives");
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_kills_is_found_among_hundreds_after_six_deaths_and_nobody_goes_with_it() {
    let world = World::with([sink(1), sink(2)]);
    world.sinks.answer(sid(1), |_| Answer::hangs());
    world.sinks.answer(sid(2), |_| Answer::status(200).after(SLOW));
    publish_chunks(&world, "before", 150, 2).await;
    world.publish(ids("poison", 1), &[1]).await;
    publish_chunks(&world, "after", 150, 2).await;
    let deaths = deaths_of_poison(&world).await;
    assert!((5..=6).contains(&deaths), "{deaths} died");
    assert_eq!(quarantined(&world).await.len(), 1);
    assert_eq!(world.sinks.delivered(sid(2)).len(), 600, "all others arrived");
    assert_eq!(noted(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn two_chunks_that_kill_do_not_acquit_each_other() {
    let world = World::with([sink(1), sink(2)]);
    world.sinks.answer(sid(1), |_| Answer::hangs());
    for name in ["first", "second"] {
        world.publish(ids(name, 1), &[1]).await;
        publish_chunks(&world, name, 20, 2).await;
    }
    let mut deaths = deaths_until(&world, 1).await;
    deaths += deaths_until(&world, 2).await;
    assert!(deaths <= 10, "{deaths} died");
    let last = world.start().await;
    world.until("all others are through", 120 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(2)).len(), 80);
    assert_eq!(quarantined(&world).await.len(), 2);
    last.stop().await;
}

/// Starts deliverers that die when they send to sink 1, until so many chunks are in quarantine; tells how many died.
async fn deaths_until(world: &World, chunks: usize) -> usize {
    let mut deaths = 0;
    while quarantined(world).await.len() < chunks {
        let (deliverer, before) = (world.start().await, requests(world, 1));
        while requests(world, 1) == before && quarantined(world).await.len() < chunks {
            sleep(Duration::from_millis(1)).await;
        }
        deaths += usize::from(requests(world, 1) > before);
        assert!(deaths < 30, "it is not found");
        deliverer.kill();
    }
    deaths
}

#[tokio::test(start_paused = true)]
async fn what_a_hanging_sink_had_in_hand_at_deaths_holds_up_no_other_sink_for_long() {
    let world = World::with([sink(1), sink(2)]);
    world.sinks.answer(sid(1), |_| Answer::hangs());
    world.sinks.answer(sid(2), |_| Answer::status(200).after(SLOW));
    for chunk in 0..60 {
        publish_chunks(&world, &format!("hangs{chunk}"), 1, 1).await;
        publish_chunks(&world, &format!("well{chunk}"), 1, 2).await;
    }
    for _ in 0..2 {
        let (deliverer, before) = (world.start().await, requests(&world, 2));
        world.until("requests are open", 30 * SECOND, |w| requests(w, 2) > before).await;
        deliverer.kill();
    }
    assert!(noted(&world).await > 60, "of both sinks something was in hand");
    let last = world.start().await;
    let well = |world: &World| world.sinks.delivered(sid(2)).len() == 120;
    world.until("the other sink has its events", 30 * SECOND, well).await;
    world.sinks.answer(sid(1), |_| Answer::status(200));
    world.until("both have", 600 * SECOND, World::is_empty).await;
    assert_eq!((quarantined(&world).await.len(), noted(&world).await), (0, 0));
    last.stop().await;
}
