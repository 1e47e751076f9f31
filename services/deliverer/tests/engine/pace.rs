//! Sinks that ask for a pace: events a second, requests at once; changed while they are sent to.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    sinks::{Answer, Request, most_at_once},
    world::{World, batched, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);

/// Most events that were sent within `span`.
fn most_within(requests: &[Request], span: Duration) -> usize {
    let in_span = |from: Instant| {
        let within = requests.iter().filter(|r| r.began >= from && r.began < from + span);
        within.map(|request| request.ids.len()).sum()
    };
    requests.iter().map(|request| in_span(request.began)).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_kept_by_fresh_events_and_backlog_together() {
    for limited in [sink(1), batched(1)] {
        let mut limited = limited;
        limited.rate_limit = 20;
        let world = World::with([limited]);
        let deliverer = world.start().await;
        let began = Instant::now();
        for _ in 0..10 {
            world.publish(ids("a", 40), &[1]).await;
            sleep(SECOND).await;
        }
        world
            .until("what lingers is parked", 10 * SECOND, |world| {
                world.queue.state().ready.is_empty()
            })
            .await;
        sleep(began + 20 * SECOND - Instant::now()).await;
        let requests = world.sinks.requests(sid(1));
        let sent: usize = requests.iter().map(|request| request.ids.len()).sum();
        assert!((380..=401).contains(&sent), "{sent} in 20 s");
        for seconds in [1, 5] {
            let most = most_within(&requests, seconds * SECOND);
            let allowed = 20 * (seconds as usize + 1);
            assert!(most <= allowed, "{most} within {seconds} s");
        }
        deliverer.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_carries_only_what_the_rate_allows_and_events_are_gathered_for_it() {
    let mut limited = batched(1);
    limited.rate_limit = 8;
    let world = World::with([limited]);
    let deliverer = world.start().await;
    world.publish(ids("a", 200), &[1]).await;
    sleep(20 * SECOND).await;
    let requests = world.sinks.requests(sid(1));
    assert!(requests.iter().all(|request| request.ids.len() <= 8));
    assert!(requests.len() <= 85, "about four a second: {}", requests.len());
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_limits_is_followed_at_once() {
    let mut limited = sink(1);
    limited.rate_limit = 1;
    let world = World::with([limited]);
    world.sinks.answer(sid(1), |_| Answer::status(200).after(Duration::from_millis(50)));
    let deliverer = world.start().await;
    world.publish(ids("a", 400), &[1]).await;
    sleep(10 * SECOND).await;
    assert!(world.sinks.delivered(sid(1)).len() <= 11);
    let changed = Instant::now();
    let mut slower = sink(1);
    slower.max_concurrency = 2;
    world.configure(slower);
    world.until("all arrived", 60 * SECOND, World::is_empty).await;
    let after: Vec<_> =
        world.sinks.requests(sid(1)).into_iter().filter(|r| r.began >= changed).collect();
    assert_eq!(most_at_once(&after), 2);
    let took = changed.elapsed();
    assert!(took < 15 * SECOND, "two at once, 50 ms each: {took:?}");
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_adds_no_second_burst() {
    let mut limited = sink(1);
    limited.rate_limit = 10;
    let world = World::with([limited]);
    let mut deliverer = world.start().await;
    let began = Instant::now();
    for n in 0..10 {
        world.publish(ids(&format!("{n}"), 50), &[1]).await;
        sleep(SECOND).await;
        let next = world.start().await;
        deliverer.stop().await;
        deliverer = next;
    }
    let sent = world.sinks.requests(sid(1)).len();
    let allowed = 10 * usize::try_from(began.elapsed().as_secs()).unwrap() + 20;
    assert!(sent <= allowed, "{sent} of {allowed}");
    deliverer.stop().await;
}
