//! Segment, receivers of CloudEvents and files get every event that is published, also after a time in which they were down.

use std::{collections::BTreeSet, fs};

use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
    segment::{BATCH, Segment},
};
use millrace_tests::{Kind, Mode, Options, Stack, TYPE, event};
use serde_json::{Value, json};

const WRITE_KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";
const EVENTS: usize = 2_000;

/// Options with a setting that is made at run time.
fn with(name: &'static str, value: String) -> Options {
    let value: &'static str = Box::leak(value.into_boxed_str());
    Options::default().set(&[(name, value)])
}

async fn publish(stack: &Stack, names: &BTreeSet<String>) {
    let names: Vec<_> = names.iter().collect();
    for names in names.chunks(500) {
        stack.publish(names.iter().map(|name| event(name))).await;
    }
}

fn names(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// The texts of a field of JSON objects.
fn texts(values: &[Value], field: &str) -> BTreeSet<String> {
    values.iter().filter_map(|value| value[field].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn segment_gets_every_event_once_it_is_back_embedded() {
    segment_gets_every_event_once_it_is_back(Mode::Embedded).await;
}

#[tokio::test]
async fn segment_gets_every_event_once_it_is_back_on_servers() {
    segment_gets_every_event_once_it_is_back(Mode::Servers).await;
}

async fn segment_gets_every_event_once_it_is_back(mode: Mode) {
    let segment = Segment::start(WRITE_KEY).await;
    let stack = Stack::start(mode, with("sinks.segment.endpoint", segment.receiver.url(""))).await;
    let sink = stack.sink_of("segment", json!({ "write_key": WRITE_KEY })).await;
    stack.subscribe(&sink, &[TYPE]).await;
    let up = names("up", EVENTS);
    publish(&stack, &up).await;
    eventually("all events are at Segment", || async {
        (texts(&segment.calls(), "messageId") == up).then_some(())
    })
    .await;
    let call = &segment.calls()[0];
    assert_eq!((&call["type"], &call["event"]), (&json!("track"), &json!(TYPE)));
    assert_eq!(call["properties"]["messageStatus"], "SENT");
    assert!(call["context"]["dataschema"].as_str().is_some_and(|it| it.contains("MessageStatus")));
    let requests = segment.receiver.requests().len();
    assert!(requests < EVENTS / 4, "{requests} requests for {EVENTS} events: they go in batches");

    segment.receiver.answer(BATCH, Answer::status(503));
    let down = names("down", 200);
    publish(&stack, &down).await;
    segment
        .receiver
        .until("it is tried while it is down", |it| it.requests().len() > requests + 3)
        .await;
    segment.serve(WRITE_KEY);
    let all: BTreeSet<_> = up.union(&down).cloned().collect();
    eventually("what waited is at Segment too", || async {
        (texts(&segment.calls(), "messageId") == all).then_some(())
    })
    .await;
    assert_eq!(segment.dropped(), [""; 0], "answered 200 and dropped");
}

#[tokio::test]
async fn one_millrace_delivers_into_another() {
    let far = Stack::start(Mode::Embedded, Options::default()).await;
    let near = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    far.subscribed(&receiver, "/far").await;
    let url = format!("{}/v1/Events", far.url(Kind::Router(0)));
    let (user, password) = (&far.identity.account_sid, &far.identity.auth_token);
    let url = url.replacen("://", &format!("://{user}:{password}@"), 1);
    for (prefix, mode, batch_events) in [
        ("batched", "structured", true),
        ("single", "structured", false),
        ("binary", "binary", false),
    ] {
        let configuration =
            json!({ "destination": url.clone(), "mode": mode, "batch_events": batch_events });
        let sink = near.sink_of("cloudevents", configuration).await;
        near.subscribe(&sink, &[TYPE]).await;
        let names = names(prefix, 100);
        publish(&near, &names).await;
        receiver
            .until("all events came through both", |it| {
                it.accepted_ids().iter().filter(|id| id.starts_with(prefix)).count() == names.len()
            })
            .await;
        let paused = [("Paused", "true")];
        let rest = near.rest();
        assert_eq!(rest.post(&format!("/v1/Sinks/{}", sink.sid), &paused).await.status, 200);
    }
    let request = &receiver.requests()[0];
    assert_eq!(request.events()[0]["data"]["messageStatus"], "SENT");
}

#[tokio::test]
async fn a_file_has_every_event_in_a_line_of_its_own() {
    let root = tempfile::tempdir().expect("a directory");
    let options = with("sinks.file.root", root.path().display().to_string());
    let stack = Stack::start(Mode::Embedded, options).await;
    let sink = stack.sink_of("file", json!({ "path": "audit/events.jsonl" })).await;
    stack.subscribe(&sink, &[TYPE]).await;
    let published = names("line", EVENTS);
    publish(&stack, &published).await;
    let path = root.path().join(&stack.identity.account_sid).join("audit/events.jsonl");
    let written = || -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole.map(|line| serde_json::from_str(line).expect("a line is an event")).collect()
    };
    eventually("all events are in the file", || async {
        (texts(&written(), "id") == published).then_some(())
    })
    .await;
    assert_eq!(written().len(), EVENTS, "each once");
}

#[tokio::test]
async fn a_file_has_every_event_and_no_torn_line_after_kills() {
    let root = tempfile::tempdir().expect("a directory");
    let options = with("sinks.file.root", root.path().display().to_string());
    let leases = [("deliverer.lease", "2s"), ("deliverer.renew", "400ms")];
    let mut stack = Stack::start(Mode::Embedded, options.set(&leases)).await;
    let sink = stack.sink_of("file", json!({ "path": "events.jsonl" })).await;
    stack.subscribe(&sink, &[TYPE]).await;
    let mut published = BTreeSet::new();
    for kill in 0..3 {
        let some = names(&format!("kill-{kill}"), 1_000);
        publish(&stack, &some).await;
        published.extend(some);
        stack.process(Kind::Deliverer(0)).kill();
        stack.process(Kind::Deliverer(0)).restart().await;
    }
    let path = root.path().join(&stack.identity.account_sid).join("events.jsonl");
    let text = eventually("all events are in the file", || async {
        let text = fs::read_to_string(&path).unwrap_or_default();
        published.iter().all(|name| text.contains(&format!("\"{name}\""))).then_some(text)
    })
    .await;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("a line is an event");
        assert!(event["id"].as_str().is_some_and(|id| published.contains(id)), "{line}");
    }
}

#[tokio::test]
async fn headers_of_an_account_come_with_its_events() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.subscribed(&receiver, "/headers").await;
    let headers = [("Headers", r#"{"X-Api-Key":"hunter2"}"#)];
    let updated = stack.rest().post(&format!("/v1/Sinks/{}", sink.sid), &headers).await;
    assert_eq!(updated.body["headers"], json!({"x-api-key": "***"}));
    eventually("the deliverer knows", || async {
        stack.publish([event("probe")]).await;
        let requests = receiver.requests();
        requests.iter().any(|it| it.header("x-api-key") == Some("hunter2")).then_some(())
    })
    .await;
}
