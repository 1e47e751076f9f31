//! Segment: the suite, and what Segment asks for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_domain::{
    Secret, SinkConfiguration, SinkType,
    outcome::{Outcome, Reason},
    sink::SegmentRegion,
};
use millrace_sinks::{
    Delivery, Driver, Drivers, Options, SegmentOptions, SinkSpec,
    conformance::{self, Behaviour, PATIENCE, Peer, SECRET},
};
use millrace_testkit::{
    receiver::{Answer, Request},
    segment::{BATCH, Segment},
};

use crate::{NOW, options, spec};

struct Source {
    segment: Segment,
    driver: Arc<dyn Driver>,
}

impl Source {
    async fn new(deadline: Duration) -> Self {
        let segment = Segment::start(SECRET).await;
        let endpoint = segment.receiver.url("");
        let segment_options =
            SegmentOptions { endpoint: endpoint.clone(), endpoint_eu: format!("{endpoint}/eu/") };
        let options = Options { segment: segment_options, ..options(deadline) };
        let drivers = Drivers::new(&options).expect("usable options");
        Self { segment, driver: Arc::clone(drivers.of(SinkType::Segment)) }
    }
}

fn sink(write_key: &str, region: SegmentRegion) -> SinkSpec {
    spec(SinkConfiguration::Segment { write_key: Secret::new(write_key), region })
}

fn echo(request: &Request) -> Answer {
    let head: Vec<_> = request.headers.iter().map(|(name, it)| format!("{name}: {it}")).collect();
    Answer::status(500).body(format!("{SECRET} {}", head.join("\n")))
}

#[async_trait]
impl Peer for Source {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver)
    }

    fn sink(&self) -> SinkSpec {
        sink(SECRET, SegmentRegion::Us)
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        let receiver = &self.segment.receiver;
        let always = |answer: Answer| receiver.judge(BATCH, move |_| answer.clone());
        match behaviour {
            Behaviour::Takes => self.segment.serve(SECRET),
            Behaviour::Throttles => always(Answer::status(429).header("retry-after", "7")),
            Behaviour::Fails => always(Answer::status(502).body("bad gateway")),
            Behaviour::Hangs => always(Answer::hang()),
            Behaviour::Echoes => receiver.judge(BATCH, echo),
            // It says 200 to all of a batch.
            Behaviour::TakesAllBut(_) => return false,
        }
        true
    }

    async fn taken(&self) -> Vec<String> {
        let dropped = self.segment.dropped();
        assert!(dropped.is_empty(), "answered 200 and dropped: {dropped:?}");
        let id = |call: &serde_json::Value| call["messageId"].as_str().map(str::to_owned);
        self.segment.calls().iter().filter_map(id).collect()
    }

    async fn requests(&self) -> Option<usize> {
        Some(self.segment.receiver.requests().len())
    }
}

fn event(id: &str, bytes: usize) -> Delivery {
    let text = "x".repeat(bytes);
    Delivery {
        id: id.to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from(format!(
            r#"{{"specversion":"1.0","type":"com.example.a","source":"/x","id":"{id}","data":{{"text":"{text}"}}}}"#
        )),
        hash: None,
    }
}

#[tokio::test]
async fn segment_passes() {
    conformance::run(Source::new).await;
}

#[tokio::test]
async fn what_segment_would_drop_is_refused_here_and_the_rest_is_sent() {
    let source = Source::new(PATIENCE).await;
    let batch = [event("EZ1", 10), event("EZ2", 33_000), event("EZ3", 10), event("EZ4", 40_000)];
    let attempt = source.driver.deliver(&source.sink(), &batch, NOW).await;
    let refused = Outcome::Discard { reason: Reason::Configuration };
    assert_eq!(
        attempt.outcomes,
        [Outcome::Delivered, refused.clone(), Outcome::Delivered, refused.clone()]
    );
    assert!(attempt.detail.contains("and 1 more like it"), "{}", attempt.detail);
    assert_eq!(source.taken().await, ["EZ1", "EZ3"]);
    let attempt = source.driver.deliver(&source.sink(), &batch[1..2], NOW).await;
    assert_eq!((attempt.outcomes, attempt.http_status), (vec![refused], None));
    assert_eq!(source.segment.receiver.requests().len(), 1, "nothing to send is not sent");
}

#[tokio::test]
async fn a_key_that_segment_does_not_know_is_for_the_owner_to_mend() {
    let source = Source::new(PATIENCE).await;
    let stranger = sink("anotherkeyanotherkey", SegmentRegion::Us);
    let attempt = source.driver.deliver(&stranger, &[event("EZ1", 0)], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Retry { reason: Reason::Setup, after: None }]);
    assert_eq!(attempt.http_status, Some(401));
    assert!(attempt.detail.contains("write key"), "{}", attempt.detail);
}

#[tokio::test]
async fn the_eu_has_an_endpoint_of_its_own_and_a_wait_is_respected() {
    let source = Source::new(PATIENCE).await;
    let answer = Answer::status(429).header("retry-after", "7");
    source.segment.receiver.answer("/eu/v1/batch", answer);
    let eu = sink(SECRET, SegmentRegion::Eu);
    let attempt = source.driver.deliver(&eu, &[event("EZ1", 0)], NOW).await;
    let after = Some(Duration::from_secs(7));
    assert_eq!(attempt.outcomes, [Outcome::Retry { reason: Reason::Throttled, after }]);
    assert_eq!(source.segment.receiver.requests_to("/eu/v1/batch").len(), 1);
}
