//! What is told of turns in a sink's health.

use std::time::Duration;

use millrace_proto::internal::SinkTurn;

use crate::{
    sinks::Answer,
    world::{World, ids, sid, sink},
};

const SECOND: Duration = Duration::from_secs(1);

fn turns(world: &World) -> Vec<SinkTurn> {
    world.queue.state().turns.iter().map(millrace_proto::internal::SinkReport::turn).collect()
}

async fn all_sent(world: &World) {
    world.until("all is settled", 60 * SECOND, World::is_empty).await;
}

#[tokio::test(start_paused = true)]
async fn that_a_sink_is_gone_is_told_once_until_it_gets_something() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(410));
    let deliverer = world.start().await;
    world.publish(ids("a", 100), &[1]).await;
    all_sent(&world).await;
    assert_eq!(world.queue.state().drops.len(), 100, "each is given up");
    assert_eq!(turns(&world), [SinkTurn::Gone]);
    world.sinks.answer(sid(1), |_| Answer::status(200));
    world.publish(ids("b", 100), &[1]).await;
    all_sent(&world).await;
    world.sinks.answer(sid(1), |_| Answer::status(410));
    world.publish(ids("c", 100), &[1]).await;
    all_sent(&world).await;
    assert_eq!(turns(&world), [SinkTurn::Gone, SinkTurn::Recovered, SinkTurn::Gone]);
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_was_changed_and_is_gone_still_is_told_again() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(410));
    let deliverer = world.start().await;
    world.publish(ids("a", 10), &[1]).await;
    all_sent(&world).await;
    let mut changed = sink(1);
    changed.configuration_json = changed.configuration_json.replace("a.example", "b.example");
    world.configure(changed);
    world.publish(ids("b", 10), &[1]).await;
    all_sent(&world).await;
    assert_eq!(turns(&world), [SinkTurn::Gone, SinkTurn::Gone]);
    deliverer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_410_to_what_tells_of_turns_is_none() {
    let world = World::with([sink(1)]);
    world.sinks.answer(sid(1), |_| Answer::status(410));
    let deliverer = world.start().await;
    world.publish_of("io.millrace.sink.failing", ids("a", 10), &[1]).await;
    all_sent(&world).await;
    assert_eq!(world.queue.state().drops.len(), 10);
    assert_eq!(turns(&world), []);
    world.publish(ids("b", 10), &[1]).await;
    all_sent(&world).await;
    assert_eq!(turns(&world), [SinkTurn::Gone], "of other events it is");
    deliverer.stop().await;
}
