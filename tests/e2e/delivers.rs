//! What is published arrives, signed, at every sink that subscribes to it, and nowhere else.

use millrace_testkit::receiver::Receiver;
use millrace_tests::{Mode, Options, Stack, TYPE, cloud_event, event, event_of};
use serde_json::{Value, json};

use crate::arrivals::{at, exactly, ids};

const OTHER: &str = "com.twilio.messaging.message.delivered";

#[tokio::test]
async fn every_way_to_publish_arrives_signed_embedded() {
    every_way_to_publish_arrives_signed(Mode::Embedded).await;
}

#[tokio::test]
async fn every_way_to_publish_arrives_signed_on_servers() {
    every_way_to_publish_arrives_signed(Mode::Servers).await;
}

async fn every_way_to_publish_arrives_signed(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    let publisher = stack.publisher(0);

    stack.publish([event("grpc")]).await;

    let structured = cloud_event(TYPE, "structured").to_string();
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let answer = publisher.post(&headers, structured).await;
    let accepted = |id: &str| json!({ "id": id, "status": "accepted", "sinks": 1 });
    assert_eq!((answer.status, &answer.body), (202, &json!({"results": [accepted("structured")]})));

    let batch = json!([cloud_event(TYPE, "batch-1"), cloud_event(TYPE, "batch-2")]).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = publisher.post(&headers, batch).await;
    let results = json!({"results": [accepted("batch-1"), accepted("batch-2")]});
    assert_eq!((answer.status, &answer.body), (202, &results));

    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "binary"),
        ("ce-type", TYPE),
        ("ce-source", "/tests"),
        ("ce-subject", "%C3%A9"),
        ("ce-tenant", "blue"),
    ];
    let answer = publisher.post(&headers, r#"{"messageSid": "SM1"}"#).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"results": [accepted("binary")]})));

    let expected = ids(["grpc", "structured", "batch-1", "batch-2", "binary"]);
    exactly(&receiver, "/all", &expected).await;
    assert_eq!(receiver.signatures_checked(), 5, "one request for each event");
    let binary = received(&receiver, "binary");
    assert_eq!((&binary["subject"], &binary["tenant"]), (&json!("é"), &json!("blue")));
    assert_eq!(binary["data"]["messageSid"], "SM1");
}

#[tokio::test]
async fn a_request_is_what_event_streams_sends_embedded() {
    a_request_is_what_event_streams_sends(Mode::Embedded).await;
}

#[tokio::test]
async fn a_request_is_what_event_streams_sends_on_servers() {
    a_request_is_what_event_streams_sends(Mode::Servers).await;
}

async fn a_request_is_what_event_streams_sends(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let address = receiver.address();
    let sink =
        json!({"destination": format!("http://ann:b%40b@{address}/hook?a=1"), "method": "POST"});
    let sink = stack.sink_with(sink).await;
    stack.subscribe(&sink, &[TYPE]).await;
    receiver.expect_signatures("/hook", &stack.identity.auth_token, &sink.signing_secret);

    let mut published = event("");
    published.time = "2026-01-02T03:04:05.678Z".to_owned();
    stack.publish([published]).await;
    receiver.until("it arrives", |receiver| receiver.accepted() == 1).await;

    let request = &receiver.requests()[0];
    assert_eq!((request.method.as_str(), request.path()), ("POST", "/hook"));
    assert_eq!(request.parameter("a").as_deref(), Some("1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    // `ann:b@b` in Base64.
    assert_eq!(request.header("authorization"), Some("Basic YW5uOmJAYg=="));
    let agent = request.header("user-agent").unwrap_or_default();
    assert!(agent.starts_with("Millrace/"), "{agent}");
    let events = request.events();
    let Value::Object(event) = &events[0] else { panic!("no event in {events:?}") };
    let names: Vec<&str> = event.keys().map(String::as_str).collect();
    let expected =
        ["data", "datacontenttype", "dataschema", "id", "source", "specversion", "time", "type"];
    assert_eq!(names, expected);
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!(TYPE)));
    assert_eq!(event["time"], "2026-01-02T03:04:05.678Z");
    assert_eq!(event["data"]["messageStatus"], "SENT");
    let id = event["id"].as_str().unwrap_or_default();
    assert!(id.starts_with("EZ") && id.len() == 34, "the router gives an id: {id}");
    let schema = event["dataschema"].as_str().unwrap_or_default();
    assert!(schema.ends_with("/Messaging.MessageStatus/8"), "{schema}");
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

#[tokio::test]
async fn sinks_get_their_types_batched_or_one_by_one_embedded() {
    sinks_get_their_types_batched_or_one_by_one(Mode::Embedded).await;
}

#[tokio::test]
async fn sinks_get_their_types_batched_or_one_by_one_on_servers() {
    sinks_get_their_types_batched_or_one_by_one(Mode::Servers).await;
}

async fn sinks_get_their_types_batched_or_one_by_one(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let batched = stack.sink(&receiver, "/batched", true).await;
    let single = stack.sink(&receiver, "/single", false).await;
    stack.subscribe(&batched, &[TYPE, OTHER]).await;
    stack.subscribe(&single, &[OTHER]).await;
    // The same type by another subscription of the same sink: delivered once all the same.
    stack.subscribe(&single, &[OTHER]).await;

    let named = |kind: &str, n: usize| format!("{kind}-{n}");
    let sent = (0..100).map(|n| event_of(TYPE, &named("sent", n)));
    let delivered = (0..100).map(|n| event_of(OTHER, &named("delivered", n)));
    stack.publish(sent.chain(delivered)).await;

    let others = (0..100).map(|n| named("delivered", n)).collect();
    exactly(&receiver, "/single", &others).await;
    let all = others.into_iter().chain((0..100).map(|n| named("sent", n))).collect();
    exactly(&receiver, "/batched", &all).await;
    assert_eq!(receiver.requests_to("/single").len(), 100);
    let requests = receiver.requests_to("/batched");
    assert!(requests.len() <= 20, "{} requests carried 200 events of 300 bytes", requests.len());
    assert!(requests.iter().all(|request| request.body.len() <= 64 * 1024));
}

#[tokio::test]
async fn a_get_sink_gets_events_as_parameters_embedded() {
    a_get_sink_gets_events_as_parameters(Mode::Embedded).await;
}

#[tokio::test]
async fn a_get_sink_gets_events_as_parameters_on_servers() {
    a_get_sink_gets_events_as_parameters(Mode::Servers).await;
}

async fn a_get_sink_gets_events_as_parameters(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = json!({"destination": receiver.url("/get"), "method": "GET"});
    let sink = stack.sink_with(sink).await;
    stack.subscribe(&sink, &[TYPE]).await;
    receiver.expect_signatures("/get", &stack.identity.auth_token, &sink.signing_secret);

    stack.publish([event("1"), event("2")]).await;
    exactly(&receiver, "/get", &ids(["1", "2"])).await;
    for request in receiver.requests_to("/get") {
        assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0));
        assert_eq!(request.parameter("type").as_deref(), Some(TYPE));
        let data = request.parameter("data").expect("data");
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(data["messageStatus"], "SENT");
    }
}

#[tokio::test]
async fn what_nobody_subscribes_to_is_acknowledged_and_goes_nowhere() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.subscribed(&receiver, "/all").await;
    stack.publish([event_of(OTHER, "other"), event("1")]).await;
    exactly(&receiver, "/all", &ids(["1"])).await;

    // A type added later counts from then on; a deleted subscription counts no more.
    stack.subscribe(&sink, &[OTHER]).await;
    stack.publish([event_of(OTHER, "2")]).await;
    exactly(&receiver, "/all", &ids(["1", "2"])).await;
    let listed = stack.rest().get("/v1/Subscriptions").await;
    for subscription in listed.body["subscriptions"].as_array().expect("a list") {
        let path = format!("/v1/Subscriptions/{}", subscription["sid"].as_str().expect("a SID"));
        assert_eq!(stack.rest().delete(&path).await.status, 204);
    }
    stack.publish([event("3")]).await;
    assert_eq!(at(&receiver, "/all"), ids(["1", "2"]));
    assert_eq!(stack.rest().delete(&format!("/v1/Sinks/{}", sink.sid)).await.status, 204);
}

fn received(receiver: &Receiver, id: &str) -> Value {
    let events = receiver.requests().into_iter().flat_map(|request| request.events());
    events.into_iter().find(|event| event["id"] == id).expect("it arrived")
}
