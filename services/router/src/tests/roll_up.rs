//! Events of a subaccount that its parent subscribes to, too: written to two homes.

use std::collections::BTreeMap;

use millrace_domain::{AccountSid, Partition, SinkSid, event::EVENT_MAX_BYTES};
use millrace_queue::{Error, chunk};

use super::*;
use crate::fixture::{CHILD, sink};

/// Where an event waits, whose it is there, and for which sink.
type Waits = (Partition, AccountSid, SinkSid);

impl Fixture {
    /// What waits for sinks: where, and the event.
    async fn waiting(&self) -> Vec<(Waits, Value)> {
        let mut waiting = Vec::new();
        for (partition, chunk) in self.queue.chunks().await {
            for event in &chunk.events {
                let account = chunk::account_of(event).expect("an account");
                for variant in &event.variants {
                    let json: Value = serde_json::from_slice(&variant.event).expect("JSON");
                    let sinks = chunk::sinks_of(variant);
                    waiting.extend(sinks.map(|sink| ((partition, account, sink), json.clone())));
                }
            }
        }
        waiting
    }

    async fn publish_as_child(&self, deduplicate: bool) -> PublishResult {
        let mut request = Request::new(PublishRequest { events: vec![paid("1")], deduplicate });
        let credentials = basic(&CHILD.to_string(), "token");
        request.metadata_mut().insert("authorization", credentials.parse().expect("a value"));
        let answer = self.grpc().publish(request).await.expect("answered").into_inner();
        let [result] = <[PublishResult; 1]>::try_from(answer.results).expect("one");
        result
    }
}

/// Each of the two sinks at home.
fn each_once() -> Vec<Waits> {
    let mut all = vec![
        (Partition::home_of(CHILD, 8), CHILD, sink(6)),
        (Partition::home_of(OTHER, 8), OTHER, sink(5)),
    ];
    all.sort();
    all
}

fn places(waiting: &[(Waits, Value)]) -> Vec<Waits> {
    let mut places: Vec<_> = waiting.iter().map(|(place, _)| *place).collect();
    places.sort();
    places
}

#[tokio::test]
async fn it_waits_once_for_each_sink_and_says_to_the_parent_whose_it_is() {
    let router = Fixture::start().await;
    let Some(Outcome::Accepted(accepted)) = router.publish_as_child(false).await.outcome else {
        panic!("not accepted");
    };
    assert_eq!(accepted.sinks, 1, "it is not told of its parent's");
    let waiting = router.waiting().await;
    assert_eq!(places(&waiting), each_once());
    let events: BTreeMap<AccountSid, Value> =
        waiting.into_iter().map(|((_, account, _), event)| (account, event)).collect();
    assert_eq!(events[&OTHER]["accountsid"], CHILD.to_string());
    assert_eq!(events[&CHILD].get("accountsid"), None);
    assert_eq!(events[&OTHER]["dataschema"], "https://s/Order/3");
    assert_eq!(events[&CHILD]["dataschema"], "https://s/Order/1");
    assert_eq!((&events[&OTHER]["id"], &events[&CHILD]["id"]), (&json!("1"), &json!("1")));
}

#[tokio::test]
async fn a_repeat_writes_where_it_was_not_written_and_nowhere_else() {
    for fails_first in [true, false] {
        let failure = || Some(Error::Full);
        let failures = if fails_first { [failure(), None] } else { [None, failure()] };
        let queue = Fickle::open(8).await.then(failures);
        let router = Fixture::on(queue, Watch::fixed(fixture::configuration()), |_| {}).await;
        assert_eq!(word(router.publish_as_child(true).await), "exhausted");
        assert_eq!(router.waiting().await.len(), 1, "the other home has it");
        assert_eq!(word(router.publish_as_child(true).await), "accepted");
        assert_eq!(places(&router.waiting().await), each_once());
        assert_eq!(word(router.publish_as_child(true).await), "duplicate");
        assert_eq!(places(&router.waiting().await), each_once());
    }
}

#[tokio::test]
async fn a_subaccount_cannot_say_whose_its_event_is() {
    let router = Fixture::start().await;
    let head = |body: &str| {
        let (credentials, length) = (basic(&CHILD.to_string(), "token"), body.len());
        format!(
            "authorization: {credentials}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        )
    };
    let named = |account: AccountSid| {
        let named = format!(r#""accountsid":"{account}","data""#);
        event("com.example.paid", "1", "{}").replace(r#""data""#, &named)
    };
    let (own, others) = (named(CHILD), named(OTHER));
    let refused = router.send(&head(&others), others.as_bytes()).await;
    assert!(refused.status == 400 && refused.body.to_string().contains("own account"));
    assert_eq!(router.waiting().await.len(), 0);
    assert_eq!(router.send(&head(&own), own.as_bytes()).await.status, 202);
    let waiting = router.waiting().await;
    let of_child = waiting.iter().find(|((_, account, _), _)| *account == CHILD);
    assert_eq!(of_child.expect("waits").1.get("accountsid"), None, "it is taken out");
    assert_eq!(places(&waiting), each_once());
}

#[tokio::test]
async fn what_a_subaccount_may_publish_does_not_depend_on_its_parent() {
    let router = Fixture::start().await;
    let of =
        |length: usize| Event { data: format!(r#"{{"a":"{}"}}"#, "x".repeat(length)), ..paid("1") };
    let written = |waiting: &[(Waits, Value)], account| {
        let events = waiting.iter().filter(|((_, whose, _), _)| *whose == account);
        events.map(|(_, event)| event.to_string().len()).max().expect("waits")
    };
    let publish = async |event| {
        let credentials = basic(&CHILD.to_string(), "token");
        let results = router.publish(&credentials, &[], vec![event]).await.expect("answered");
        results.into_iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(publish(of(1)).await, ["accepted"]);
    let least = written(&router.waiting().await, CHILD) - 1;
    let most = EVENT_MAX_BYTES - least;
    assert_eq!(publish(of(most)).await, ["accepted"]);
    let waiting = router.waiting().await;
    assert_eq!(written(&waiting, CHILD), EVENT_MAX_BYTES);
    assert_eq!(written(&waiting, OTHER), EVENT_MAX_BYTES + 50, "and says whose it is");
    assert_eq!(publish(of(most + 1)).await, ["too large"]);
}
