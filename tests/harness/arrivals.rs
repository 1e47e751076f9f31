//! What arrived, compared with what should.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{Load, Published, Stack};
use millrace_testkit::receiver::Receiver;
use tokio::time::sleep;

/// The ids of the events that a path of a receiver accepted.
pub fn at(receiver: &Receiver, path: &str) -> BTreeSet<String> {
    let requests = receiver.requests_to(path);
    requests.into_iter().filter(|it| it.was_accepted()).flat_map(|it| it.ids).collect()
}

/// Ids as a set.
pub fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

/// Waits until a path has accepted exactly `expected`; more would be as wrong as less.
///
/// # Panics
/// If it has not after a while, if it has others, or if a signature was wrong.
pub async fn exactly(receiver: &Receiver, path: &str, expected: &BTreeSet<String>) {
    let what = format!("{path} gets {} events", expected.len());
    receiver.until(&what, |receiver| at(receiver, path).len() >= expected.len()).await;
    assert_eq!(&at(receiver, path), expected);
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

/// Stops producers and waits until all they got acknowledged has arrived; prints how often events came again.
///
/// # Panics
/// If something is lost.
pub async fn all_of(load: Load, receiver: &Receiver) -> Published {
    let published = load.stop().await;
    complete(&published.acknowledged, receiver).await;
    println!(
        "{} events acknowledged, {} publishes failed, {} events arrived again, slowest publish {:?}",
        published.acknowledged.len(),
        published.failures,
        receiver.duplicates(),
        published.slowest
    );
    published
}

/// Waits until all of `acknowledged` have arrived, as long as something still arrives.
///
/// # Panics
/// If nothing arrives any more and some are missing.
pub async fn complete(acknowledged: &BTreeSet<String>, receiver: &Receiver) {
    let (mut before, mut since) = (0, Instant::now());
    while receiver.accepted() < acknowledged.len() || !missing(acknowledged, receiver).is_empty() {
        let now = receiver.accepted();
        if now > before {
            (before, since) = (now, Instant::now());
        }
        let missing = || missing(acknowledged, receiver);
        assert!(since.elapsed() < Duration::from_secs(30), "lost: {:?}", missing());
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

/// Waits until no chunk stands in the queue, and nothing is held.
///
/// # Panics
/// If that does not come.
pub async fn queue_is_empty(stack: &mut Stack) {
    let started = Instant::now();
    loop {
        let unsettled = stack.servers().unsettled().await;
        if unsettled == 0 {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{unsettled} chunks stay unsettled");
        sleep(Duration::from_millis(50)).await;
    }
}

fn missing(acknowledged: &BTreeSet<String>, receiver: &Receiver) -> Vec<String> {
    acknowledged.difference(&receiver.accepted_ids()).take(20).cloned().collect()
}
