//! Redis without room: publishes are refused and told so; what is in it is settled, parked, taken over and drained all the
//! same; with room again, all recovers.

use millrace_proto::v1::publish_result::Outcome;
use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    redis::ServerOptions,
};
use millrace_tests::{
    Kind, Load, Mode, Options, Stack, TYPE, Verdict, arrivals::queue_is_empty, cloud_event, event,
    scaled,
};

const LEASE: [(&str, &str); 2] = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];

#[tokio::test]
async fn a_full_redis_refuses_publishes_and_everything_else_goes_on() {
    let redis = Some(ServerOptions::default());
    let options = Options { redis, ..Options::default().set(&LEASE) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(2, &receiver).await;
    stack.subscribed(&receiver, "/own").await;
    for round in 0..scaled(2, 20) {
        // One sink is sick, the other slow: some events wait in the backlog, some in `ready`, some are on their way.
        receiver.answer("/tenant-100", Answer::status(503));
        let slow = std::time::Duration::from_millis(500);
        receiver.answer("/tenant-101", Answer::ok().after(slow));
        let load = Load::start_from(round * 100_000, stack.platform_publishers(), &accounts);
        load.progress(300).await;
        stack.servers().redis().configure("maxmemory", "1mb").await.expect("it takes that");
        refuses(&stack).await;
        let published = load.stop().await;
        if round % 2 == 1 {
            stack.process(Kind::Deliverer(0)).kill();
            stack.process(Kind::Deliverer(0)).restart().await;
        }
        // Parks are writes, too.
        queue_is_empty(&mut stack).await;
        receiver.answer("/tenant-100", Answer::ok());
        receiver.answer("/tenant-101", Answer::ok());
        let verdict = Verdict::on(&mut stack, published, &[&receiver]).await;
        assert!(verdict.dropped.is_empty());
        refuses(&stack).await;
        stack.servers().redis().configure("maxmemory", "0").await.expect("it takes that");
        let id = format!("own-{round}");
        eventually("there is room again", || async {
            let answer = stack.publisher(0).publish(vec![event(&id)]).await.ok()?;
            matches!(answer.results[0].outcome, Some(Outcome::Accepted(_))).then_some(())
        })
        .await;
        receiver.until("it arrives", |receiver| receiver.accepted_ids().contains(&id)).await;
    }
    queue_is_empty(&mut stack).await;
}

/// Waits until publishes are refused with what says why and when to come back.
async fn refuses(stack: &Stack) {
    let publisher = stack.publisher(0);
    eventually("publishes are refused", || async {
        let body = cloud_event(TYPE, "refused").to_string();
        let answer =
            publisher.post(&[("content-type", "application/cloudevents+json")], body).await;
        assert!([202, 429].contains(&answer.status), "{answer:?}");
        (answer.status == 429).then_some(())
    })
    .await;
}
