//! A subscriber pinned to a schema version gets events of that version.

use millrace_proto::v1::Event;
use millrace_testkit::receiver::Receiver;
use millrace_tests::{Mode, Options, Stack, TYPE, event};
use serde_json::{Value, json};

#[tokio::test]
async fn a_pinned_subscriber_gets_its_version_embedded() {
    a_pinned_subscriber_gets_its_version(Mode::Embedded).await;
}

#[tokio::test]
async fn a_pinned_subscriber_gets_its_version_on_servers() {
    a_pinned_subscriber_gets_its_version(Mode::Servers).await;
}

async fn a_pinned_subscriber_gets_its_version(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    for (path, version) in [("/one", 1), ("/four", 4)] {
        let sink = stack.sink(&receiver, path, false).await;
        stack.subscribe_to(&sink, &[json!({"type": TYPE, "schema_version": version})]).await;
    }
    stack.subscribed(&receiver, "/latest").await;
    // One sink, two versions of one type: once, at the higher.
    let both = stack.sink(&receiver, "/both", false).await;
    stack.subscribe_to(&both, &[json!({"type": TYPE, "schema_version": 1})]).await;
    stack.subscribe_to(&both, &[json!({"type": TYPE, "schema_version": 4})]).await;

    // `body` came with version 2, `tags` with 4, `numberOfSegments` with 6; `mine` is in none.
    let data = json!({
        "messageSid": "SM1", "body": "hello", "tags": {"a": "b"}, "numberOfSegments": 1, "mine": 1,
    });
    stack.publish([Event { data: data.to_string(), ..event("1") }]).await;
    let all = |receiver: &Receiver| receiver.requests().len() == 4;
    receiver.until("all four sinks get it", all).await;

    assert_eq!(data_and_version(&receiver, "/one"), (json!({"messageSid": "SM1"}), "1".to_owned()));
    let four = json!({"messageSid": "SM1", "body": "hello", "tags": {"a": "b"}});
    assert_eq!(data_and_version(&receiver, "/four"), (four.clone(), "4".to_owned()));
    assert_eq!(data_and_version(&receiver, "/both"), (four, "4".to_owned()));
    let (latest, version) = data_and_version(&receiver, "/latest");
    assert_eq!((latest, version.as_str()), (data, "8"));
    assert_eq!(receiver.signature_failures(), [""; 0]);
}

fn data_and_version(receiver: &Receiver, path: &str) -> (Value, String) {
    let requests = receiver.requests_to(path);
    let event = requests[0].events().remove(0);
    let schema = event["dataschema"].as_str().expect("a schema");
    let version = schema.rsplit('/').next().unwrap_or_default().to_owned();
    (event["data"].clone(), version)
}
