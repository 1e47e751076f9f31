//! Two deliverers share the partitions, and hand them over.

use std::{collections::BTreeSet, time::Duration};

use millrace_testkit::{eventually::eventually_within, receiver::Receiver};
use millrace_tests::{
    Kind, Load, Mode, Options, Stack,
    arrivals::{all_of, queue_is_empty},
    scaled,
};

const PARTITIONS: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn partitions_move_on_sigterm_without_loss_or_repeat() {
    let leases = [("deliverer.lease", "10s"), ("deliverer.renew", "1s")];
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&leases)).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(8, &receiver).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    owned_by(&stack, &[0]).await;

    // One joins, the first leaves and comes back: a rolling restart.
    assert_eq!(stack.servers().add_deliverer().await, 1);
    owned_by(&stack, &[0, 1]).await;
    load.progress(100).await;
    stack.process(Kind::Deliverer(0)).terminate().await;
    owned_by(&stack, &[1]).await;
    load.progress(100).await;
    stack.process(Kind::Deliverer(0)).restart().await;
    owned_by(&stack, &[0, 1]).await;
    load.progress(100).await;
    stack.process(Kind::Deliverer(1)).terminate().await;
    owned_by(&stack, &[0]).await;

    let published = all_of(load, &receiver).await;
    assert_eq!((receiver.duplicates(), published.failures), (0, 0));
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn partitions_are_taken_over_after_a_kill() {
    let leases = [("deliverer.lease", "3s"), ("deliverer.renew", "500ms")];
    let options = Options { deliverers: 2, ..Options::default().set(&leases) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(8, &receiver).await;
    owned_by(&stack, &[0, 1]).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    load.progress(100).await;
    stack.process(Kind::Deliverer(0)).kill();
    owned_by(&stack, &[1]).await;
    load.progress(100).await;
    all_of(load, &receiver).await;
    queue_is_empty(&mut stack).await;
}

#[tokio::test]
async fn an_owner_that_wakes_after_its_lease_changes_nothing() {
    let leases = [("deliverer.lease", "3s"), ("deliverer.renew", "500ms")];
    let options = Options { deliverers: 2, ..Options::default().set(&leases) };
    let mut stack = Stack::start(Mode::Servers, options).await;
    let receiver = Receiver::start().await;
    let accounts = stack.tenants(8, &receiver).await;
    owned_by(&stack, &[0, 1]).await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    for round in 0..scaled(3, 20) {
        let sleeper = round % 2;
        load.progress(100).await;
        stack.process(Kind::Deliverer(sleeper)).suspend();
        owned_by(&stack, &[1 - sleeper]).await;
        load.progress(100).await;
        stack.process(Kind::Deliverer(sleeper)).resume();
        owned_by(&stack, &[0, 1]).await;
    }
    all_of(load, &receiver).await;
    queue_is_empty(&mut stack).await;
    owned_by(&stack, &[0, 1]).await;
}

/// Waits until the partitions are shared among `deliverers` and nobody else: each has some, none has two owners.
async fn owned_by(stack: &Stack, deliverers: &[usize]) {
    let what = format!("the partitions belong to {deliverers:?}");
    eventually_within(PATIENCE, &what, || async {
        let mut owned = BTreeSet::new();
        for deliverer in deliverers {
            let partitions = stack.partitions(*deliverer).await.partitions;
            if partitions.is_empty() || !partitions.into_iter().all(|it| owned.insert(it)) {
                return None;
            }
        }
        (owned == (0..PARTITIONS).collect()).then_some(())
    })
    .await;
}
