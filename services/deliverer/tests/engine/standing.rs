//! Sinks that are paused or suspended, windows of their own, and both changed while events wait.

use std::time::Duration;

use millrace_proto::internal::DropReason;
use tokio::time::sleep;

use crate::{
    sinks::Answer,
    world::{World, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn expired(world: &World, number: u128) -> usize {
    let drops = &world.queue.state().drops;
    let of =
        drops.iter().filter(|drop| drop.sink == millrace_queue::chunk::sink_bytes(sid(number)));
    of.filter(|drop| drop.reason() == DropReason::Expired).count()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_paused_sink_and_all_is_once_it_goes_on() {
    let mut paused = sink(1);
    paused.paused = true;
    let world = World::with([paused]);
    let deliverer = world.start().await;
    world.publish(ids("a", 100), &[1]).await;
    sleep(3 * HOUR).await;
    assert!(world.sinks.requests(sid(1)).is_empty());
    assert_eq!(world.backlog(1).unwrap().events, 100);
    assert!(world.queue.state().ready.is_empty(), "they hold no chunk up");
    world.configure(sink(1));
    world.until("all arrived", 10 * SECOND, World::is_empty).await;
    assert!(world.sinks.delivered(sid(1)).values().all(|times| *times == 1));
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_of_a_suspended_account_are_kept_for_their_window_and_those_of_a_closed_one_given_up()
 {
    let world = World::with([sink(1)]);
    world.set_account("suspended");
    let deliverer = world.start().await;
    world.publish(ids("a", 10), &[1]).await;
    sleep(3 * HOUR).await;
    world.publish(ids("b", 10), &[1]).await;
    sleep(2 * HOUR).await;
    assert_eq!(
        (expired(&world, 1), world.backlog(1).unwrap().events),
        (10, 10),
        "a is over 4 h old"
    );
    world.set_account("active");
    world.until("b arrived", 10 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(1)).len(), 10);
    world.set_account("suspended");
    world.publish(ids("c", 10), &[1]).await;
    sleep(HOUR).await;
    world.set_account("closed");
    world.until("c is given up", 10 * SECOND, World::is_empty).await;
    assert_eq!(world.queue.state().drops.len(), 20);
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_longer_than_the_window_drops_with_a_report() {
    let mut paused = sink(1);
    (paused.paused, paused.delivery_window_ms) = (true, 60_000);
    let world = World::with([paused]);
    let deliverer = world.start().await;
    world.publish(ids("a", 100), &[1]).await;
    sleep(50 * SECOND).await;
    assert_eq!(expired(&world, 1), 0);
    sleep(50 * SECOND).await;
    assert_eq!((expired(&world, 1), world.is_empty()), (100, true));
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sinks_own_window_counts_and_one_that_changes_holds_for_what_is_parked() {
    let with_window = |number, seconds: u64| {
        let mut sink = sink(number);
        sink.delivery_window_ms = seconds * 1_000;
        sink
    };
    let world =
        World::with([with_window(1, 60), with_window(2, 0), with_window(3, 0), with_window(4, 60)]);
    (1..=4).for_each(|number| world.sinks.answer(sid(number), |_| Answer::status(503)));
    let deliverer = world.start().await;
    world.publish(ids("a", 20), &[1, 2, 3, 4]).await;
    sleep(30 * SECOND).await;
    world.configure(with_window(4, 7 * 24 * 3_600));
    sleep(90 * SECOND).await;
    assert_eq!([1, 2, 3, 4].map(|number| expired(&world, number)), [20, 0, 0, 0]);
    world.configure(with_window(3, 60));
    sleep(60 * SECOND).await;
    assert_eq!([2, 3, 4].map(|number| expired(&world, number)), [0, 20, 0], "shortened");
    sleep(5 * HOUR).await;
    assert_eq!([2, 4].map(|number| expired(&world, number)), [20, 0]);
    // Shortly before the longest window there is closes, nothing is forgotten.
    world.queue.jump(7 * 24 * 3_600_000 - 7 * 3_600_000);
    sleep(60 * SECOND).await;
    world.sinks.answer(sid(4), |_| Answer::status(200));
    world.until("all arrived", HOUR, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(4)).len(), 20, "lengthened");
    deliverer.stop().await;
}

/// As after a restore from a dump that is older than the sinks.
#[tokio::test(start_paused = true)]
async fn what_waits_for_sinks_that_nobody_knows_any_more_is_given_up_with_reports_when_their_window_closes()
 {
    let mut patient = sink(2);
    patient.delivery_window_ms = 6 * 3_600_000;
    let world = World::with([sink(1), patient.clone()]);
    for number in [1, 2] {
        world.sinks.answer(sid(number), |_| Answer::status(503));
    }
    let deliverer = world.start().await;
    world.publish(ids("a", 20), &[1, 2]).await;
    sleep(30 * SECOND).await;
    for number in [1, 2] {
        world.forget(number);
    }
    sleep(SECOND).await;
    let asked = [1, 2].map(|number| world.sinks.requests(sid(number)).len());
    // Of one that was never heard of, too.
    world.publish(ids("b", 5), &[1, 2, 9]).await;
    sleep(3 * HOUR).await;
    assert_eq!(asked, [1, 2].map(|number| world.sinks.requests(sid(number)).len()), "none is sent");
    let parked = |number| world.backlog(number).map_or(0, |backlog| backlog.events);
    assert_eq!([1, 2, 9].map(parked), [25, 25, 5], "all of it is held");
    assert!(world.queue.state().drops.is_empty());
    sleep(HOUR + 60 * SECOND).await;
    assert_eq!([1, 2, 9].map(parked), [0, 25, 0]);
    assert_eq!([1, 2, 9].map(|number| expired(&world, number)), [25, 0, 5], "each is told of once");
    world.configure(patient);
    world.sinks.answer(sid(2), |_| Answer::status(200));
    world.until("all arrived", HOUR, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(2)).len(), 25, "its own window is longer");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_sink_that_nobody_knows_outlives_its_deliverer_and_is_told_of_once() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(503));
    let deliverer = world.start().await;
    world.publish(ids("a", 20), &[1]).await;
    sleep(30 * SECOND).await;
    world.forget(1);
    sleep(2 * HOUR).await;
    deliverer.kill();
    let next = world.start().await;
    sleep(HOUR).await;
    assert_eq!((world.backlog(1).unwrap().events, expired(&world, 1)), (20, 0));
    world.until("its window closes", 2 * HOUR, World::is_empty).await;
    assert_eq!(expired(&world, 1), 20);
    next.stop().await;
}
