//! A sink that fails gets its events again, and takes nothing from the others.

use std::time::Duration;

use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{Kind, Mode, Options, Stack, TYPE, event};
use tokio::time::sleep;

use crate::arrivals::{at, exactly, ids};

#[tokio::test]
async fn a_sink_that_answers_503_gets_its_events_again_embedded() {
    a_sink_that_answers_503_gets_its_events_again(Mode::Embedded).await;
}

#[tokio::test]
async fn a_sink_that_answers_503_gets_its_events_again_on_servers() {
    a_sink_that_answers_503_gets_its_events_again(Mode::Servers).await;
}

async fn a_sink_that_answers_503_gets_its_events_again(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/flaky").await;
    stack.subscribed(&receiver, "/well").await;
    let failures = std::iter::repeat_n(Answer::status(503), 3);
    receiver.answers("/flaky", failures.chain([Answer::close(), Answer::ok()]));

    stack.publish([event("1"), event("2")]).await;
    exactly(&receiver, "/well", &ids(["1", "2"])).await;
    exactly(&receiver, "/flaky", &ids(["1", "2"])).await;
    assert_eq!(receiver.requests_to("/flaky").len(), 6, "four failures and two successes");
    assert_eq!(receiver.requests_to("/well").len(), 2);
}

#[tokio::test]
async fn a_batch_that_failed_comes_again_embedded() {
    a_batch_that_failed_comes_again(Mode::Embedded).await;
}

#[tokio::test]
async fn a_batch_that_failed_comes_again_on_servers() {
    a_batch_that_failed_comes_again(Mode::Servers).await;
}

async fn a_batch_that_failed_comes_again(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/flaky", true).await;
    stack.subscribe(&sink, &[TYPE]).await;
    receiver.answers("/flaky", [Answer::status(500), Answer::status(429), Answer::ok()]);
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    stack.publish(names.iter().map(|name| event(name))).await;
    exactly(&receiver, "/flaky", &names.into_iter().collect()).await;
    assert_eq!(receiver.duplicates(), 0);
}

#[tokio::test]
async fn what_a_sink_refuses_is_discarded_and_stops_nothing_embedded() {
    what_a_sink_refuses_is_discarded_and_stops_nothing(Mode::Embedded).await;
}

#[tokio::test]
async fn what_a_sink_refuses_is_discarded_and_stops_nothing_on_servers() {
    what_a_sink_refuses_is_discarded_and_stops_nothing(Mode::Servers).await;
}

async fn what_a_sink_refuses_is_discarded_and_stops_nothing(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/picky").await;
    stack.subscribed(&receiver, "/retrying").await;
    receiver.answers("/picky", [Answer::status(404), Answer::ok()]);
    receiver.answers("/retrying", [Answer::status(503), Answer::ok()]);

    stack.publish([event("1")]).await;
    // By the time that the other sink has got it again, this one would have.
    exactly(&receiver, "/retrying", &ids(["1"])).await;
    stack.publish([event("2")]).await;
    exactly(&receiver, "/picky", &ids(["2"])).await;
    assert_eq!(receiver.requests_to("/picky").len(), 2, "what is refused is not sent again");
}

#[tokio::test]
async fn a_kill_between_failure_and_retry_loses_nothing_embedded() {
    a_kill_between_failure_and_retry_loses_nothing(Mode::Embedded).await;
}

#[tokio::test]
async fn a_kill_between_failure_and_retry_loses_nothing_on_servers() {
    a_kill_between_failure_and_retry_loses_nothing(Mode::Servers).await;
}

/// Killed at once, when the failure may not be noted yet, and later, when the event is parked.
async fn a_kill_between_failure_and_retry_loses_nothing(mode: Mode) {
    let waits = [("delivery.backoff_base", "3s"), ("delivery.backoff_cap", "3s")];
    let leases = [("deliverer.lease", "2s"), ("deliverer.renew", "500ms")];
    let options = Options::default().set(&waits).set(&leases);
    let mut stack = Stack::start(mode, options).await;
    let receiver = Receiver::start().await;
    for (number, pause) in [0, 300, 1_500].into_iter().enumerate() {
        let path = format!("/round-{number}");
        stack.subscribed(&receiver, &path).await;
        receiver.answer(&path, Answer::status(503));
        let id = format!("event-{number}");
        stack.publish([event(&id)]).await;
        receiver.until("it fails", |receiver| !receiver.requests_to(&path).is_empty()).await;
        // Rounds differ in where the kill meets them; nothing depends on how much.
        sleep(Duration::from_millis(pause)).await;
        stack.process(Kind::Deliverer(0)).kill();
        receiver.answer(&path, Answer::ok());
        stack.process(Kind::Deliverer(0)).restart().await;
        let again = |receiver: &Receiver| at(receiver, &path).contains(&id);
        receiver.until("it comes again after the kill", again).await;
    }
    assert_eq!(receiver.signature_failures(), [""; 0]);
}
