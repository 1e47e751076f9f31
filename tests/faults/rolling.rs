//! A rolling restart of everything under load: nothing is lost, nothing is sent twice.

use millrace_testkit::receiver::Receiver;
use millrace_tests::{
    Kind, Load, Mode, Options, Random, Stack, Verdict, arrivals::queue_is_empty, scaled,
};
use tokio::time::sleep;

#[tokio::test]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    let options = Options { routers: 2, deliverers: 2, ..Options::default() };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(8, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    let all = [
        Kind::Deliverer(0),
        Kind::Router(0),
        Kind::ControlPlane,
        Kind::Router(1),
        Kind::Deliverer(1),
    ];
    for _ in 0..scaled(1, 10) {
        for kind in all {
            load.progress(60).await;
            sleep(random.millis(0, 300)).await;
            stack.process(kind).terminate().await;
            load.progress(40).await;
            stack.process(kind).restart().await;
        }
    }
    load.progress(100).await;
    let verdict = Verdict::of(&mut stack, load, &[&receiver]).await;
    assert_eq!(verdict.duplicates, 0);
    queue_is_empty(&mut stack).await;
}
