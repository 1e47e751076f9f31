//! The test of a sink, by REST and by the command line: the event comes, signed, and what is wrong is told.

use millrace_testkit::receiver::{Answer, Receiver};
use millrace_tests::{Kind, Mode, Options, Stack, binary};
use serde_json::{Value, json};
use tokio::process::Command;

/// `millrace sinks test DG… --json`: whether it exited well, and what it told.
async fn tested(stack: &Stack, sid: &str) -> (bool, Value) {
    let ran = Command::new(binary())
        .args(["sinks", "--json", "test", sid])
        .env("MILLRACE__CLIENT__SERVER", stack.url(Kind::ControlPlane))
        .env("MILLRACE__CLIENT__ACCOUNT_SID", &stack.identity.account_sid)
        .env("MILLRACE__CLIENT__AUTH_TOKEN", &stack.identity.auth_token)
        .output()
        .await
        .expect("the command runs");
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    let told = serde_json::from_str(&out);
    let told = told.unwrap_or_else(|_| panic!("{out}\n{}", String::from_utf8_lossy(&ran.stderr)));
    (ran.status.success(), told)
}

#[tokio::test]
async fn a_test_sends_the_event_of_event_streams_embedded() {
    a_test_sends_the_event_of_event_streams(Mode::Embedded).await;
}

#[tokio::test]
async fn a_test_sends_the_event_of_event_streams_on_servers() {
    a_test_sends_the_event_of_event_streams(Mode::Servers).await;
}

async fn a_test_sends_the_event_of_event_streams(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/test", true).await;
    let path = format!("/v1/Sinks/{}", sink.sid);
    let submitted = stack.rest().post(&format!("{path}/Test"), &[]).await;
    assert_eq!((submitted.status, submitted.body), (201, json!({"result": "submitted"})));
    let request = &receiver.requests_to("/test")[0];
    let [event] = &request.events()[..] else { panic!("an array of one: {request:?}") };
    assert_eq!(event["type"], "com.twilio.eventstreams.test-event");
    assert_eq!(event["source"], "Sink");
    assert_eq!(event["id"], stack.identity.account_sid);
    let schema = event["dataschema"].as_str().expect("a URI");
    assert!(schema.ends_with("/EventStreams.TestSink/1.json"), "{schema}");
    let test_id = event["data"]["test_id"].as_str().expect("an id");
    assert_eq!(test_id.len(), 36);
    assert_eq!((receiver.signatures_checked(), receiver.signature_failures().len()), (1, 0));
    let validated = stack.rest().post(&format!("{path}/Validate"), &[("TestId", test_id)]).await;
    assert_eq!((validated.status, validated.body), (201, json!({"result": "valid"})));
    assert_eq!(stack.rest().post(&format!("{path}/Validate"), &[]).await.status, 400);
    let none = "/v1/Sinks/DG00000000000000000000000000000001/Test";
    assert_eq!(stack.rest().post(none, &[]).await.status, 404);

    receiver.answer("/test", Answer::status(404).body("no such page"));
    let submitted = stack.rest().post(&format!("{path}/Test"), &[]).await;
    assert_eq!(submitted.status, 201, "as Event Streams answers, whatever the sink says");
}

#[tokio::test]
async fn the_command_tells_each_step_and_what_to_do() {
    let stack = Stack::start(Mode::Embedded, Options::default()).await;
    let receiver = Receiver::start().await;
    let sink = stack.sink(&receiver, "/test", true).await;
    let (well, told) = tested(&stack, &sink.sid).await;
    assert!(well && told["delivered"] == true && told["http_status"] == 200, "{told}");
    let steps = told["steps"].as_array().expect("steps").iter().map(|step| step["name"].clone());
    assert_eq!(steps.collect::<Vec<_>>(), ["dns", "connect"]);
    receiver.answer("/test", Answer::status(404).body("no such page"));
    let (well, told) = tested(&stack, &sink.sid).await;
    assert!(!well && told["delivered"] == false, "{told}");
    assert_eq!((&told["error_code"], &told["detail"]), (&json!(91305), &json!("no such page")));
    assert!(told["remedy"].is_string());

    let unknown = json!({"destination": "https://no-such-host.invalid/x"});
    let unknown = stack.sink_with(unknown).await;
    let (well, told) = tested(&stack, &unknown.sid).await;
    assert!(!well && told["error_code"] == 91307, "{told}");
    assert_eq!(
        (&told["steps"][0]["name"], &told["steps"][0]["ok"]),
        (&json!("dns"), &json!(false))
    );

    let rest = stack.rest();
    let path = format!("/v1/Sinks/{}/Test", sink.sid);
    let mut refused = None;
    for _ in 0..12 {
        let answer = rest.post(&path, &[]).await;
        refused = (answer.status == 429).then(|| answer.error().1).or(refused);
    }
    assert_eq!(refused, Some(20429), "an account has so many tests and no more");
}
