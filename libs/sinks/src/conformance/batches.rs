//! What becomes of the events of a batch.

use millrace_domain::outcome::{Outcome, Reason};

use super::{Behaviour, NOW, Peer, event, few, ids, of_another_type, retried};

pub(super) async fn keeps_the_order(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    let batch = few(&*driver, &sink);
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes, vec![Outcome::Delivered; batch.len()], "{}", attempt.detail);
    assert_eq!(peer.taken().await, ids(&batch));
}

pub(super) async fn sends_a_full_batch_at_once(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    let limits = driver.limits(&sink);
    assert!(limits.events >= 1 && limits.bytes >= 1_024, "{limits:?}");
    // Once as many small events as there may be, once as many bytes.
    for bytes in [0, limits.bytes / 7] {
        let before = (peer.taken().await.len(), peer.requests().await);
        let mut batch = Vec::new();
        let mut total = 0;
        while batch.len() < limits.events {
            let next = event(&format!("EZ{bytes}-{}", batch.len()), bytes.min(20_000));
            total += next.event.len();
            if total > limits.bytes && !batch.is_empty() {
                break;
            }
            batch.push(next);
        }
        let attempt = driver.deliver(&sink, &batch, NOW).await;
        assert_eq!(attempt.outcomes, vec![Outcome::Delivered; batch.len()], "{}", attempt.detail);
        assert_eq!(peer.taken().await.len() - before.0, batch.len());
        if let (Some(before), Some(after)) = (before.1, peer.requests().await) {
            assert_eq!(after - before, 1, "one request a delivery");
        }
    }
}

/// 256 kB is what a publisher may send. Whether a sink takes it is for its type to say; that it waits for ever is no answer.
pub(super) async fn decides_on_a_giant(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    let giant = event("EZgiant", 256 * 1024);
    let attempt = driver.deliver(&sink, std::slice::from_ref(&giant), NOW).await;
    let [outcome] = &attempt.outcomes[..] else { panic!("one outcome: {attempt:?}") };
    match outcome {
        Outcome::Delivered => assert_eq!(peer.taken().await, ["EZgiant"]),
        Outcome::Discard { .. } => assert!(peer.taken().await.is_empty(), "{}", attempt.detail),
        Outcome::Retry { .. } => panic!("it would be tried until its window closes: {attempt:?}"),
    }
    assert!(attempt.detail.len() <= 1_024, "{} bytes of detail", attempt.detail.len());
}

pub(super) async fn tells_a_partial_failure(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    let batch = few(&*driver, &sink);
    let bad: std::collections::BTreeSet<_> =
        batch.iter().skip(1).step_by(2).map(|it| it.id.clone()).collect();
    if bad.is_empty() || !peer.behave(Behaviour::TakesAllBut(bad.clone())).await {
        return;
    }
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes.len(), batch.len());
    for (delivery, outcome) in batch.iter().zip(&attempt.outcomes) {
        let delivered = *outcome == Outcome::Delivered;
        assert_eq!(delivered, !bad.contains(&delivery.id), "{}: {outcome:?}", delivery.id);
    }
    let taken: Vec<_> = ids(&batch).into_iter().filter(|id| !bad.contains(id)).collect();
    assert_eq!(peer.taken().await, taken);
}

pub(super) async fn refuses_another_type(peer: &dyn Peer) {
    let driver = peer.driver();
    let batch = [event("EZ1", 0)];
    let attempt = driver.deliver(&of_another_type(&peer.sink()), &batch, NOW).await;
    let refused = match &attempt.outcomes[..] {
        [Outcome::Discard { reason }] => matches!(reason, Reason::Configuration | Reason::Stream),
        outcomes => panic!("{outcomes:?}, {:?}", retried(outcomes)),
    };
    assert!(refused && !attempt.detail.is_empty(), "{attempt:?}");
    assert!(peer.taken().await.is_empty());
}
