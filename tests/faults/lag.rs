//! A deliverer whose configuration lags: it keeps what it does not know, and delivers it once it does.

use millrace_testkit::{eventually, receiver::Receiver};
use millrace_tests::{
    Load, Mode, Options, Published, Stack, Verdict, arrivals::queue_is_empty, scaled,
};

#[tokio::test]
async fn events_for_a_sink_that_the_deliverer_does_not_know_yet_wait_for_it() {
    let mut stack = Stack::start(Mode::Servers, Options { gate: true, ..Options::default() }).await;
    let receiver = Receiver::start().await;
    let known = stack.tenant(11, &receiver).await;
    for round in 0..scaled(2, 20) {
        stack.servers().gate().shut();
        let news = vec![stack.tenant(20 + round, &receiver).await, known.clone()];
        let load = Load::start_from(round * 100_000, stack.platform_publishers(), &news);
        load.progress(200).await;
        let published = load.stop().await;
        // Those of the sink that is known arrive; the others wait, and nobody waits for them.
        receiver
            .until("half of them arrive", |it| arrived(it, &published) == half(&published))
            .await;
        let servers = &*stack.servers();
        eventually("the others are parked", || async {
            (servers.parked_events().await == half(&published) as u64).then_some(())
        })
        .await;
        queue_is_empty(&mut stack).await;
        assert_eq!(arrived(&receiver, &published), half(&published));
        stack.servers().gate().open();
        let verdict = Verdict::on(&mut stack, published, &[&receiver]).await;
        assert_eq!((verdict.duplicates, verdict.dropped.len()), (0, 0));
    }
}

fn arrived(receiver: &Receiver, published: &Published) -> usize {
    receiver.accepted_ids().intersection(&published.acknowledged).count()
}

fn half(published: &Published) -> usize {
    published.acknowledged.len() / 2
}
