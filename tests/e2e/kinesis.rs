//! What is published arrives in a Kinesis data stream, by a role that trusts Millrace, and nothing is lost while it is away.

use std::collections::BTreeSet;

use millrace_testkit::{
    aws::{Aws, Course},
    eventually,
    moto::Moto,
};
use millrace_tests::{Mode, Options, Sink, Stack, TYPE, event};
use serde_json::json;

const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/events";
const ROLE: &str = "arn:aws:iam::123456789012:role/events-writer";
const EXTERNAL_ID: &str = "an-external-id-that-nobody-guesses";

#[tokio::test]
async fn what_is_published_is_in_the_stream_embedded() {
    what_is_published_is_in_the_stream(Mode::Embedded).await;
}

#[tokio::test]
async fn what_is_published_is_in_the_stream_on_servers() {
    what_is_published_is_in_the_stream(Mode::Servers).await;
}

async fn what_is_published_is_in_the_stream(mode: Mode) {
    let moto = Moto::start().await;
    let stack = stack(mode, moto.url(), [moto.made("key_id"), moto.made("key_secret")]).await;
    let [arn, role, external_id] =
        ["stream_arn", "role_arn", "external_id"].map(|name| moto.made(name));
    subscribed(&stack, arn, role, external_id).await;
    let events = ids("e", 0..2_000);
    publish(&stack, &events).await;
    let (arrived, _) = moto.until_there_are(events.len()).await;
    assert!(arrived == events, "{} of {} arrived", arrived.len(), events.len());
}

#[tokio::test]
async fn nothing_is_lost_while_the_stream_is_away_embedded() {
    nothing_is_lost_while_the_stream_is_away(Mode::Embedded).await;
}

#[tokio::test]
async fn nothing_is_lost_while_the_stream_is_away_on_servers() {
    nothing_is_lost_while_the_stream_is_away(Mode::Servers).await;
}

async fn nothing_is_lost_while_the_stream_is_away(mode: Mode) {
    let aws = Aws::start().await;
    prepare(&aws);
    let stack = stack(mode, &aws.url(), ["AKIAMILLRACE", "own-secret"]).await;
    let sink = subscribed(&stack, STREAM, ROLE, EXTERNAL_ID).await;
    let before = ids("before", 0..100);
    publish(&stack, &before).await;
    until_in(&aws, &before).await;
    let session = &aws.assumptions()[0].session;
    assert_eq!(*session, format!("millrace-{}", sink.sid));

    let address = aws.stop().await;
    let meanwhile = ids("meanwhile", 0..500);
    publish(&stack, &meanwhile).await;
    let back = Aws::start_at(address).await;
    // There again, but not well yet: enough to open the breaker.
    back.on_put(vec![Course::Refuse(500, "InternalFailureException", "not yet"); 6]);
    prepare(&back);
    until_in(&back, &meanwhile).await;
}

fn prepare(aws: &Aws) {
    aws.trust(ROLE, EXTERNAL_ID);
    aws.stream(STREAM);
}

/// The product, for which both of AWS' services are at `url`.
pub(crate) async fn stack(mode: Mode, url: &str, key: [&str; 2]) -> Stack {
    let url: &'static str = url.to_owned().leak();
    let settings = [("sinks.kinesis.endpoint", url), ("sinks.kinesis.sts_endpoint", url)];
    let [id, secret] = key.map(str::to_owned);
    let environment = vec![("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
    Stack::start(mode, Options { environment, ..Options::default() }.set(&settings)).await
}

async fn subscribed(stack: &Stack, arn: &str, role_arn: &str, external_id: &str) -> Sink {
    let configuration = json!({ "arn": arn, "role_arn": role_arn, "external_id": external_id });
    let sink = stack.sink_of("kinesis", configuration).await;
    stack.subscribe(&sink, &[TYPE]).await;
    sink
}

fn ids(prefix: &str, numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| format!("{prefix}-{number:05}")).collect()
}

async fn publish(stack: &Stack, ids: &BTreeSet<String>) {
    let ids: Vec<&String> = ids.iter().collect();
    for batch in ids.chunks(200) {
        stack.publish(batch.iter().map(|id| event(id))).await;
    }
}

async fn until_in(aws: &Aws, ids: &BTreeSet<String>) {
    eventually("all of them are in the stream", || async {
        let arrived: BTreeSet<String> = aws.records().iter().map(|record| record.id()).collect();
        ids.is_subset(&arrived).then_some(())
    })
    .await;
}
