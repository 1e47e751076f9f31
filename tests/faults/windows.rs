//! Receivers that never come back: their events are dropped with a report when the window closes, and not before.

use std::{collections::BTreeSet, time::Duration};

use millrace_proto::internal::DropReason;
use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{Kind, Load, Mode, Options, Stack, Verdict, arrivals::queue_is_empty, scaled};
use tokio::time::sleep;

#[tokio::test]
async fn what_is_never_taken_is_dropped_with_a_report_after_its_window() {
    let window = [("delivery.window", "4s"), ("delivery.timeout", "1s")];
    let mut stack = Stack::start(Mode::Servers, Options::default().set(&window)).await;
    let (well, sick) = (Receiver::start().await, Receiver::start().await);
    // A certificate of an authority that nobody trusts.
    let (distrusted, down) = (Receiver::start_tls().await, Receiver::start().await);
    let accounts = [
        stack.tenant(11, &well).await,
        stack.tenant(12, &sick).await,
        stack.tenant(13, &distrusted).await,
        stack.tenant(14, &down).await,
    ];
    sick.answer("/tenant-12", Answer::status(500));
    down.stop().await;
    let load = Load::start(stack.platform_publishers(), &accounts);
    // Reports wait for control-plane, and nobody waits for it.
    stack.process(Kind::ControlPlane).kill();
    sleep(Duration::from_secs(scaled(6, 120))).await;
    stack.process(Kind::ControlPlane).restart().await;
    let verdict = Verdict::of(&mut stack, load, &[&well, &sick]).await;
    assert!(distrusted.requests().is_empty(), "nothing is sent to whom is not trusted");
    let taken = well.accepted_ids();
    let never: BTreeSet<String> =
        verdict.published.acknowledged.difference(&taken).cloned().collect();
    assert_eq!(verdict.dropped, never, "all of the others, and only those");
    assert_eq!((well.duplicates(), taken.len() * 3), (0, never.len()));
    queue_is_empty(&mut stack).await;
    let kept = stack.servers().dropped().await;
    assert_eq!(kept.len(), never.len(), "each is kept once");
    assert!(kept.iter().all(|drop| drop.reason == DropReason::Expired));
    assert_eq!(stack.servers().parked_events().await, 0);
}
