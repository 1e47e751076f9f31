//! SIGTERM under load: what is open is finished, what waits is kept, nothing comes twice.

use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Load, Mode, Options, Random, Stack};
use tokio::time::sleep;

use crate::arrivals::all_of;

#[tokio::test]
async fn ending_the_one_process_under_load_loses_and_repeats_nothing() {
    let mut stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(4, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    let mut random = Random::announced();
    for _ in 0..5 {
        load.progress(60).await;
        sleep(random.millis(0, 500)).await;
        stack.process(Kind::Deliverer(0)).terminate().await;
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    all_of(load, &receiver).await;
    assert_eq!(receiver.duplicates(), 0);
}

#[tokio::test]
async fn ending_a_router_under_load_loses_and_repeats_nothing() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(4, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for _ in 0..3 {
        load.progress(60).await;
        stack.process(Kind::Router(0)).terminate().await;
        stack.process(Kind::Router(0)).restart().await;
    }
    all_of(load, &receiver).await;
    assert_eq!(receiver.duplicates(), 0);
}
