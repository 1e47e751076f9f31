//! Publishing batch after batch on one stream, and leaving out what is known, wherever it was published before.

use std::collections::BTreeSet;

use millrace_proto::v1::{
    Event, PublishRequest, PublishStreamRequest, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Kind, Mode, Options, Stack, authorized, channel, event};

use crate::arrivals::exactly;

#[tokio::test]
async fn streams_and_duplicates_embedded() {
    streams_and_duplicates(Mode::Embedded, 1).await;
}

#[tokio::test]
async fn streams_and_duplicates_on_servers() {
    streams_and_duplicates(Mode::Servers, 2).await;
}

/// Accepted and left out, of so many events.
type Words = (usize, usize);

async fn streams_and_duplicates(mode: Mode, routers: usize) {
    let stack = Stack::start(mode, Options { routers, ..Options::default() }).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    // In force in every router.
    let known: Vec<String> = (0..routers).map(|n| format!("known-{n}")).collect();
    for (router, known) in known.iter().enumerate() {
        let routed = || async {
            let answer = stack.publisher(router).publish(vec![event(known)]).await.ok()?;
            matches!(answer.results[0].outcome, Some(Outcome::Accepted(a)) if a.sinks == 1)
                .then_some(())
        };
        millrace_testkit::eventually("the router knows the sink", routed).await;
    }

    let all: Vec<String> = (0..2_000).map(|n| format!("event-{n}")).collect();
    assert_eq!(stream(&stack, 0, &all).await, (2_000, 0));
    let mut more = all.clone();
    more.push("last".to_owned());
    assert_eq!(once(&stack, routers - 1, &more).await, (1, 2_000));
    assert_eq!(stream(&stack, routers - 1, &more).await, (0, 2_001));

    let expected: BTreeSet<String> = more.into_iter().chain(known).collect();
    exactly(&receiver, "/all", &expected).await;
}

fn events(ids: &[String]) -> Vec<Event> {
    ids.iter().map(|id| event(id)).collect()
}

fn words<'a>(outcomes: impl Iterator<Item = &'a Option<Outcome>>) -> Words {
    outcomes.fold((0, 0), |(accepted, known), outcome| match outcome {
        Some(Outcome::Accepted(_)) => (accepted + 1, known),
        Some(Outcome::Duplicate(_)) => (accepted, known + 1),
        other => panic!("refused: {other:?}"),
    })
}

async fn once(stack: &Stack, router: usize, ids: &[String]) -> Words {
    let mut client = PublishServiceClient::new(channel(&stack.url(Kind::Router(router))));
    let request = PublishRequest { events: events(ids), deduplicate: true };
    let answer = client.publish(authorized(request, &stack.identity.basic())).await;
    words(answer.expect("published").get_ref().results.iter().map(|result| &result.outcome))
}

/// Publishes in batches of 100, all sent before the first answer is read.
async fn stream(stack: &Stack, router: usize, ids: &[String]) -> Words {
    let mut client = PublishServiceClient::new(channel(&stack.url(Kind::Router(router))));
    let mut unanswered: BTreeSet<u64> = BTreeSet::new();
    let mut batches = Vec::new();
    for (batch, ids) in (0_u64..).zip(ids.chunks(100)) {
        unanswered.insert(batch);
        batches.push(PublishStreamRequest { batch, events: events(ids), deduplicate: true });
    }
    let batches = tokio_stream::iter(batches);
    let opened = client.publish_stream(authorized(batches, &stack.identity.basic())).await;
    let mut answers = opened.expect("open").into_inner();
    let (mut accepted, mut known) = (0, 0);
    while let Some(answer) = answers.message().await.expect("the stream ends well") {
        assert!(unanswered.remove(&answer.batch), "batch {} again", answer.batch);
        let (more, less) = words(answer.results.iter().map(|result| &result.outcome));
        (accepted, known) = (accepted + more, known + less);
    }
    assert!(unanswered.is_empty(), "{unanswered:?}");
    (accepted, known)
}
