//! Segment's own Python library and our driver are taken by the same receiver, and say the same things in the same places.

use std::collections::BTreeSet;

use millrace_testkit::{
    eventually, python,
    segment::{BATCH, Segment},
};
use millrace_tests::{Mode, Options, Stack, TYPE, event};
use serde_json::{Value, json};
use tokio::process::Command;

/// <https://pypi.org/project/segment-analytics-python/2.3.4/>
const LIBRARY: &str = "segment-analytics-python==2.3.4";
const WRITE_KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";
const SCRIPT: &str = r#"
import sys
import segment.analytics as analytics

def failed(error, batch):
    print(error, file=sys.stderr)
    sys.exit(1)

analytics.write_key, analytics.host, analytics.on_error = sys.argv[1], sys.argv[2], failed
analytics.track(anonymous_id="theirs-1", event="theirs", properties={"n": 1}, message_id="theirs-1")
analytics.flush()
"#;

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn our_calls_are_shaped_as_those_of_segments_library() {
    let segment = Segment::start(WRITE_KEY).await;
    let packages = [LIBRARY];
    let python = tokio::task::spawn_blocking(move || python::with(&packages)).await;
    let ran = Command::new(python.expect("no panic"))
        .args(["-c", SCRIPT, WRITE_KEY, &segment.receiver.url("")])
        .output()
        .await
        .expect("Python runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let endpoint: &'static str = Box::leak(segment.receiver.url("").into_boxed_str());
    let options = Options::default().set(&[("sinks.segment.endpoint", endpoint)]);
    let stack = Stack::start(Mode::Embedded, options).await;
    let sink = stack.sink_of("segment", json!({ "write_key": WRITE_KEY })).await;
    stack.subscribe(&sink, &[TYPE]).await;
    stack.publish([event("ours-1")]).await;
    let calls = eventually("both calls are kept", || async {
        Some(segment.calls()).filter(|calls| calls.len() == 2)
    })
    .await;
    let (theirs, ours) = (&calls[0], &calls[1]);
    assert_eq!((&theirs["messageId"], &ours["messageId"]), (&json!("theirs-1"), &json!("ours-1")));
    // Theirs may say more, such as `integrations`; what both have is of the same kind.
    for field in ["type", "event", "messageId", "anonymousId", "timestamp", "properties", "context"]
    {
        let kinds = (theirs[field].is_string(), theirs[field].is_object());
        assert_eq!((ours[field].is_string(), ours[field].is_object()), kinds, "{field}");
    }
    let unknown: Vec<_> = fields(ours).difference(&fields(theirs)).copied().collect();
    assert!(unknown.is_empty(), "fields that the library does not send: {unknown:?}");
    let requests = segment.receiver.requests_to(BATCH);
    let header = |at: usize, name: &str| requests[at].header(name).map(str::to_owned);
    assert_eq!(header(0, "content-type"), header(1, "content-type"));
    // Theirs says the key in the body, ours in the head: Segment takes either.
    let bodies = requests.iter().map(|it| serde_json::from_slice::<Value>(&it.body).expect("JSON"));
    let bodies: Vec<_> = bodies.collect();
    assert_eq!((header(0, "authorization"), &bodies[0]["writeKey"]), (None, &json!(WRITE_KEY)));
    assert!(header(1, "authorization").is_some() && bodies[1].get("writeKey").is_none());
    assert!(bodies.iter().all(|body| body["batch"].is_array()));
}
