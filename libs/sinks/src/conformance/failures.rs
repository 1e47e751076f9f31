//! What becomes of requests that fail, hang or are abandoned.

use std::time::{Duration, Instant};

use millrace_domain::outcome::Outcome;

use super::{Behaviour, DEADLINE, NOW, Peer, assert_within_deadline, event, few, ids, retried};

pub(super) async fn are_worth_a_retry(peer: &dyn Peer) {
    if !peer.behave(Behaviour::Fails).await {
        return;
    }
    let (driver, sink) = (peer.driver(), peer.sink());
    let batch = few(&*driver, &sink);
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(retried(&attempt.outcomes), Some(true), "{attempt:?}");
    assert_eq!(attempt.outcomes.len(), batch.len());
    assert!(!attempt.detail.is_empty(), "it says what is wrong");
    peer.behave(Behaviour::Takes).await;
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes, vec![Outcome::Delivered; batch.len()], "{}", attempt.detail);
    assert_eq!(peer.taken().await, ids(&batch), "it works again as soon as the peer does");
}

pub(super) async fn throttling_is_none(peer: &dyn Peer) {
    if !peer.behave(Behaviour::Throttles).await {
        return;
    }
    let (driver, sink) = (peer.driver(), peer.sink());
    let batch = few(&*driver, &sink);
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(retried(&attempt.outcomes), Some(false), "{attempt:?}");
    assert_eq!(attempt.outcomes.len(), batch.len());
}

pub(super) async fn end_by_the_deadline(peer: &dyn Peer) {
    if !peer.behave(Behaviour::Hangs).await {
        return;
    }
    let (driver, sink) = (peer.driver(), peer.sink());
    let batch = few(&*driver, &sink);
    let began = Instant::now();
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_within_deadline(began, 1);
    assert_eq!(retried(&attempt.outcomes), Some(true), "{attempt:?}");
    let began = Instant::now();
    driver.examine(&sink, &batch[0], NOW).await;
    assert_within_deadline(began, 2);
}

pub(super) async fn may_be_abandoned(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    if peer.behave(Behaviour::Hangs).await {
        let batch = [event("EZlost", 0)];
        for share in [0, 20, 5] {
            let patience = DEADLINE.checked_div(share).unwrap_or(Duration::ZERO);
            let abandoned = tokio::time::timeout(patience, driver.deliver(&sink, &batch, NOW));
            assert!(abandoned.await.is_err(), "it hangs");
        }
        peer.behave(Behaviour::Takes).await;
    } else {
        let batch = [event("EZlost", 0)];
        let abandoned = tokio::time::timeout(Duration::ZERO, driver.deliver(&sink, &batch, NOW));
        // Whether it was quick enough is all the same.
        drop(abandoned.await);
    }
    let batch = [event("EZkept", 0)];
    let attempt = driver.deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
    assert_eq!(peer.taken().await.last().map(String::as_str), Some("EZkept"));
}

pub(super) async fn an_examination_sends(peer: &dyn Peer) {
    let (driver, sink) = (peer.driver(), peer.sink());
    let test = event("EZtest", 0);
    let examined = driver.examine(&sink, &test, NOW).await;
    assert_eq!(examined.attempt.outcomes, [Outcome::Delivered], "{examined:?}");
    assert!(examined.steps.iter().all(|step| step.result.is_ok()), "{examined:?}");
    assert_eq!(peer.taken().await, ["EZtest"]);
    if peer.behave(Behaviour::Fails).await {
        let examined = driver.examine(&sink, &test, NOW).await;
        let failed = examined.steps.iter().any(|step| step.result.is_err());
        let undelivered = examined.attempt.outcomes != [Outcome::Delivered];
        assert!(undelivered && (failed || !examined.attempt.detail.is_empty()), "{examined:?}");
    }
}
