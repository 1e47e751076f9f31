//! How delivery to a sink goes can be seen while it goes, and be paused.

use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
};
use millrace_tests::{
    Kind, Mode, Options, Sink, Stack, TYPE,
    arrivals::{exactly, ids},
    event,
};
use serde_json::{Value, json};

/// The status of a sink, by REST.
async fn status(stack: &Stack, sink: &Sink) -> Value {
    let answer = stack.rest().get(&format!("/v1/Sinks/{}/Status", sink.sid)).await;
    match answer.status {
        200 => answer.body,
        // Nobody owns its partition yet.
        503 => Value::Null,
        _ => panic!("{answer:?}"),
    }
}

/// Waits for a status that is so, and prints what was seen before.
async fn until(stack: &Stack, sink: &Sink, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let so = &so;
    let look = || async move {
        let seen = status(stack, sink).await;
        if so(&seen) {
            return Some(seen);
        }
        println!("not yet so that {what}: {seen}");
        None
    };
    eventually(what, look).await
}

#[tokio::test]
async fn a_sink_that_is_down_tells_why_and_recovers_embedded() {
    a_sink_that_is_down_tells_why_and_recovers(Mode::Embedded).await;
}

#[tokio::test]
async fn a_sink_that_is_down_tells_why_and_recovers_on_servers() {
    a_sink_that_is_down_tells_why_and_recovers(Mode::Servers).await;
}

async fn a_sink_that_is_down_tells_why_and_recovers(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    receiver.answers("/down", [Answer::status(503).body("overloaded")]);
    let sink = stack.subscribed(&receiver, "/down").await;
    let idle = until(&stack, &sink, "it can be seen", |status| !status.is_null()).await;
    assert_eq!((&idle["breaker"], &idle["backlog_events"]), (&json!("closed"), &json!(0)));
    assert_eq!(
        (&idle["last_failure"], &idle["oldest_event_seconds"]),
        (&json!(null), &json!(null))
    );

    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    stack.publish(names.iter().map(|name| event(name))).await;
    let down = until(&stack, &sink, "the breaker is open and all events are parked", |status| {
        status["breaker"] == "open" && status["backlog_events"] == 20
    })
    .await;
    assert_eq!(down["breaker_cause"], "in_a_row");
    assert!(down["date_next_probe"].is_string() && down["date_breaker_opened"].is_string());
    assert_eq!(
        (&down["last_failure"]["http_status"], &down["last_failure"]["error_code"]),
        (&json!(503), &json!(91306))
    );
    assert_eq!(down["last_failure"]["detail"], "overloaded");
    assert!(down["backlog_bytes"].as_u64() > Some(0) && down["oldest_event_seconds"].is_u64());
    assert!(down["failed_per_second"].as_f64() > Some(0.0));
    assert_eq!(down["delivered_per_second"], 0.0);

    receiver.answers("/down", [Answer::ok()]);
    exactly(&receiver, "/down", &names.into_iter().collect()).await;
    let back = until(&stack, &sink, "nothing waits any more", |status| {
        status["breaker"] == "closed" && status["backlog_events"] == 0
    })
    .await;
    assert!(back["delivered_per_second"].as_f64() > Some(0.0), "{back}");
    assert_eq!(back["last_failure"]["http_status"], 503, "it is remembered");
    let none = stack.rest().get("/v1/Sinks/DG00000000000000000000000000000001/Status").await;
    assert_eq!(none.error().0, 404);
}

#[tokio::test]
async fn a_paused_sink_keeps_its_events_until_it_is_resumed_embedded() {
    a_paused_sink_keeps_its_events_until_it_is_resumed(Mode::Embedded).await;
}

#[tokio::test]
async fn a_paused_sink_keeps_its_events_until_it_is_resumed_on_servers() {
    a_paused_sink_keeps_its_events_until_it_is_resumed(Mode::Servers).await;
}

async fn a_paused_sink_keeps_its_events_until_it_is_resumed(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let configuration = json!({ "destination": receiver.url("/paused") }).to_string();
    let form = [
        ("Description", "paused from the start"),
        ("SinkType", "webhook"),
        ("SinkConfiguration", &configuration),
        ("Paused", "true"),
    ];
    let made = stack.rest().post("/v1/Sinks", &form).await;
    let sink = Sink { sid: made.text("/sid").to_owned(), signing_secret: String::new() };
    stack.subscribe(&sink, &[TYPE]).await;
    stack.subscribed(&receiver, "/well").await;

    stack.publish([event("1"), event("2")]).await;
    exactly(&receiver, "/well", &ids(["1", "2"])).await;
    let paused =
        until(&stack, &sink, "its events are kept", |status| status["backlog_events"] == 2).await;
    assert_eq!((&paused["paused"], &paused["breaker"]), (&json!(true), &json!("closed")));
    assert!(receiver.requests_to("/paused").is_empty());

    let resumed =
        stack.rest().post(&format!("/v1/Sinks/{}", sink.sid), &[("Paused", "false")]).await;
    assert_eq!((resumed.status, resumed.body.get("paused")), (200, None));
    exactly(&receiver, "/paused", &ids(["1", "2"])).await;
}

#[tokio::test]
async fn a_sink_that_nobody_serves_is_unavailable_and_not_unknown() {
    let mut stack = Stack::start(Mode::Servers, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.subscribed(&receiver, "/served").await;
    until(&stack, &sink, "it is served", |status| !status.is_null()).await;
    stack.process(Kind::Deliverer(0)).kill();
    let rest = stack.rest();
    let path = format!("/v1/Sinks/{}/Status", sink.sid);
    let (status, code, message) = {
        let answer = rest.get(&path).await;
        let (status, code, message) = answer.error();
        (status, code, message.to_owned())
    };
    assert_eq!((status, code), (503, 20503), "{message}");
    eventually("its lease is over", || async {
        let answer = rest.get(&path).await;
        answer.error().2.contains("no deliverer serves this sink").then_some(())
    })
    .await;
    stack.process(Kind::Deliverer(0)).restart().await;
    until(&stack, &sink, "it is served again", |status| !status.is_null()).await;
}
