//! Events of a subaccount that its parent subscribes to: explained to the parent as to the platform, and to the subaccount as if it had no
//! parent.

use millrace_queue::chunk;

use super::*;
use crate::accounts::{post, subaccount};

/// A subaccount with a subscription, and its parent with one that includes it and one that does not.
struct Home {
    it: Harness,
    child: (String, String),
    /// SIDs of the subscriptions of the child, the parent's that includes it, and the parent's other.
    subscriptions: [String; 3],
    /// Of the parent's.
    sink: String,
}

impl Home {
    async fn new() -> Self {
        let it = start().await;
        let child = subaccount(&it, "child").await;
        let (sink, other) = (it.sink().await, it.sink().await);
        let including = it.subscription(&sink, SENT).await;
        let path = format!("/v1/Subscriptions/{including}");
        it.post(&path, &[("IncludeSubaccounts", "true")]).await;
        let not = it.subscription(&other, SENT).await;
        let who = (child.0.as_str(), child.1.as_str());
        let form = [
            ("Description", "a"),
            ("SinkConfiguration", crate::harness::WEBHOOK),
            ("SinkType", "webhook"),
        ];
        let childs = text(&post(&it, "/v1/Sinks", who, &form).await.1, "sid");
        let types = format!(r#"{{"type": "{SENT}"}}"#);
        let form = [("Description", "s"), ("SinkSid", &*childs), ("Types", &types)];
        let own = text(&post(&it, "/v1/Subscriptions", who, &form).await.1, "sid");
        Self { it, child, subscriptions: [own, including, not], sink }
    }

    /// What a match says of each subscription, as `who` asks; `query`: of whose event.
    async fn matched(&self, who: (&str, &str), query: &str) -> Vec<(String, String)> {
        reasons(&self.answered(who, query).await)
    }

    /// A key of the parent's.
    async fn key(&self, access: &str) -> (String, String) {
        let path = format!("/2010-04-01/Accounts/{}/Keys.json", self.parent());
        let (status, key) = self.it.post(&path, &[("Access", access)]).await;
        assert_eq!(status, 201, "{key}");
        (text(&key, "sid"), text(&key, "secret"))
    }

    async fn answered(&self, who: (&str, &str), query: &str) -> Value {
        let path = format!("/v1/Events/Match{query}");
        let request = self.it.anonymous(Method::POST, &path).basic_auth(who.0, Some(who.1));
        let body = format!(r#"{{"type":"{SENT}"}}"#);
        let (status, told) =
            read(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(status, 200, "{told}");
        told
    }

    fn parent(&self) -> String {
        self.it.account.to_string()
    }

    fn told(&self, expected: &[(usize, &str)]) -> Vec<(String, String)> {
        let one = |(place, reason): &(usize, &str)| {
            (self.subscriptions[*place].clone(), (*reason).to_owned())
        };
        expected.iter().map(one).collect()
    }
}

fn reasons(matching: &Value) -> Vec<(String, String)> {
    let verdicts = matching["subscriptions"].as_array().expect("a list").iter();
    verdicts.map(|it| (text(it, "subscription_sid"), text(it, "reason"))).collect()
}

#[tokio::test]
async fn each_sees_of_a_match_what_is_its_own_and_the_platform_all() {
    let home = Home::new().await;
    let (child, token) = (home.child.0.as_str(), home.child.1.as_str());
    let parent = home.parent();
    let of_child = format!("?AccountSid={child}");
    assert_eq!(home.matched((child, token), "").await, home.told(&[(0, "matched")]));
    assert_eq!(home.matched((child, token), &of_child).await, home.told(&[(0, "matched")]));
    let own = home.told(&[(1, "matched"), (2, "matched")]);
    assert_eq!(home.matched((&parent, TOKEN), "").await, own);
    let childs = home.told(&[(1, "matched"), (2, "subaccounts_not_included")]);
    assert_eq!(home.matched((&parent, TOKEN), &of_child).await, childs);

    let mut client = EventServiceClient::new(home.it.channel().await);
    let asked = v1::MatchEventRequest {
        account_sid: child.to_owned(),
        event: format!(r#"{{"type":"{SENT}"}}"#).into_bytes().into(),
        ..v1::MatchEventRequest::default()
    };
    let told = client.match_event(platform(asked)).await.expect("answers").into_inner();
    let told = millrace_proto::matching_json(&told.matching.expect("it"));
    let all = home.told(&[(0, "matched"), (1, "matched"), (2, "subaccounts_not_included")]);
    assert_eq!(reasons(&told), all);
}

#[tokio::test]
async fn nobody_else_is_answered_whether_the_account_exists_or_not() {
    let home = Home::new().await;
    let (child, token) = (home.child.0.as_str(), home.child.1.as_str());
    let stranger = AccountSid::from_u128(2);
    home.it.add_account(stranger, AccountStatus::Active).await;
    let (stranger, nobody) = (stranger.to_string(), AccountSid::from_u128(9).to_string());
    let parent = home.parent();
    for (who, named) in [
        ((child, token), &parent),
        ((child, token), &nobody),
        ((stranger.as_str(), TOKEN), &parent),
        ((stranger.as_str(), TOKEN), &home.child.0),
        ((parent.as_str(), TOKEN), &stranger),
    ] {
        let path = format!("/v1/Events/EZ1/Explanation?Type={SENT}&AccountSid={named}");
        let request = home.it.anonymous(Method::GET, &path).basic_auth(who.0, Some(who.1));
        let (status, _, message) = refused(read(request).await);
        assert_eq!(status, 403, "{named}");
        assert_eq!(message, "AccountSid: must be the caller's own account", "{named}");
    }
    for wrong in ["AccountSid=AC1", "AccountSid=", "AccountSid=%00"] {
        let (status, _) = home.it.get(&format!("/v1/Events/EZ1/Explanation?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_event_that_waits_for_the_parent_is_the_subaccounts_and_hidden_from_it() {
    let home = Home::new().await;
    let (it, child) = (&home.it, home.child.0.as_str());
    let id = event_id();
    let chunk = chunk::decode(chunk_for(it, &id, &home.sink)).expect("a chunk");
    let of_child = |event: &Bytes| {
        let mut event: Value = serde_json::from_slice(event).expect("JSON");
        event["accountsid"] = json!(child);
        Bytes::from(event.to_string())
    };
    let mut chunk = chunk;
    for event in &mut chunk.events {
        event.variants.iter_mut().for_each(|variant| variant.event = of_child(&variant.event));
    }
    let homes = Partition::home_of(it.account, 64);
    it.queue.append(homes, chunk::encode(&chunk)).await.expect("appends");

    let told = explained(it, &id, "").await;
    assert_eq!(told["account_sid"], child, "it says whose it is: {told}");
    let expected = home.told(&[(1, "matched"), (2, "subaccounts_not_included")]);
    assert_eq!(reasons(&told["matching"]), expected);
    assert_eq!(told["sinks"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(
        (&told["sinks"][0]["sink_sid"], &told["sinks"][0]["place"]),
        (&json!(home.sink), &json!("in_flight"))
    );

    let path = format!("/v1/Events/{id}/Explanation");
    let of_child = || it.anonymous(Method::GET, &path).basic_auth(child, Some(&home.child.1));
    assert_eq!(read(of_child()).await.0, 404, "the subaccount is not told");
    let unknown = event_id();
    let path = format!("/v1/Events/{unknown}/Explanation");
    let other = it.anonymous(Method::GET, &path).basic_auth(child, Some(&home.child.1));
    let (known, never) = (refused(read(of_child()).await), refused(read(other).await));
    assert_eq!(known.2.replace(&id, &unknown), never.2);

    // Suspended: nobody publishes, and its sinks are held.
    let path = format!("/2010-04-01/Accounts/{child}.json");
    assert_eq!(it.post(&path, &[("Status", "suspended")]).await.0, 200);
    let body = format!(r#"{{"type":"{SENT}"}}"#);
    let path = format!("/v1/Events/Match?AccountSid={child}");
    let request = it.request(Method::POST, &path).header("content-type", "application/json");
    let (_, told) = read(request.body(body)).await;
    assert_eq!(told["publish_verdict"], "account_inactive");
    let expected = home.told(&[(1, "not_published"), (2, "subaccounts_not_included")]);
    assert_eq!(reasons(&told), expected);

    // A key that may not list accounts is told of the subscriptions as if it were active.
    let (sid, secret) = home.key("read-only").await;
    let told = home.told(&[(1, "matched"), (2, "subaccounts_not_included")]);
    for at in ["", "&AtTime=2020-01-01T00:00:00Z"] {
        let query = format!("?AccountSid={child}{at}");
        let answer = home.answered((&sid, &secret), &query).await;
        if at.is_empty() {
            assert_eq!(reasons(&answer), told);
        }
        for word in ["suspended", "inactive", "account_unknown", "not there"] {
            assert!(!answer.to_string().contains(word), "{word}: {answer}");
        }
    }
    let answer = home.answered((&sid, &secret), &format!("?AccountSid={child}")).await;
    assert_eq!(answer["publish_verdict"], "accepted");
    assert!(text(&answer, "publish_detail").contains("may manage accounts"), "{answer}");
}
