//! Every number that an error can have comes up: a table by number, held against the list in the sources.

use std::{collections::BTreeSet, sync::Arc};

use millrace_domain::{
    AccountSid, AccountStatus, Secret, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus,
    Timestamp,
};
use millrace_store::{
    Keyring, ResourceStore,
    audit::{Actor, acting_as},
    sqlite,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    harness::{Harness, SENT, TOKEN, read, refused, start_on, start_with},
    logs::LONG,
};

const NOBODYS: &str = "00000000000000000000000000000099";
/// Numbers that no request of REST comes to, and whose tests stand elsewhere.
const ELSEWHERE: [(u64, &str); 1] =
    [(20409, "creations over gRPC: `request_ids` and the accounts")];

/// The numbers of `status::code`.
fn listed() -> BTreeSet<u64> {
    let source = include_str!("../../src/status.rs");
    let list = source.split("pub(crate) mod code {").nth(1).expect("the list");
    let list = list.split("\n}").next().expect("its end");
    let numbers = list.lines().filter_map(|line| line.split_once(": u32 = "));
    numbers.map(|(_, number)| number.trim_end_matches(';').parse().expect("a number")).collect()
}

#[tokio::test]
async fn every_number_of_the_list_has_a_case() {
    let mut seen: BTreeSet<u64> = ELSEWHERE.iter().map(|(code, _)| *code).collect();
    let it = start_with(|settings| {
        settings.limits.sinks_per_account = 2;
        settings.limits.subscriptions_per_account = 1;
    })
    .await;
    for (status, code, answer) in of_requests(&it).await {
        let (told, number, message) = refused(answer);
        assert_eq!((told, number), (status, code), "{message}");
        seen.insert(code);
    }
    for (status, code, answer) in of_failures().await {
        let (told, number, message) = refused(answer);
        assert_eq!((told, number), (status, code), "{message}");
        seen.insert(code);
    }
    let missing: Vec<_> = listed().difference(&seen).copied().collect();
    assert!(missing.is_empty(), "numbers without a case: {missing:?}");
}

type Case = (u16, u64, (StatusCode, Value));

/// What callers can do wrong.
async fn of_requests(it: &Harness) -> Vec<Case> {
    let sink = [
        "Description=d",
        "SinkType=webhook",
        "SinkConfiguration=%7B%22destination%22%3A%22https%3A%2F%2Fe.example%2F%22%7D",
    ]
    .join("&");
    let (used, failed) = (it.sink().await, it.sink().await);
    let subscription = it.subscription(&used, SENT).await;
    let types = |name: &str| format!(r#"{{"type": "{name}"}}"#);
    let form = |sid: &str, name: &str| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let pairs = [("Description", "d"), ("SinkSid", sid), ("Types", &types(name))];
        form.extend_pairs(pairs).finish()
    };
    let sid = failed.parse().expect("a SID");
    let failing =
        it.store.set_sink_status(it.account, sid, SinkStatus::Failed, Timestamp::from_millis(1));
    acting_as(Actor::Process("test"), failing).await.expect("failed");
    let suspended = AccountSid::from_u128(7);
    it.add_account(suspended, AccountStatus::Suspended).await;
    let of_suspended = it.anonymous(Method::GET, "/v1/Sinks").basic_auth(suspended, Some(TOKEN));
    let for_other = it.request(Method::GET, "/v1/Sinks");
    let for_other = for_other.header("Millrace-Account-Sid", suspended.to_string());
    let events = format!("/v1/Subscriptions/{subscription}/SubscribedEvents");
    vec![
        (400, 20001, it.get("/v1/Sinks?InUse=perhaps").await),
        (401, 20003, read(it.anonymous(Method::GET, "/v1/Sinks")).await),
        (405, 20004, read(it.request(Method::PUT, "/v1/Sinks")).await),
        (403, 20005, read(of_suspended).await),
        (403, 20006, read(for_other).await),
        (400, 20007, it.get("/v1/Sinks?PageSize=1001").await),
        (404, 20404, it.get("/v1/None").await),
        (400, 91000, it.post_raw("/v1/Sinks", sink.replace("webhook", "pigeon")).await),
        (404, 91001, it.get(&format!("/v1/Sinks/DG{NOBODYS}")).await),
        (400, 91002, it.get("/v1/Sinks?Page=x").await),
        (400, 91003, it.post_raw("/v1/Sinks", sink).await),
        (400, 91006, it.get("/v1/Sinks/DG1").await),
        (400, 91007, it.delete(&format!("/v1/Sinks/{used}")).await),
        (400, 91100, it.post_raw("/v1/Subscriptions", form(&failed, SENT)).await),
        (400, 91101, it.post_raw("/v1/Subscriptions", form(&used, SENT) + "&Types=x").await),
        (404, 91102, it.get(&format!("/v1/Subscriptions/DF{NOBODYS}")).await),
        (400, 91103, it.delete(&format!("{events}/{SENT}")).await),
        (404, 91104, it.get(&format!("{events}/com.example.none")).await),
        (400, 91199, it.post_raw("/v1/Subscriptions", form(&used, SENT)).await),
        (400, 91201, it.get("/v1/Types?SchemaId=a%20b").await),
        (404, 91202, it.get("/v1/Types/com.example.none").await),
        (405, 91203, it.delete("/v1/Schemas/Messaging.MessageStatus").await),
    ]
}

/// What goes wrong in the server: no room, a secret that does not open, no database.
async fn of_failures() -> Vec<Case> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("resources.sqlite");
    let keyring = || Keyring::parse(Keyring::generate("test").reveal()).expect("a keyring");
    let store = Arc::new(sqlite::open(&file, keyring()).await.expect("opens"));
    let it = start_on(Arc::clone(&store) as Arc<dyn ResourceStore>, |_| {}).await;
    let elsewhere = sqlite::open(&file, keyring()).await.expect("opens");
    let sealed = sink(it.account);
    let making = acting_as(Actor::Process("test"), elsewhere.create_sink(&sealed, 100));
    making.await.expect("made");
    let mine = it.sink().await;
    it.queue.set_full(&[it.account], LONG).await.expect("sets");
    let resend = format!("/v1/Sinks/{mine}/DroppedEvents/Resend");
    let mut cases = vec![
        (429, 20429, it.post(&resend, &[]).await),
        (500, 20500, it.get(&format!("/v1/Sinks/{}", sealed.sid)).await),
    ];
    store.close().await;
    cases.push((503, 20503, it.get("/v1/Sinks").await));
    cases
}

fn sink(account: AccountSid) -> Sink {
    Sink {
        sid: SinkSid::from_u128(5),
        account,
        description: "sealed with another key".to_owned(),
        configuration: SinkConfiguration::File { path: "a".to_owned() },
        delivery: SinkDelivery::default(),
        headers: Default::default(),
        status: SinkStatus::Active,
        signing_secret: Secret::new("s"),
        created: Timestamp::from_millis(0),
        updated: Timestamp::from_millis(0),
    }
}
