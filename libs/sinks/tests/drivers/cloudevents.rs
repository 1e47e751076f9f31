//! Receivers of CloudEvents: what is sent in each mode, and the handshake.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millrace_domain::{
    Secret, SinkConfiguration, SinkType,
    outcome::{Outcome, Reason},
    sink::CloudEventsMode,
};
use millrace_sinks::{Delivery, Driver, Drivers, Options, SinkSpec, conformance::PATIENCE};
use millrace_testkit::receiver::{Answer, Receiver, Request};

use crate::{NOW, options, spec};

fn driver() -> Arc<dyn Driver> {
    let options = Options { origin: "events.example.com".to_owned(), ..options(PATIENCE) };
    Arc::clone(Drivers::new(&options).expect("usable options").of(SinkType::CloudEvents))
}

fn sink(url: &str, mode: CloudEventsMode, batch_events: bool) -> SinkSpec {
    spec(SinkConfiguration::CloudEvents { destination: Secret::new(url), mode, batch_events })
}

fn delivery(event: &'static str) -> Delivery {
    Delivery {
        id: "EZ1".to_owned(),
        account: None,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        event: Bytes::from_static(event.as_bytes()),
        hash: None,
    }
}

/// The request that carried events.
fn posted(receiver: &Receiver) -> Request {
    let mut posts = receiver.requests().into_iter().filter(|request| request.method == "POST");
    posts.next().expect("a request")
}

const EVENT: &str = r#"{"specversion":"1.0","id":"EZ1","type":"a","source":"/x y","datacontenttype":"application/json","n":7,"data":{"t": "é"}}"#;

#[tokio::test]
async fn each_mode_has_its_own_place_for_attributes() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/v1/Events");
    let structured = sink(&url, CloudEventsMode::Structured, false);
    driver().deliver(&structured, &[delivery(EVENT)], NOW).await;
    let request = posted(&receiver);
    assert_eq!(request.body, EVENT.as_bytes());
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    assert!(request.header("traceparent").is_some());

    let receiver = Receiver::start().await;
    let batched = sink(&receiver.url("/"), CloudEventsMode::Structured, true);
    driver().deliver(&batched, &[delivery(EVENT), delivery(EVENT)], NOW).await;
    let request = posted(&receiver);
    assert_eq!(request.body, format!("[{EVENT},{EVENT}]").into_bytes());
    assert_eq!(
        request.header("content-type"),
        Some("application/cloudevents-batch+json; charset=utf-8")
    );

    let receiver = Receiver::start().await;
    let binary = sink(&receiver.url("/"), CloudEventsMode::Binary, false);
    driver().deliver(&binary, &[delivery(EVENT)], NOW).await;
    let request = posted(&receiver);
    assert_eq!(request.body, "{\"t\": \"é\"}".as_bytes());
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("ce-specversion", Some("1.0")),
        ("ce-id", Some("EZ1")),
        ("ce-source", Some("/x%20y")),
        ("ce-n", Some("7")),
        ("ce-data", None),
        ("ce-datacontenttype", None),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn in_binary_mode_data_is_what_its_type_says() {
    for (event, body) in [
        (r#"{"id":"EZ1","datacontenttype":"text/plain","data":"a\nb"}"#, "a\nb"),
        (r#"{"id":"EZ1","datacontenttype":"image/x","data_base64":"aGk="}"#, "hi"),
        (r#"{"id":"EZ1","data":"a"}"#, "\"a\""),
        (r#"{"id":"EZ1"}"#, ""),
    ] {
        let receiver = Receiver::start().await;
        let sink = sink(&receiver.url("/"), CloudEventsMode::Binary, false);
        let attempt = driver().deliver(&sink, &[delivery(event)], NOW).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
        assert_eq!(posted(&receiver).body, body.as_bytes());
    }
}

#[tokio::test]
async fn a_receiver_is_asked_once_and_gets_nothing_it_refused() {
    let receiver = Receiver::start().await;
    let asked = |receiver: &Receiver| {
        let requests = receiver.requests().into_iter();
        requests.filter(|request| request.method == "OPTIONS").collect::<Vec<_>>()
    };
    let (driver, url) = (driver(), receiver.url("/e"));
    let sink = sink(&url, CloudEventsMode::Binary, false);
    receiver.answer("/e", Answer::ok().header("webhook-allowed-origin", "other.example"));
    let attempt = driver.deliver(&sink, &[delivery(EVENT)], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Retry { reason: Reason::Setup, after: None }]);
    assert!(attempt.detail.contains("events.example.com"), "{}", attempt.detail);
    let question = &asked(&receiver)[0];
    assert_eq!(question.header("webhook-request-origin"), Some("events.example.com"));
    assert_eq!((question.header("ce-id"), question.body.len()), (None, 0));
    assert_eq!(receiver.requests().len(), 1, "nothing was delivered");

    let allowed =
        Answer::ok().header("webhook-allowed-origin", "*").header("webhook-allowed-rate", "120");
    receiver.answer("/e", allowed);
    for _ in 0..3 {
        let attempt = driver.deliver(&sink, &[delivery(EVENT)], NOW).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    }
    assert_eq!(asked(&receiver).len(), 2, "consent is remembered, a refusal is not");
    let examined = driver.examine(&sink, &delivery(EVENT), NOW).await;
    let step = examined.steps.last().expect("steps");
    assert_eq!(step.name, "handshake");
    assert_eq!(step.result.as_deref(), Ok("allowed, 120 requests a minute"));
}

#[tokio::test]
async fn results_of_another_millrace_are_told_by_event() {
    let receiver = Receiver::start().await;
    let body = r#"{"results":[{"id":"EZ1","status":"accepted","sinks":1},{"id":"EZ1","status":"rejected","code":"resource_exhausted"},{"id":"EZ1","status":"rejected","code":"unavailable"},{"id":"EZ1","status":"rejected","code":"invalid_argument"}]}"#;
    let sink = sink(&receiver.url("/e"), CloudEventsMode::Structured, true);
    let batch = vec![delivery(EVENT); 4];
    for status in [207, 400] {
        receiver.answer("/e", Answer::status(status).body(body));
        let attempt = driver().deliver(&sink, &batch, NOW).await;
        let retry = |reason| Outcome::Retry { reason, after: None };
        assert_eq!(
            attempt.outcomes,
            [
                Outcome::Delivered,
                retry(Reason::Throttled),
                retry(Reason::Refused),
                Outcome::Discard { reason: Reason::Rejected },
            ]
        );
    }
    receiver.answer("/e", Answer::status(207).body(r#"{"results":[]}"#));
    let attempt = driver().deliver(&sink, &batch, NOW).await;
    assert_eq!(attempt.outcomes, vec![Outcome::Delivered; 4], "a 207 of another kind is a 2xx");
}

#[tokio::test]
async fn a_receiver_that_hangs_in_the_handshake_gets_the_event_within_the_deadline() {
    let receiver = Receiver::start().await;
    receiver.judge("/", |request| match request.method.as_str() {
        "OPTIONS" => Answer::hang(),
        _ => Answer::ok(),
    });
    let deadline = Duration::from_secs(4);
    let drivers = Drivers::new(&options(deadline)).expect("usable options");
    let driver = drivers.of(SinkType::CloudEvents);
    let sink = sink(&receiver.url("/"), CloudEventsMode::Binary, false);
    let attempt = driver.deliver(&sink, &[delivery(EVENT)], NOW).await;
    assert_eq!(attempt.outcomes, [Outcome::Delivered]);
    let posts = receiver.requests().into_iter().filter(|request| request.method == "POST");
    assert_eq!(posts.count(), 1);
    assert!(attempt.duration < deadline, "both share one deadline: {:?}", attempt.duration);
}
