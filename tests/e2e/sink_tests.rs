//! The test of a sink, by REST and by the command line: the event comes, signed, and what is wrong is told.

use std::{collections::BTreeSet, process::Output};

use millrace_testkit::{
    moto::Moto,
    receiver::{Answer, Receiver},
};
use millrace_tests::{Kind, Mode, Options, Stack, binary};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::kinesis;

/// `millrace sinks test DG… --json`: whether it exited well, and what it told.
async fn tested(stack: &Stack, sid: &str) -> (bool, Value) {
    let ran = run(stack, &["sinks", "--json", "test", sid]).await;
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    let told = serde_json::from_str(&out);
    let told = told.unwrap_or_else(|_| panic!("{out}\n{}", String::from_utf8_lossy(&ran.stderr)));
    (ran.status.success(), told)
}

/// `millrace sinks test DG…`: whether it exited well, and what it says to people.
async fn said(stack: &Stack, sid: &str) -> (bool, String) {
    let ran = run(stack, &["sinks", "test", sid]).await;
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}

async fn run(stack: &Stack, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env("MILLRACE__CLIENT__SERVER", stack.url(Kind::ControlPlane))
        .env("MILLRACE__CLIENT__ACCOUNT_SID", &stack.identity.account_sid)
        .env("MILLRACE__CLIENT__AUTH_TOKEN", &stack.identity.auth_token)
        .output()
        .await
        .expect("the command runs")
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

#[tokio::test]
async fn of_a_kinesis_sink_the_command_tells_of_role_stream_and_record() {
    let moto = Moto::start().await;
    let key = [moto.made("key_id"), moto.made("key_secret")];
    let stack = kinesis::stack(Mode::Servers, moto.url(), key).await;
    let [arn, role, external_id] =
        ["stream_arn", "role_arn", "external_id"].map(|name| moto.made(name));
    let sink = async |arn: &str, role_arn: &str, external_id: &str| {
        let configuration = json!({ "arn": arn, "role_arn": role_arn, "external_id": external_id });
        stack.sink_of("kinesis", configuration).await.sid
    };

    let (well, text) = said(&stack, &sink(arn, role, external_id).await).await;
    tells(&text, &["assume role  ok", role, "list shards  ok", "2 open", "deliver      ok"]);
    tells(&text, &["200 shardId-", "sequence number", " ms", "test_id "]);
    assert!(well, "{text}");
    let (ids, _) = moto.until_there_are(1).await;
    assert_eq!(ids, BTreeSet::from([stack.identity.account_sid.clone()]));

    // Whom the role has to trust, and how, in the words of its trust policy.
    let mends = ["sts:AssumeRole", "sts:ExternalId", ":user/millrace", "trust policy"];
    let wrong = sink(arn, role, "not-the-external-id").await;
    let (well, text) = said(&stack, &wrong).await;
    tells(&text, &["assume role  failed", "AccessDenied", role, "error 93102", "errors/93102"]);
    tells(&text, &mends);
    assert!(!well && !text.contains("not-the-external-id"), "{text}");
    assert!(!text.contains("list shards"), "nothing is done without the role: {text}");
    let (_, told) = tested(&stack, &wrong).await;
    assert_eq!((&told["error_code"], &told["http_status"]), (&json!(93102), &Value::Null));

    // Of a role that is not there AWS says the same; moto grants it.
    let distrustful = moto.made("distrustful_arn");
    let (well, text) = said(&stack, &sink(arn, distrustful, external_id).await).await;
    tells(&text, &["assume role  failed", "AccessDenied", distrustful, "error 93102"]);
    tells(&text, &mends);
    assert!(!well, "{text}");

    let gone = arn.replace("/events", "/no-such-stream");
    let (well, text) = said(&stack, &sink(&gone, role, external_id).await).await;
    tells(&text, &["assume role  ok", "list shards  failed", "93103", "deliver      failed"]);
    tells(&text, &["ResourceNotFoundException", "error 91300", "that it exists"]);
    assert!(!well, "{text}");
    assert_eq!(moto.events().await.1, 1, "nothing else got in");
}

fn tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}
