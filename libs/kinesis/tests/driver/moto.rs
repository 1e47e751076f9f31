//! Ten thousand events through the real driver into a peer nobody here wrote, and read back with Amazon's own library.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use millrace_testkit::moto::Moto;

use super::*;

const EVENTS: usize = 10_000;

fn to(moto: &Moto, external_id: &str) -> (Kinesis, SinkSpec) {
    let key = AccessKey {
        id: moto.made("key_id").to_owned(),
        secret: Secret::new(moto.made("key_secret")),
    };
    let driver = Kinesis::new(Options { key: Some(key), ..options(moto.url()) });
    (driver, sink_of(moto.made("stream_arn"), moto.made("role_arn"), external_id))
}

#[tokio::test]
async fn ten_thousand_events_are_all_in_the_stream() {
    let moto = Moto::start().await;
    let (driver, sink) = to(&moto, moto.made("external_id"));
    let events = events(EVENTS);
    let batches = events.chunks(driver.limits(&sink).events);
    let attempts = stream::iter(batches.map(|batch| driver.deliver(&sink, batch, NOW)));
    let attempts: Vec<Attempt> = attempts.buffer_unordered(4).collect().await;
    for attempt in attempts {
        assert!(attempt.outcomes.iter().all(|it| *it == Outcome::Delivered), "{}", attempt.detail);
    }
    let (ids, records) = moto.events().await;
    let sent: BTreeSet<String> = events.into_iter().map(|event| event.id).collect();
    assert!(ids == sent && records == EVENTS, "{} ids in {records} records", ids.len());
}

#[tokio::test]
async fn what_a_peer_enforces_is_told_as_what_it_is() {
    let moto = Moto::start().await;
    let (driver, wrong) = to(&moto, "not-the-external-id");
    let refused = driver.deliver(&wrong, &events(1), NOW).await;
    assert_eq!(refused.outcomes, [retry(Reason::AssumeRole)], "{}", refused.detail);
    let (driver, sink) = to(&moto, moto.made("external_id"));
    let told = driver.examine(&sink, &event("EZ1"), NOW).await;
    assert_eq!(told.attempt.outcomes, [Outcome::Delivered], "{told:?}");
    assert!(told.steps.iter().all(|step| step.result.is_ok()), "{told:?}");
    let other = moto.made("stream_arn").replace("/events", "/others");
    let (driver, _) = to(&moto, "");
    let other = sink_of(&other, moto.made("role_arn"), moto.made("external_id"));
    let denied = driver.deliver(&other, &events(1), NOW).await;
    assert_eq!(denied.outcomes, [retry(Reason::Setup)], "{}", denied.detail);
    let mut forged = options(moto.url());
    let secret = Secret::new("not the secret");
    forged.key = Some(AccessKey { id: moto.made("key_id").to_owned(), secret });
    let forged = Kinesis::new(forged).deliver(&sink, &events(1), NOW).await;
    assert_eq!(forged.outcomes, [retry(Reason::AssumeRole)], "{}", forged.detail);
    let (ids, _) = moto.events().await;
    assert_eq!(ids, BTreeSet::from(["EZ1".to_owned()]), "nothing else got in");
}
