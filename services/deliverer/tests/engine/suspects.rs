//! Suspects that are noted and not run, run and not noted any more, or two that kill.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_domain::SinkSid;
use millrace_proto::internal::ConfigSink;
use millrace_queue::{Class, Member, Place, Queue, Token, chunk};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    deaths::{noted, quarantined, requests},
    sinks::Answer,
    world::{World, home, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_millis(200);

fn paused(number: u128) -> ConfigSink {
    ConfigSink { paused: true, ..sink(number) }
}

/// Publishes a chunk of one event, and waits until it is parked.
async fn park(world: &World, id: String, number: u128) {
    let parked = |world: &World| world.backlog(number).map_or(0, |state| state.events);
    let before = parked(world);
    world.publish([id], &[number]).await;
    world.until("it is parked", 10 * SECOND, |world| parked(world) > before).await;
}

/// What is noted of chunks on a step.
async fn notes(world: &World) -> Vec<(Place, u32)> {
    let mut notes = world.queue.inherit(home()).await.unwrap().notes;
    notes.retain(|(_, number)| number & 0xf > 0);
    notes
}

/// Starts a deliverer whose `nth` note is done and not answered, and stops it then.
async fn cut_off(world: &World, nth: u32) {
    let unanswered = &world.troubles.unanswered_note;
    unanswered.store(nth, Ordering::Relaxed);
    let deliverer = world.start().await;
    let cut_off = |_: &World| unanswered.load(Ordering::Relaxed) == 0;
    world.until("it has noted", 60 * SECOND, cut_off).await;
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_and_not_begun_before_a_release_is_not_held_against_it_on_any_step() {
    for parked in [false, true] {
        let world = World::with([paused(1)]);
        world.sinks.answer(sid(1), |_| Answer::hangs());
        if parked {
            let deliverer = world.start().await;
            park(&world, "a".to_owned(), 1).await;
            deliverer.stop().await;
        } else {
            world.publish(["a".to_owned()], &[1]).await;
        }
        world.configure(sink(1));
        let (mut deaths, mut released) = (0, 0);
        while quarantined(&world).await.is_empty() {
            let before = notes(&world).await;
            // Run with others it is noted once; alone, once it was held back; not again, while it is.
            let times = match before.first().map(|(_, number)| number & 0xf) {
                None => u32::from(deaths == 1),
                Some(0..3) => 1,
                Some(3 | 4) => 3,
                Some(_) => 2,
            };
            for nth in 1..=times {
                cut_off(&world, nth).await;
                assert_eq!(notes(&world).await, before, "cut off after note {nth} of {times}");
                released += 1;
            }
            let (deliverer, sent) = (world.start().await, requests(&world, 1));
            let done = |world: &World| {
                requests(world, 1) > sent || !world.queue.state().quarantined.is_empty()
            };
            world.until("it is sent, or not again", 60 * SECOND, done).await;
            deaths += usize::from(requests(&world, 1) > sent);
            deliverer.kill();
        }
        // After a release of what stood in no `ready` nothing is suspect but what is noted: the next death is the first again.
        let most = if parked { 6 } else { 5 };
        assert_eq!((deaths, released), (most, 2 + 3 + 3 + 2), "parked: {parked}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_through_since_an_owner_lives_that_seemed_to_be_dead_is_not_held_back_any_more() {
    const LIVES: u32 = 7;
    let world = World::with([paused(1), sink(2)]);
    world.sinks.answer(sid(2), |_| Answer::status(200).after(8 * SECOND));
    let first = world.start().await;
    park(&world, "parked".to_owned(), 1).await;
    first.stop().await;
    world.publish(["slow".to_owned()], &[2]).await;
    let (parked, ready) = {
        let state = world.queue.state();
        let (_, id) = *state.parked[&(home().0, sid(1), false)].keys().next().unwrap();
        let (_, entry) = *state.ready.keys().next().unwrap();
        (Place::Parked(sid(1), Class::Backlog, id), Place::Ready(entry))
    };
    let token = Token(Uuid::from_u64_pair(1, LIVES.into()));
    world.queue.acquire(&[home()], token, SECOND).await.unwrap();
    world.queue.note(home(), token, &[(parked, 3 | LIVES << 8), (ready, 1)]).await.unwrap();
    world.queue.release(&[home()], token).await.unwrap();
    let deliverer = world.start().await;
    // While another suspect is in hand none begins to be held back.
    world.until("the other is in hand", SECOND / 2, |world| requests(world, 2) == 1).await;
    world.configure(sink(1));
    sleep(SECOND / 10).await;
    let owner = world.queue.state().members.keys().next().cloned().unwrap();
    let other = (1..).map(|n| Uuid::from_u64_pair(n, LIVES.into()).to_string());
    let leaves_home = |other: &String| home().owner([&*owner, other]) == Some(&*owner);
    let other = { other }.find(leaves_home).unwrap();
    world
        .queue
        .announce(&Member { id: other, address: String::new() }, 600 * SECOND)
        .await
        .unwrap();
    world.until("it is through", 6 * SECOND, |world| world.sinks.has(sid(1), "parked")).await;
    assert!(!world.sinks.has(sid(2), "slow"), "the other is in hand still");
    world.until("all are", 60 * SECOND, World::is_empty).await;
    sleep(60 * SECOND).await;
    assert_eq!(noted(&world).await, 0);
    deliverer.stop().await;
}

/// The ids of what is in quarantine.
fn ids_in_quarantine(world: &World) -> BTreeSet<String> {
    let state = world.queue.state();
    let chunks = state.quarantined.values();
    let events = chunks.flat_map(|(_, bytes)| chunk::decode(bytes.clone()).unwrap().events);
    events.map(|event| event.id).collect()
}

#[tokio::test(start_paused = true)]
async fn two_parked_chunks_that_kill_in_two_lanes_are_found_and_nothing_goes_with_them() {
    let world = World::with((1..=3).map(paused));
    let deliverer = world.start().await;
    let (mut innocent, mut poison) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..12 {
        for number in 1..=3 {
            let kills = n == 5 && number < 3;
            let id = format!("{}{number}-{n}", if kills { "poison" } else { "a" });
            park(&world, id.clone(), number).await;
            if kills {
                poison.insert(id)
            } else {
                innocent.insert((sid(number), id))
            };
        }
    }
    deliverer.stop().await;
    let died = Arc::new(AtomicBool::new(false));
    for number in 1..=3 {
        let died = Arc::clone(&died);
        world.sinks.answer(sid(number), move |ask| {
            let kills = ask.ids.iter().any(|id| id.starts_with("poison"));
            died.fetch_or(kills, Ordering::Relaxed);
            Answer::status(200).after(SLOW)
        });
        world.configure(sink(number));
    }
    let (mut deaths, began) = (0, Instant::now());
    while !world.is_empty() {
        died.store(false, Ordering::Relaxed);
        let deliverer = world.start().await;
        while !died.load(Ordering::Relaxed) && !world.is_empty() {
            assert!(began.elapsed() < 3_600 * SECOND, "after {deaths} deaths it goes on");
            sleep(SECOND / 1_000).await;
        }
        deaths += usize::from(died.load(Ordering::Relaxed));
        deliverer.kill();
    }
    assert_eq!(ids_in_quarantine(&world), poison, "after {deaths} deaths");
    assert!(deaths <= 10, "{deaths} died");
    let delivered =
        |sink: SinkSid| world.sinks.delivered(sink).into_keys().map(move |id| (sink, id));
    let delivered: BTreeSet<_> = (1..=3).flat_map(|number| delivered(sid(number))).collect();
    assert!(innocent.is_subset(&delivered), "{:?}", innocent.difference(&delivered));
    assert_eq!(noted(&world).await, 0);
}
