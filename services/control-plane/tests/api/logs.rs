//! What became of events: kept from the queue's reports, listed by both faces, sent again.

use std::time::Duration;

use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_proto::{
    internal::{
        AttemptOutcome, AttemptReport, AttemptReports, DropReason, DropReport, DropReports,
    },
    v1::{self, log_service_client::LogServiceClient},
};
use millrace_queue::{ReportKind, Settlement, Token, chunk};
use millrace_testkit::eventually;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Harness, platform, start, start_bounded};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Reports as a deliverer does.
pub(crate) async fn report(harness: &Harness, attempts: AttemptReports, drops: DropReports) {
    let home = Partition::home_of(harness.account, 64);
    let token = Token(Uuid::now_v7());
    harness.queue.acquire(&[home], token, LONG).await.expect("acquires");
    let settlement = Settlement { attempts, drops, ..Settlement::default() };
    harness.queue.settle(home, token, &settlement).await.expect("settles");
    harness.queue.release(&[home], token).await.expect("releases");
}

pub(crate) fn now() -> i64 {
    millrace_runtime::clock::now_millis()
}

pub(crate) fn attempt(
    harness: &Harness,
    sink: &str,
    outcome: AttemptOutcome,
    ids: &[&str],
) -> AttemptReport {
    let failed = outcome != AttemptOutcome::Delivered;
    AttemptReport {
        account: chunk::account_bytes(harness.account),
        sink: chunk::sink_bytes(sid(sink)),
        started_ms: now(),
        duration_ms: 7,
        outcome: outcome.into(),
        http_status: if failed { 503 } else { 204 },
        error_code: if failed { 91306 } else { 0 },
        detail: if failed { "no\0".to_owned() } else { String::new() },
        event_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        attempt: 1,
        about_itself: false,
    }
}

fn dropped(harness: &Harness, sink: &str, id: &str) -> DropReport {
    DropReport {
        account: chunk::account_bytes(harness.account),
        sink: chunk::sink_bytes(sid(sink)),
        event_id: id.to_owned(),
        event_type: "com.example.a".to_owned(),
        accepted_ms: now() - 5_000,
        dropped_ms: now(),
        reason: DropReason::Expired.into(),
        error_code: 0,
        event: format!(r#"{{"id":"{id}"}}"#).into_bytes().into(),
        schema_version: 2,
    }
}

pub(crate) fn sid(text: &str) -> SinkSid {
    text.parse().expect("a SID")
}

pub(crate) async fn listed(harness: &Harness, path: &str, key: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{path} has {count}"), async || {
        let (status, body) = harness.get(path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let rows = body[key].as_array().expect("a list").clone();
        (rows.len() == count).then_some(rows)
    })
    .await
}

#[tokio::test]
async fn what_became_of_an_event_is_told_by_sink_outcome_and_id() {
    let harness = start().await;
    let (one, other) = (harness.sink().await, harness.sink().await);
    let ez = format!("EZ{}", Uuid::now_v7().as_simple());
    let attempts = vec![
        attempt(&harness, &one, AttemptOutcome::Retry, &["a", "b"]),
        attempt(&harness, &one, AttemptOutcome::Delivered, &["a", "b"]),
        attempt(&harness, &other, AttemptOutcome::Discard, &[&ez]),
    ];
    report(&harness, AttemptReports { attempts }, DropReports::default()).await;

    let rows = listed(&harness, &format!("/v1/Sinks/{one}/Attempts"), "attempts", 2).await;
    let retried: Vec<_> = rows.iter().filter(|row| row["outcome"] == "retry").collect();
    assert_eq!(retried[0]["event_ids"], serde_json::json!(["a", "b"]));
    assert_eq!(retried[0]["detail"], "no\u{fffd}", "what PostgreSQL refuses is replaced");
    let path = format!("/v1/Sinks/{one}/Attempts?Outcome=delivered&EventId=b");
    let rows = listed(&harness, &path, "attempts", 1).await;
    assert_eq!((&rows[0]["http_status"], &rows[0]["error_code"]), (&204.into(), &Value::Null));
    let rows = listed(&harness, &format!("/v1/Events/{ez}/Attempts"), "attempts", 1).await;
    assert_eq!(rows[0]["sink_sid"], other);
    let long_ago = format!("/v1/Events/a/Attempts?EventTime={}", "2026-01-02T03:04:05Z");
    listed(&harness, &long_ago, "attempts", 0).await;
    let rows = listed(&harness, "/v1/ErrorLogs", "error_logs", 2).await;
    assert!(rows.iter().all(|row| row["legacy_error_code"] == 93101), "{rows:?}");
    assert!(rows[0]["sid"].as_str().is_some_and(|sid| sid.starts_with("NO")), "{rows:?}");
    listed(&harness, &format!("/v1/ErrorLogs?SinkSid={one}"), "error_logs", 1).await;

    let (_, page) = harness.get(&format!("/v1/Sinks/{one}/Attempts?PageSize=1")).await;
    let next = page["meta"]["next_page_url"].as_str().expect("a second page").to_owned();
    let (_, second) = harness.get(&next).await;
    assert_ne!(page["attempts"][0]["id"], second["attempts"][0]["id"]);
    assert_eq!(second["meta"]["next_page_url"], Value::Null);

    let mut client = LogServiceClient::new(harness.channel().await);
    let request = v1::ListAttemptsRequest { sink_sid: one.clone(), ..Default::default() };
    let found = client.list_attempts(platform(request)).await.expect("listed").into_inner();
    assert_eq!(found.attempts.len(), 2, "a platform key sees the sink's account");
    let refused = client.list_attempts(harness.ask(v1::ListAttemptsRequest::default())).await;
    assert_eq!(refused.expect_err("no sink").code(), tonic::Code::InvalidArgument);
    let unknown = format!("/v1/Sinks/{}/Attempts", SinkSid::from_u128(7));
    assert_eq!(harness.get(&unknown).await.0, StatusCode::NOT_FOUND);
    for wrong in ["Outcome=no", "ErrorCode=x", "StartTime=now"] {
        let path = format!("/v1/Sinks/{one}/Attempts?{wrong}");
        assert_eq!(harness.get(&path).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn dropped_events_are_sent_again_once_under_their_ids() {
    let harness = start().await;
    let (sink, other) = (harness.sink().await, harness.sink().await);
    let drops = ["a", "b", "c"].map(|id| dropped(&harness, &sink, id)).to_vec();
    let drops = DropReports { drops, ..DropReports::default() };
    report(&harness, AttemptReports::default(), drops).await;
    let path = format!("/v1/Sinks/{sink}/DroppedEvents");
    let rows = listed(&harness, &path, "dropped_events", 3).await;
    assert!(rows.iter().all(|row| row["reason"] == "expired" && row["kept"] == true), "{rows:?}");

    let resend = format!("{path}/Resend");
    let (status, body) = harness.post(&resend, &[("EventId", "b")]).await;
    assert_eq!((status, &body["resent"]), (StatusCode::ACCEPTED, &1.into()), "{body}");
    let (_, body) = harness.post(&resend, &[("EventId", "b")]).await;
    assert_eq!(body["resent"], 0, "it was sent again already");
    let (_, body) = harness.post(&resend, &[("EventId", "b"), ("Again", "true")]).await;
    assert_eq!(body["resent"], 1, "it was asked for");
    let (_, body) = harness.post(&resend, &[("ToSinkSid", &other)]).await;
    assert_eq!(body["resent"], 2);
    listed(&harness, &format!("{path}?Resent=false"), "dropped_events", 0).await;

    let home = Partition::home_of(harness.account, 64);
    let cursors = [(home, millrace_queue::EntryId::default())];
    let found = harness.queue.read(&cursors, LONG).await.expect("reads");
    let mut sent = Vec::new();
    for (_, entry) in found {
        assert!(entry.id.accepted() > Timestamp::from_millis(now() - 60_000), "a fresh window");
        for event in chunk::decode(entry.chunk).expect("a chunk").events {
            let variant = &event.variants[0];
            let to: Vec<_> = chunk::sinks_of(variant).map(|sink| sink.to_string()).collect();
            assert_eq!((variant.schema_version, event.r#type.as_str()), (2, "com.example.a"));
            assert_eq!(variant.event, format!(r#"{{"id":"{}"}}"#, event.id));
            sent.push((event.id, to[0].clone()));
        }
    }
    sent[2..].sort();
    let expected = [("b", &sink), ("b", &sink), ("a", &other), ("c", &other)];
    assert_eq!(sent, expected.map(|(id, sink)| (id.to_owned(), sink.clone())));
}

/// The ids of what was appended.
fn events_in(found: Vec<(Partition, millrace_queue::Entry)>) -> Vec<String> {
    let chunks = found.into_iter().map(|(_, entry)| chunk::decode(entry.chunk).expect("a chunk"));
    chunks.flat_map(|chunk| chunk.events).map(|event| event.id).collect()
}

#[tokio::test]
async fn what_several_send_again_at_once_is_sent_once() {
    let harness = start().await;
    let sink = harness.sink().await;
    let ids: Vec<_> = (10..60).map(|n| format!("e{n}")).collect();
    let drops = ids.iter().map(|id| dropped(&harness, &sink, id)).collect();
    let drops = DropReports { drops, ..DropReports::default() };
    report(&harness, AttemptReports::default(), drops).await;
    let path = format!("/v1/Sinks/{sink}/DroppedEvents");
    listed(&harness, &format!("{path}?PageSize=100"), "dropped_events", 50).await;
    let resend = format!("{path}/Resend");
    let call = || harness.post(&resend, &[]);
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    let mut counted = 0;
    for (status, body) in [a, b, c, d] {
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        counted += body["resent"].as_u64().expect("a number");
    }
    assert_eq!(counted, 50, "what they say they sent");
    let home = Partition::home_of(harness.account, 64);
    let cursors = [(home, millrace_queue::EntryId::default())];
    let mut sent = events_in(harness.queue.read(&cursors, LONG).await.expect("reads"));
    sent.sort();
    assert_eq!(sent, ids);
    listed(&harness, &format!("{path}?Resent=false"), "dropped_events", 0).await;
}

#[tokio::test]
async fn reports_are_removed_once_they_are_kept() {
    let harness = start().await;
    let sink = harness.sink().await;
    let drops = DropReports { drops: vec![dropped(&harness, &sink, "a")], ..Default::default() };
    let attempts = vec![attempt(&harness, &sink, AttemptOutcome::Retry, &["a"])];
    report(&harness, AttemptReports { attempts }, drops).await;
    listed(&harness, &format!("/v1/Sinks/{sink}/DroppedEvents"), "dropped_events", 1).await;
    harness.process.tasks.stop(LONG).await.expect("stops");
    for kind in [ReportKind::Attempts, ReportKind::Drops] {
        let left = harness.queue.reports(kind, "another", 10).await.expect("reads");
        assert!(left.is_empty(), "{kind:?}: {left:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_again_that_the_queue_has_no_room_for() {
    let harness = start().await;
    let sink = harness.sink().await;
    let drops = DropReports { drops: vec![dropped(&harness, &sink, "a")], ..Default::default() };
    report(&harness, AttemptReports::default(), drops).await;
    let path = format!("/v1/Sinks/{sink}/DroppedEvents");
    listed(&harness, &path, "dropped_events", 1).await;
    harness.queue.set_full(&[harness.account], LONG).await.expect("sets");
    let (status, body) = harness.post(&format!("{path}/Resend"), &[]).await;
    assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &20429.into()), "{body}");
    let mut client = LogServiceClient::new(harness.channel().await);
    let request = v1::ResendDroppedEventsRequest { sink_sid: sink, ..Default::default() };
    let refused = client.resend_dropped_events(harness.ask(request)).await.expect_err("full");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    listed(&harness, &format!("{path}?Resent=false"), "dropped_events", 1).await;
}

#[tokio::test]
async fn nothing_is_sent_again_above_the_high_water_mark() {
    let harness = start_bounded(|settings| settings.queue.high_water_percent = 75, 4_096).await;
    let sink = harness.sink().await;
    let drops = DropReports { drops: vec![dropped(&harness, &sink, "a")], ..Default::default() };
    report(&harness, AttemptReports::default(), drops).await;
    let path = format!("/v1/Sinks/{sink}/DroppedEvents");
    listed(&harness, &path, "dropped_events", 1).await;
    let (status, body) = harness.post(&format!("{path}/Resend"), &[]).await;
    assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &20429.into()), "{body}");
    let mut client = LogServiceClient::new(harness.channel().await);
    let request = v1::ResendDroppedEventsRequest { sink_sid: sink, ..Default::default() };
    let refused = client.resend_dropped_events(harness.ask(request)).await.expect_err("pressed");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    listed(&harness, &format!("{path}?Resent=false"), "dropped_events", 1).await;
    assert_eq!(harness.queue.depth().await.expect("a depth"), 0);
}

#[tokio::test]
async fn what_no_log_can_be_asked_for_is_refused() {
    let harness = start().await;
    let sink = harness.sink().await;
    for path in [
        format!("/v1/Sinks/{sink}/Attempts?EventId=%00"),
        "/v1/Events/a%00/Attempts".to_owned(),
        "/v1/ErrorLogs?EventId=a%0a".to_owned(),
        format!("/v1/Sinks/{sink}/DroppedEvents?EventId=%00"),
    ] {
        assert_eq!(harness.get(&path).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    let path = format!("/v1/Sinks/{sink}/DroppedEvents/Resend");
    assert_eq!(harness.post(&path, &[("EventId", "\0")]).await.0, StatusCode::BAD_REQUEST);
    let mut client = LogServiceClient::new(harness.channel().await);
    let event_id = "\0".to_owned();
    let request = v1::ListErrorLogsRequest { event_id, ..Default::default() };
    let refused = client.list_error_logs(harness.ask(request)).await.expect_err("NUL");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let all = v1::ListDroppedEventsRequest::default();
    let refused = client.list_dropped_events(harness.ask(all)).await.expect_err("no sink");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let early = "/v1/Events/a/Attempts?EventTime=0000-01-01T00:00:00Z";
    assert_ne!(harness.get(early).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn what_is_asked_of_a_sink_of_another_account_is_not_found() {
    let harness = start().await;
    let sink = harness.sink().await;
    let unknown = SinkSid::from_u128(7);
    let errors = |sink: &str| format!("/v1/ErrorLogs?SinkSid={sink}");
    assert_eq!(harness.get(&errors(&sink)).await.0, StatusCode::OK);
    assert_eq!(harness.get(&errors(&unknown.to_string())).await.0, StatusCode::NOT_FOUND);
    let resend = format!("/v1/Sinks/{unknown}/DroppedEvents/Resend");
    let (status, body) = harness.post(&resend, &[("ToSinkSid", &sink)]).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let resend = format!("/v1/Sinks/{sink}/DroppedEvents/Resend");
    assert_eq!(harness.post(&resend, &[]).await.0, StatusCode::ACCEPTED, "it has dropped none");
}
