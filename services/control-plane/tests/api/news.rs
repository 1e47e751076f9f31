//! What accounts are told: of problems, grouped, and of how their sinks are, as events like any other.

use millrace_domain::Partition;
use millrace_proto::internal::{
    AttemptOutcome, AttemptReports, ChunkEvent, DropReports, SinkReport, SinkTurn,
};
use millrace_queue::{EntryId, chunk};
use millrace_testkit::eventually;
use reqwest::Method;
use serde_json::Value;

use crate::{
    harness::{Harness, read, start, text},
    logs::{LONG, attempt, listed, now, report, sid},
};

const LOGGED: &str = "com.twilio.error-logs.error.logged";

/// The events in the queue, by order.
async fn queued(harness: &Harness) -> Vec<ChunkEvent> {
    let home = Partition::home_of(harness.account, 64);
    let cursors = [(home, EntryId::default())];
    let found = harness.queue.read(&cursors, LONG).await.expect("reads");
    let chunks = found.into_iter().map(|(_, entry)| chunk::decode(entry.chunk).expect("a chunk"));
    chunks.flat_map(|chunk| chunk.events).collect()
}

async fn told(harness: &Harness, count: usize) -> Vec<ChunkEvent> {
    eventually("the account is told", async || {
        let events = queued(harness).await;
        (events.len() >= count).then_some(events)
    })
    .await
}

fn json(event: &ChunkEvent) -> Value {
    serde_json::from_slice(&event.variants[0].event).expect("JSON")
}

async fn fails(harness: &Harness, sink: &str, times: usize, about_itself: bool) {
    let mut failed = attempt(harness, sink, AttemptOutcome::Retry, &["a"]);
    failed.about_itself = about_itself;
    let attempts = AttemptReports { attempts: vec![failed; times] };
    report(harness, attempts, DropReports::default()).await;
}

fn turned(harness: &Harness, sink: &str, turn: SinkTurn) -> DropReports {
    let turned = SinkReport {
        account: chunk::account_bytes(harness.account),
        sink: chunk::sink_bytes(sid(sink)),
        turn: turn.into(),
        at_ms: now(),
        error_code: 91305,
        detail: "gone".to_owned(),
    };
    DropReports { sinks: vec![turned], ..DropReports::default() }
}

async fn turns(harness: &Harness, sink: &str, turn: SinkTurn) {
    report(harness, AttemptReports::default(), turned(harness, sink, turn)).await;
}

async fn status(harness: &Harness, sink: &str, wanted: &str) {
    eventually(&format!("the sink is {wanted}"), async || {
        let (_, body) = harness.get(&format!("/v1/Sinks/{sink}")).await;
        (text(&body, "status") == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_problem_is_told_of_at_once_and_more_of_them_in_groups() {
    let harness = start().await;
    let (sick, news) = (harness.sink().await, harness.sink().await);
    harness.subscription(&news, LOGGED).await;
    fails(&harness, &sick, 1, false).await;
    let event = json(&told(&harness, 1).await[0]);
    assert_eq!((&event["type"], &event["data"]["error_code"]), (&LOGGED.into(), &"91306".into()));
    let payload: Value =
        serde_json::from_str(event["data"]["payload"].as_str().expect("text")).expect("JSON");
    assert_eq!((&payload["sink_sid"], &payload["errors"]), (&sick.as_str().into(), &1.into()));
    assert_eq!(payload["legacy_error_code"], 93101);

    fails(&harness, &sick, 5, false).await;
    fails(&harness, &news, 20, true).await;
    listed(&harness, "/v1/ErrorLogs", "error_logs", 26).await;
    fails(&harness, &sick, 4, false).await;
    let events = told(&harness, 2).await;
    assert_eq!(events.len(), 2, "the first and the tenth; nothing of what tells of problems");
    let payload = json(&events[1])["data"]["payload"].to_string();
    assert!(payload.contains(r#"\"errors\":10"#), "{payload}");
}

#[tokio::test]
async fn a_sink_that_is_gone_is_failed_until_it_gets_something() {
    let harness = start().await;
    let (sick, news) = (harness.sink().await, harness.sink().await);
    harness.subscription(&news, "io.millrace.sink.failing").await;
    harness.subscription(&news, "io.millrace.sink.recovered").await;
    turns(&harness, &sick, SinkTurn::Gone).await;
    status(&harness, &sick, "failed").await;
    let event = json(&told(&harness, 1).await[0]);
    assert_eq!(event["data"]["sink_sid"], sick);
    assert_eq!(event["dataschema"], "https://events-schemas.twilio.com/Millrace.SinkHealth/1");

    // The account is not told again of what it knows; and what the sink gets after that counts.
    let again = turned(&harness, &sick, SinkTurn::Gone);
    let mut delivered = attempt(&harness, &sick, AttemptOutcome::Delivered, &["a"]);
    delivered.started_ms = again.sinks[0].at_ms + 1;
    report(&harness, AttemptReports { attempts: vec![delivered] }, again).await;
    status(&harness, &sick, "active").await;
    turns(&harness, &sick, SinkTurn::Gone).await;
    status(&harness, &sick, "failed").await;
    turns(&harness, &sick, SinkTurn::Recovered).await;
    status(&harness, &sick, "active").await;
    let events = told(&harness, 3).await;
    assert_eq!(events[2].r#type, "io.millrace.sink.recovered");
}

#[tokio::test]
async fn a_pause_is_told() {
    let harness = start().await;
    let (quiet, news) = (harness.sink().await, harness.sink().await);
    harness.subscription(&news, "io.millrace.sink.paused").await;
    let path = format!("/v1/Sinks/{quiet}");
    let form = harness.request(Method::POST, &path).body("Paused=true");
    let (status, body) =
        read(form.header("content-type", "application/x-www-form-urlencoded")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(json(&told(&harness, 1).await[0])["data"]["sink_sid"], quiet);
}
