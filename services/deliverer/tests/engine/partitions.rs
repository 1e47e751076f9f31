//! Partitions beside one another: one whose server is gone, one that cannot be begun, very many of them; and what a dead owner
//! left is read as fast as it is survived.

use std::{sync::atomic::Ordering, time::Duration};

use millrace_domain::Partition;
use tokio::time::{Instant, sleep};

use crate::world::{PARTITIONS, World, home, ids, sid, sink};

const SECOND: Duration = Duration::from_secs(1);

/// A partition that is not [`home`].
fn elsewhere() -> Partition {
    Partition((home().0 + 1) % PARTITIONS)
}

fn takeovers(world: &World, partition: Partition) -> u32 {
    world.queue.state().takeovers.get(&partition.0).copied().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_for_longer_than_a_lease_costs_the_others_nothing() {
    let mut world = World::with([sink(1), sink(2)]);
    // As they are by default: a call that waits for a server in vain takes a part of a lease.
    world.settings.deliverer.lease = 10 * SECOND;
    world.settings.deliverer.renew = 3 * SECOND;
    let deliverer = world.start().await;
    world.publish_in(elsewhere(), ids("before", 1), &[2]).await;
    world.until("it is served", 10 * SECOND, |w| w.sinks.has(sid(2), "before-0")).await;
    world.troubles.silence([elsewhere()]);
    world.publish_in(elsewhere(), ids("meanwhile", 5), &[2]).await;
    for n in 0..200 {
        let (name, began) = (format!("well{n}"), Instant::now());
        world.publish(ids(&name, 1), &[1]).await;
        let id = format!("{name}-0");
        world.until("the others go on", SECOND, |w| w.sinks.has(sid(1), &id)).await;
        sleep(Duration::from_millis(200).saturating_sub(began.elapsed())).await;
    }
    assert!(!world.sinks.has(sid(2), "meanwhile-0"), "its server is gone");
    assert_eq!(takeovers(&world, home()), 1, "its lease was renewed all the time");
    world.troubles.silence([]);
    world.until("what waited arrived", 60 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(2)).len(), 6);
    assert!(world.sinks.delivered(sid(1)).values().all(|times| *times == 1));
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_begun_is_given_back_and_keeps_no_other_from_being_served() {
    let world = World::with([sink(1), sink(2)]);
    world.troubles.hide([elsewhere()]);
    world.publish_in(elsewhere(), ids("waits", 1), &[2]).await;
    world.publish(ids("well", 1), &[1]).await;
    let deliverer = world.start().await;
    world.until("the other is served", 2 * SECOND, |w| w.sinks.has(sid(1), "well-0")).await;
    for _ in 0..5 {
        let taken = takeovers(&world, elsewhere());
        let again = |w: &World| takeovers(w, elsewhere()) > taken && !w.queue.is_owned(elsewhere());
        world.until("it is tried again, and given back", 10 * SECOND, again).await;
    }
    assert!(!world.sinks.has(sid(2), "waits-0"));
    assert_eq!(takeovers(&world, home()), 1);
    world.troubles.hide([]);
    world.until("it is served", 10 * SECOND, World::is_empty).await;
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_partitions_are_begun_on_a_slow_queue_and_none_is_lost_meanwhile() {
    const MANY: u16 = 512;
    let mut world = World::with([sink(1)]);
    world.settings.queue.partitions = MANY;
    // Thirty-two at once: longer than a lease for all of them.
    world.troubles.slow_ms.store(600, Ordering::Relaxed);
    let deliverer = world.start().await;
    let all = |w: &World| (0..MANY).all(|number| w.queue.is_owned(Partition(number)));
    world.until("all are owned", 60 * SECOND, all).await;
    for number in 0..MANY {
        world.publish_in(Partition(number), ids(&format!("p{number}"), 1), &[1]).await;
    }
    let arrived = |w: &World| w.sinks.delivered(sid(1)).len() == usize::from(MANY);
    world.until("all are served", 120 * SECOND, arrived).await;
    sleep(30 * SECOND).await;
    let lost: Vec<_> =
        (0..MANY).map(Partition).filter(|number| takeovers(&world, *number) != 1).collect();
    assert!(lost.is_empty(), "leases ran out while others were begun: {lost:?}");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_owner_left_is_read_on_as_soon_as_there_is_room() {
    let world = World::with([sink(1)]);
    let first = world.start().await;
    world.publish(ids("before", 1), &[1]).await;
    world.until("it is served", 10 * SECOND, World::is_empty).await;
    first.kill();
    for n in 0..3_000 {
        world.publish(ids(&format!("left{n}"), 1), &[1]).await;
    }
    let second = world.start().await;
    // A reader that is not woken looks once a second, and a probation has room for few.
    world.until("all of it arrived", 15 * SECOND, World::is_empty).await;
    assert_eq!(world.sinks.delivered(sid(1)).len(), 3_001);
    second.stop().await;
}
