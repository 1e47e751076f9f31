//! Who changed what.

use std::time::Duration;

use millrace_domain::SinkUpdate;
use serde_json::{Value, json};

use super::{
    Backend, changes,
    make::{self, LIMIT, NOW, SECRET},
};
use crate::{
    Error, Page, ResourceStore,
    audit::{Actor, AuditEntry, AuditQuery, Deed, acting_as, identified, of_request},
};

/// The whole audit log, oldest first, read a few at a time.
async fn log(store: &dyn ResourceStore, query: &AuditQuery) -> Vec<AuditEntry> {
    let (mut log, mut page) = (Vec::new(), Page { after: None, limit: 4 });
    loop {
        let more = store.audit_entries(query, &page).await.expect("answers");
        let Some(last) = more.last() else {
            log.reverse();
            return log;
        };
        page.after = Some(last.id);
        log.extend(more);
    }
}

fn state(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"))
}

pub(super) async fn every_write_is_audited(backend: &dyn Backend) {
    let store = make::open(backend).await;
    changes::write_everything(&*store).await;
    store.forget_sinks(NOW.plus(Duration::from_secs(1))).await.expect("answers");
    let log = log(&*store, &AuditQuery::default()).await;
    let did = |entry: &AuditEntry| format!("{} {} {}", entry.action, entry.kind, entry.key);
    let did: Vec<_> = log.iter().map(did).collect();
    let (ac, sk) = ("AC00000000000000000000000000000001", "SK00000000000000000000000000000001");
    let sk2 = "SK00000000000000000000000000000002";
    let (dg1, dg2) = ("DG00000000000000000000000000000001", "DG00000000000000000000000000000002");
    let (df1, df2) = ("DF00000000000000000000000000000001", "DF00000000000000000000000000000002");
    let expected = [
        format!("create account {ac}"),
        format!("create api_key {sk}"),
        format!("create api_key {sk2}"),
        format!("update api_key {sk}"),
        format!("delete api_key {sk2}"),
        format!("update account {ac}"),
        format!("update account {ac}"),
        format!("update account {ac}"),
        format!("update account {ac}"),
        format!("update account {ac}"),
        format!("create sink {dg1}"),
        format!("create sink {dg2}"),
        format!("create subscription {df1}"),
        format!("create subscription {df2}"),
        format!("update sink {dg1}"),
        format!("update subscription {df1}"),
        format!("update subscription {df1}"),
        format!("update subscription {df1}"),
        format!("update subscription {df1}"),
        format!("delete subscription {df2}"),
        format!("delete sink {dg2}"),
        "create schema_version A/1".to_owned(),
        "create event_type com.example.a".to_owned(),
    ];
    assert_eq!(did[..expected.len()], expected);
    let closing = did[expected.len() + 8..].iter().map(|did| did.split_at(did.len() - 2));
    let closing: Vec<_> = closing.map(|(did, id)| (did.trim_end_matches(['0', ' ']), id)).collect();
    let of = |id, last| {
        [("update account AC", id), ("delete subscription DF", last), ("delete sink DG", last)]
            .into_iter()
            .chain([("delete api_key SK", last)])
    };
    let hex = |id: u128| format!("{id:02x}");
    let (child, parent) = (hex(80), hex(70));
    let expected: Vec<_> = of("08", &child).chain(of("07", &parent)).collect();
    assert_eq!(closing, expected, "the subaccount goes first, and its account before what it has");
    let changed = make::log(&*store).await;
    let seqs: Vec<_> = changed.iter().map(|change| Some(change.seq)).take(log.len()).collect();
    assert_eq!(log.iter().map(|entry| entry.seq).collect::<Vec<_>>(), seqs);
    for entry in &log[..21] {
        assert_eq!(entry.account, Some(make::account(1).sid), "{entry:?}");
        assert_eq!((entry.actor.as_str(), entry.request.as_str()), ("millrace:conformance", ""));
    }
    assert_eq!(log[14].changed, ["/description"]);
    assert_eq!(state(log[14].after.as_ref())["description"], "x");
    assert_eq!(state(log[19].before.as_ref())["sink"], dg2);
    assert_eq!(log[19].after, None);
    let text = format!("{log:?}");
    assert!(!text.contains(SECRET), "a secret is shown");
    assert_eq!(state(log[0].after.as_ref())["auth_token"], "***");
}

pub(super) async fn is_listed(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let other = make::account(2);
    let update = SinkUpdate { configuration: Some(make::elsewhere()), ..SinkUpdate::default() };
    let asked = of_request("RQ7".to_owned(), async {
        identified(Actor::ApiKey(make::api_key(1, &other).sid));
        store.create_account(&other).await.expect("new");
        store.update_sink(sink.account, sink.sid, &update, NOW).await.expect("is there");
    });
    asked.await;
    let deed = Deed {
        action: "resend",
        kind: "dropped_events",
        key: sink.sid.to_string(),
        account: Some(sink.account),
        detail: json!({ "again": true }),
    };
    store.audit(&[deed]).await.expect("writes");

    let keys = async |query: AuditQuery| {
        log(&*store, &query).await.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    let all = || AuditQuery::default();
    let of_account = keys(AuditQuery { account: Some(sink.account), ..all() }).await;
    assert_eq!(of_account, ["create", "create", "update", "resend"]);
    let of_sink = keys(AuditQuery { key: Some(sink.sid.to_string()), ..all() }).await;
    assert_eq!(of_sink, ["create", "update", "resend"]);
    let by = AuditQuery { actor: Some("SK00000000000000000000000000000001".to_owned()), ..all() };
    let by = log(&*store, &by).await;
    assert_eq!(by.len(), 2);
    assert_eq!((by[0].key.as_str(), by[0].request.as_str()), (&*other.sid.to_string(), "RQ7"));
    assert_eq!(by[1].changed, ["/configuration/destination"], "a secret, by name only");
    let after = state(by[1].after.as_ref());
    assert_eq!(after["configuration"]["destination"], "https://elsewhere.example/***");

    let first = log(&*store, &all()).await[0].clone();
    let later = first.at.plus(Duration::from_secs(3600));
    assert!(keys(AuditQuery { since: Some(later), ..all() }).await.is_empty());
    assert_eq!(keys(AuditQuery { until: Some(later), ..all() }).await.len(), 5);
    assert_eq!(store.forget_audit(first.at, 10).await.expect("answers"), 0, "none is so old");
    assert_eq!(store.forget_audit(later, 2).await.expect("answers"), 2);
    assert_eq!(keys(all()).await, ["create", "update", "resend"], "the oldest went");
}

pub(super) async fn a_write_by_nobody_is_refused(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let sink = make::sink(1, &account);
    // Within a request of which nobody knows yet who makes it.
    let refused = of_request("RQ1".to_owned(), store.create_sink(&sink, LIMIT)).await;
    assert!(matches!(refused, Err(Error::Unattributed)), "{refused:?}");
    assert_eq!(make::log(&*store).await.len(), 1, "nothing is written");
    let named = Actor::Process("conformance");
    acting_as(named, store.create_sink(&sink, LIMIT)).await.expect("new");
}
