//! Explanations: what became of an event, and what would become of one.

use bytes::Bytes;
use millrace_domain::{AccountSid, AccountStatus, Partition};
use millrace_proto::{
    internal::{AttemptOutcome, AttemptReports, Chunk, ChunkEvent, DropReports, Variant},
    v1::{self, event_service_client::EventServiceClient},
};
use millrace_queue::{Class, Park, ParkedId, Settlement, Token, chunk};
use millrace_store::logs::{ReportFate, ReportPeriod};
use millrace_testkit::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use crate::{
    harness::{
        DELIVERED, Harness, SENT, TOKEN, basic, platform, read, refused, start, text,
        with_authorization,
    },
    logs::{LONG, attempt, report, sid},
};

mod roll_up;

fn event_id() -> String {
    format!("EZ{}", Uuid::now_v7().as_simple())
}

fn chunk_for(harness: &Harness, id: &str, sink: &str) -> Bytes {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/t", "type": SENT,
        "data": {"messageSid": 7},
    });
    let event = ChunkEvent {
        id: id.to_owned(),
        account: chunk::account_bytes(harness.account),
        r#type: SENT.to_owned(),
        accepted_ms: crate::logs::now(),
        variants: vec![Variant {
            schema_version: 1,
            event: event.to_string().into_bytes().into(),
            sinks: chunk::sink_bytes(sid(sink)),
        }],
        ..ChunkEvent::default()
    };
    chunk::encode(&Chunk { config_seq: 1, events: vec![event] })
}

async fn explained(harness: &Harness, id: &str, query: &str) -> Value {
    let (status, told) = harness.get(&format!("/v1/Events/{id}/Explanation{query}")).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    told
}

#[tokio::test]
async fn an_event_that_was_delivered_tells_its_attempts_and_who_took_it() {
    let harness = start().await;
    let (sink, other) = (harness.sink().await, harness.sink().await);
    let took = harness.subscription(&sink, SENT).await;
    let not = harness.subscription(&other, DELIVERED).await;
    let id = event_id();
    let attempts = vec![attempt(&harness, &sink, AttemptOutcome::Delivered, &[&id])];
    report(&harness, AttemptReports { attempts }, DropReports::default()).await;
    let told = eventually("the attempt is kept", async || {
        let (status, told) = harness.get(&format!("/v1/Events/{id}/Explanation?Type={SENT}")).await;
        (status == 200 && told["known"] == true).then_some(told)
    })
    .await;
    assert_eq!(told["sinks"][0]["sink_sid"], *sink);
    assert_eq!(told["sinks"][0]["place"], "delivered");
    assert_eq!(told["attempts"][0]["http_status"], 204);
    let verdicts = told["matching"]["subscriptions"].as_array().expect("a list");
    let verdict =
        |at: usize| (text(&verdicts[at], "subscription_sid"), text(&verdicts[at], "reason"));
    assert_eq!(verdict(0), (took.clone(), "matched".to_owned()));
    assert_eq!(verdict(1), (not, "type_not_subscribed".to_owned()));
    let untyped = explained(&harness, &id, "").await;
    assert_eq!(untyped["matching"]["type"], Value::Null, "delivered events are not kept");
    assert!(untyped["notes"].to_string().contains("type is not known"));

    // What is changed later does not change what was.
    harness.delete(&format!("/v1/Subscriptions/{took}")).await;
    let then = explained(&harness, &id, &format!("?Type={SENT}")).await;
    assert_eq!(then["matching"]["config_is_exact"], true);
    let later = EventServiceClient::new(harness.channel().await)
        .match_event(harness.ask(v1::MatchEventRequest {
            event: format!(r#"{{"type":"{SENT}"}}"#).into_bytes().into(),
            ..v1::MatchEventRequest::default()
        }))
        .await
        .expect("answers");
    let matching = later.into_inner().matching.expect("it");
    assert!(matching.subscriptions.iter().all(|verdict| !verdict.matches));
}

#[tokio::test]
async fn an_event_is_found_where_it_waits() {
    let harness = start().await;
    let sink = harness.sink().await;
    harness.subscription(&sink, SENT).await;
    let home = Partition::home_of(harness.account, 64);
    let fresh = event_id();
    harness.queue.append(home, chunk_for(&harness, &fresh, &sink)).await.expect("appends");
    let told = explained(&harness, &fresh, "").await;
    assert_eq!(told["sinks"][0]["place"], "in_flight", "{told}");
    assert_eq!(told["matching"]["type"], SENT, "the queue has the event");
    assert_eq!(told["matching"]["schema_verdict"], "invalid", "{told}");
    assert_eq!(told["matching"]["subscriptions"][0]["matches"], true);

    let (parked, delayed) = (event_id(), event_id());
    let now = millrace_domain::Timestamp::from_millis(crate::logs::now());
    let due = now.plus(LONG);
    let park = |id: &str, class, at| Park {
        sink: sid(&sink),
        id: ParkedId(Uuid::now_v7()),
        class,
        at,
        expires: now.plus(LONG * 60),
        chunk: chunk_for(&harness, id, &sink),
    };
    let parks = vec![park(&parked, Class::Backlog, now), park(&delayed, Class::Delayed, due)];
    let state = millrace_proto::internal::BacklogState {
        events: 2,
        account: chunk::account_bytes(harness.account),
        ..Default::default()
    };
    let token = Token(Uuid::now_v7());
    harness.queue.acquire(&[home], token, LONG).await.expect("acquires");
    let backlogs = vec![(sid(&sink), Some(state))];
    let settlement = Settlement { parks, backlogs, ..Settlement::default() };
    harness.queue.settle(home, token, &settlement).await.expect("settles");
    let told = explained(&harness, &parked, "").await;
    assert_eq!(told["sinks"][0]["place"], "backlog", "{told}");
    assert!(told["sinks"][0]["window_close_time"].is_string());
    let told = explained(&harness, &delayed, "").await;
    assert_eq!(told["sinks"][0]["place"], "delayed", "{told}");
    assert_eq!(told["sinks"][0]["next_attempt_time"], due.to_rfc3339_millis());
    harness.post(&format!("/v1/Sinks/{sink}"), &[("Paused", "true")]).await;
    let told = explained(&harness, &delayed, "").await;
    assert_eq!(told["sinks"][0]["hold"], "paused");
    assert_eq!(told["sinks"][0]["next_attempt_time"], Value::Null);
}

#[tokio::test]
async fn an_event_nobody_knows_says_why_and_strangers_learn_nothing() {
    let harness = start().await;
    let sink = harness.sink().await;
    let home = Partition::home_of(harness.account, 64);
    let id = event_id();
    harness.queue.append(home, chunk_for(&harness, &id, &sink)).await.expect("appends");
    explained(&harness, &id, "").await;
    let stranger = AccountSid::from_u128(2);
    harness.add_account(stranger, AccountStatus::Active).await;
    let path = |id: &str| format!("/v1/Events/{id}/Explanation");
    let ask =
        |id: &str| harness.anonymous(Method::GET, &path(id)).basic_auth(stranger, Some(TOKEN));
    let (code, number, message) = refused(read(ask(&id)).await);
    assert_eq!((code, number), (404, 20404));
    let unknown = event_id();
    let other = refused(read(ask(&unknown)).await).2;
    assert_eq!(
        message.replace(&id, &unknown),
        other,
        "there is no telling it from one that never was"
    );
    assert!(message.contains("no deliverer answers"), "{message}");
    let old = "EZ018bcfe568007bcd8000000000000000";
    let message = refused(read(ask(old)).await).2;
    assert!(message.contains("no longer kept"), "{message}");

    let mut client = EventServiceClient::new(harness.channel().await);
    let of = |account_sid: String| v1::ExplainEventRequest {
        account_sid,
        event_id: id.clone(),
        ..v1::ExplainEventRequest::default()
    };
    let all = client.explain_event(platform(of(harness.account.to_string()))).await;
    assert!(all.expect("sees all").into_inner().explanation.expect("it").known);
    let request =
        with_authorization(of(harness.account.to_string()), &basic(&stranger.to_string(), TOKEN));
    let refused = client.explain_event(request).await.expect_err("not its account");
    assert!(matches!(refused.code(), Code::PermissionDenied | Code::NotFound), "{refused}");
    let nobody = client.explain_event(platform(of(AccountSid::from_u128(9).to_string()))).await;
    assert_eq!(nobody.expect_err("no such account").code(), Code::NotFound);
    for (path, expected) in [
        ("/v1/Events/a%00b/Explanation", 400),
        ("/v1/Events/a/Explanation?EventTime=soon", 400),
        ("/v1/Events/a/Explanation?Type=%20", 400),
    ] {
        assert_eq!(harness.get(path).await.0.as_u16(), expected, "{path}");
    }
}

#[tokio::test]
async fn an_event_nobody_knows_says_whether_reports_of_its_time_were_kept() {
    let harness = start().await;
    let now = millrace_domain::Timestamp::from_millis(crate::logs::now());
    let minutes = |ago: i64| {
        millrace_domain::Timestamp::from_millis(now.as_millis().saturating_sub(ago * 60_000))
    };
    let period = |fate, source: &str, (since, until): (i64, i64)| ReportPeriod {
        fate,
        source: source.to_owned(),
        since: minutes(since),
        until: minutes(until),
        reports: 1,
    };
    let said = async |ago: i64| {
        let at = minutes(ago).to_rfc3339_millis();
        let path = format!("/v1/Events/{}/Explanation?EventTime={at}", event_id());
        refused(harness.get(&path).await).2
    };
    let note = async |period| {
        harness.logs.note_report_periods(&[period], now).await.expect("notes");
    };
    let before = said(60).await;
    assert!(before.contains("then was not noted") && before.contains("no deliverer answers"));
    note(period(ReportFate::AllReported, "", (90, 30))).await;
    assert!(said(60).await.contains("may have been trimmed: that they were stored"));
    note(period(ReportFate::Stored, "", (90, 40))).await;
    assert!(said(60).await.contains("none were trimmed"));
    assert!(said(35).await.contains("may have been trimmed"), "whoever trimmed may be gone");
    note(period(ReportFate::Trimmed, "a-deliverer", (60, 58))).await;
    assert!(said(60).await.contains("more were made than could be stored"));
    assert!(said(80).await.contains("none were trimmed"), "what was stored before was stored");
    let stranger = AccountSid::from_u128(2).to_string();
    note(period(ReportFate::NoneReported, &stranger, (90, 30))).await;
    assert!(!said(60).await.contains("not kept"), "an account of others has its own");
    note(period(ReportFate::NoneReported, &harness.account.to_string(), (90, 30))).await;
    assert!(said(60).await.contains("`logs.attempts` was `none`"));
    assert!(said(-60).await.contains("yet to come"));
}

#[tokio::test]
async fn an_event_that_is_not_published_is_matched() {
    let harness = start().await;
    let sink = harness.sink().await;
    harness.subscription(&sink, SENT).await;
    let ask = async |body: &str, content_type: &str| {
        let request = harness.request(Method::POST, "/v1/Events/Match");
        read(request.header("content-type", content_type).body(body.to_owned())).await
    };
    let json = "application/cloudevents+json";
    let event = format!(r#"{{"specversion":"1.0","source":"/t","type":"{SENT}","data":{{}}}}"#);
    let (status, told) = ask(&event, json).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["publish_verdict"], "accepted", "{told}");
    assert_eq!(told["subscriptions"][0]["reason"], "matched");
    let (_, told) = ask(r#"{"type":"com.example.nobody"}"#, json).await;
    assert_eq!(told["publish_verdict"], "type_unknown");
    assert_eq!(told["subscriptions"][0]["matches"], false);
    let (_, told) = ask(&event.replace("{}", "[]"), json).await;
    assert_eq!(told["publish_verdict"], "event_invalid", "{told}");
    for (body, content_type, expected) in [
        ("", json, 400),
        ("[]", json, 400),
        (r#"{"type":7}"#, json, 400),
        (r#"{"type":"a b"}"#, json, 400),
        ("\u{1}", json, 400),
        (event.as_str(), "text/plain", 415),
    ] {
        assert_eq!(ask(body, content_type).await.0.as_u16(), expected, "{body}");
    }
}
