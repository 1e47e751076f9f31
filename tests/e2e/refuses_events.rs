//! An event that is wrong is refused with what is wrong about it; its neighbours are delivered.

use millrace_proto::v1::{Event, PublishResult, RejectionCode, publish_result::Outcome};
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Mode, Options, Publisher, Stack, TYPE, cloud_event, event, event_of};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::arrivals::{exactly, ids};

#[tokio::test]
async fn a_wrong_event_is_refused_and_its_neighbours_arrive_embedded() {
    a_wrong_event_is_refused_and_its_neighbours_arrive(Mode::Embedded).await;
}

#[tokio::test]
async fn a_wrong_event_is_refused_and_its_neighbours_arrive_on_servers() {
    a_wrong_event_is_refused_and_its_neighbours_arrive(Mode::Servers).await;
}

async fn a_wrong_event_is_refused_and_its_neighbours_arrive(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/all").await;
    by_grpc(&stack.publisher(0)).await;
    by_http(&stack.publisher(0)).await;
    exactly(&receiver, "/all", &ids(["grpc-1", "grpc-2", "http-1", "http-2"])).await;
}

async fn by_grpc(publisher: &Publisher) {
    use RejectionCode::{InvalidArgument, NotFound, PermissionDenied, TooLarge};
    let long = "x".repeat(256 * 1024);
    let wrong = [
        (Event { source: String::new(), ..event("") }, InvalidArgument, "source"),
        (Event { source: "a b".to_owned(), ..event("") }, InvalidArgument, "source"),
        (Event { r#type: String::new(), ..event("") }, InvalidArgument, "type"),
        (event_of("com.example.unknown", ""), NotFound, "type"),
        (event(&"x".repeat(256)), TooLarge, "id"),
        (Event { time: "yesterday".to_owned(), ..event("") }, InvalidArgument, "time"),
        (Event { data: String::new(), ..event("") }, InvalidArgument, "data"),
        (Event { data: "[]".to_owned(), ..event("") }, InvalidArgument, "data"),
        (Event { data: "{\"a\":".to_owned(), ..event("") }, InvalidArgument, "data"),
        (
            Event { dataschema: "https://s/none".to_owned(), ..event("") },
            InvalidArgument,
            "dataschema",
        ),
        (Event { data: json!({ "long": long }).to_string(), ..event("") }, TooLarge, ""),
        (Event { account_sid: "AC1".to_owned(), ..event("") }, InvalidArgument, "account_sid"),
        (
            Event { account_sid: format!("AC{:032x}", 9), ..event("") },
            PermissionDenied,
            "account_sid",
        ),
        (
            Event { extensions: [("Bad_Name".to_owned(), String::new())].into(), ..event("") },
            InvalidArgument,
            "Bad_Name",
        ),
    ];
    let mut events = vec![event("grpc-1")];
    events.extend(wrong.iter().map(|(event, ..)| event.clone()));
    events.push(event("grpc-2"));

    let results = publisher.publish(events).await.expect("each has its result").results;
    assert_eq!(results.len(), wrong.len() + 2);
    for (position, (event, code, field)) in wrong.iter().enumerate() {
        let (found, at, message) = rejection(&results[position + 1]);
        // A name is a field, and what is wrong with an extension may be told under either.
        assert_eq!((found, at), (*code, *field), "{message}: {event:.200?}");
        assert!(!message.is_empty());
    }
    assert!(accepted(&results[0]) && accepted(&results[results.len() - 1]));
}

async fn by_http(publisher: &Publisher) {
    let changed = |key: &str, value: Value| {
        let mut event = cloud_event(TYPE, "bad");
        event[key] = value;
        event
    };
    let wrong = [
        (changed("specversion", json!("0.3")), "invalid_argument", "specversion"),
        (changed("source", json!(7)), "invalid_argument", "source"),
        (changed("type", json!("com.example.unknown")), "not_found", "type"),
        (changed("data", json!("text")), "invalid_argument", "data"),
        (changed("time", json!("2026-13-01T00:00:00Z")), "invalid_argument", "time"),
        (changed("datacontenttype", json!("text/xml")), "invalid_argument", "datacontenttype"),
        (changed("data_base64", json!("AAAA")), "invalid_argument", "data_base64"),
        (changed("accountsid", json!("AC1")), "invalid_argument", "accountsid"),
        (changed("data", json!({"long": "x".repeat(256 * 1024)})), "too_large", ""),
        (json!("no event"), "invalid_argument", ""),
    ];
    let mut batch = vec![cloud_event(TYPE, "http-1")];
    batch.extend(wrong.iter().map(|(event, ..)| event.clone()));
    batch.push(cloud_event(TYPE, "http-2"));
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = publisher.post(&headers, json!(batch).to_string()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let results = answer.body["results"].as_array().expect("results");
    assert_eq!(results.len(), wrong.len() + 2);
    assert_eq!(
        (&results[0]["status"], &results[11]["status"]),
        (&json!("accepted"), &json!("accepted"))
    );
    for (result, (event, code, field)) in results[1..].iter().zip(&wrong) {
        let found = (result["status"].as_str(), result["code"].as_str(), result["field"].as_str());
        assert_eq!(found, (Some("rejected"), Some(*code), Some(*field)), "{result}: {event:.200?}");
    }
    // Alone, each is refused as a whole.
    let headers = [("content-type", "application/cloudevents+json")];
    for (event, code, _) in &wrong {
        let answer = publisher.post(&headers, event.to_string()).await;
        let status = if *code == "too_large" { 413 } else { 400 };
        assert_eq!(answer.status, status, "{answer:?}: {event:.200?}");
    }
}

#[tokio::test]
async fn a_publish_over_the_limits_is_refused_whole() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let publisher = stack.publisher(0);
    // More than 10,000 events; more than 4 MB, and more than is decoded at all.
    let refused = publisher.publish(vec![event(""); 10_001]).await.expect_err("too many");
    assert_eq!((refused.code(), violation(&refused)), (Code::InvalidArgument, "events".to_owned()));
    let large = |count: usize| {
        let data = json!({ "long": "x".repeat(100 * 1024) }).to_string();
        vec![Event { data, ..event("") }; count]
    };
    let refused = publisher.publish(large(45)).await.expect_err("too large");
    assert_eq!((refused.code(), violation(&refused)), (Code::InvalidArgument, "events".to_owned()));
    let refused = publisher.publish(large(80)).await.expect_err("much too large");
    assert!(refused.message().contains("5242880"), "{refused:?}");

    let headers = [("content-type", "application/cloudevents-batch+json")];
    let many = json!(vec![cloud_event(TYPE, "many"); 10_001]).to_string();
    let answer = publisher.post(&headers, many).await;
    assert_eq!((answer.status, answer.text("/code")), (413, "too_large"));
    let answer = publisher.post(&headers, vec![b' '; 4 * 1024 * 1024 + 1]).await;
    assert_eq!((answer.status, answer.text("/code")), (413, "too_large"));
}

#[tokio::test]
async fn what_is_no_publish_at_all_is_told_so() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let publisher = stack.publisher(0);
    let batched = [("content-type", "application/cloudevents-batch+json")];
    for (headers, body, status) in [
        (&batched[..], "[", 400),
        (&batched, "{}", 400),
        (&batched, "[1,", 400),
        (&[("content-type", "application/cloudevents+json")], "{\"id\":", 400),
        (&[("content-type", "application/cloudevents+json")], "", 400),
        (&[("content-type", "text/plain")], "{}", 415),
        (&[], "{}", 415),
    ] {
        let answer = publisher.post(headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body:?}: {answer:?}");
    }
}

#[tokio::test]
async fn wrong_credentials_publish_nothing() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let url = stack.url(millrace_tests::Kind::Router(0));
    for authorization in ["Bearer wrong", "Basic !!!", "Basic bm9ib2R5Om5vdGhpbmc=", "Digest x"] {
        let publisher = Publisher::new(&url, authorization);
        let refused = publisher.publish(vec![event("")]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        let headers = [("content-type", "application/json")];
        let answer = publisher.post(&headers, cloud_event(TYPE, "x").to_string()).await;
        assert_eq!((answer.status, answer.text("/code")), (401, "unauthenticated"));
    }
    // A platform key must say whose event it is.
    let publisher = Publisher::new(&url, &stack.identity.bearer());
    let results = publisher.publish(vec![event("")]).await.expect("a result").results;
    assert_eq!(rejection(&results[0]).1, "account_sid");
}

fn accepted(result: &PublishResult) -> bool {
    matches!(result.outcome, Some(Outcome::Accepted(_)))
}

fn rejection(result: &PublishResult) -> (RejectionCode, &str, &str) {
    let Some(Outcome::Rejected(rejected)) = &result.outcome else { panic!("accepted: {result:?}") };
    (rejected.code(), &rejected.field, &rejected.message)
}

fn violation(status: &tonic::Status) -> String {
    let details = status.get_details_bad_request().expect("details");
    details.field_violations[0].field.clone()
}
