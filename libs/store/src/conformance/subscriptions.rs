//! Subscriptions and their types.

use std::time::Duration;

use millrace_domain::{SinkStatus, Subscription, SubscriptionSid, SubscriptionUpdate};

use super::{
    Backend,
    make::{self, LIMIT, NOW, subscribed},
};
use crate::{Error, Page, ResourceStore};

pub(super) async fn are_kept(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let other_sink = make::sink(2, &make::account(1));
    store.create_sink(&other_sink, LIMIT).await.expect("new");
    let subscriptions = [
        make::subscription(1, &sink),
        make::subscription(2, &other_sink),
        make::subscription(3, &sink),
    ];
    for subscription in &subscriptions {
        store.create_subscription(subscription, LIMIT).await.expect("new");
    }
    let [first, second, third] = &subscriptions;
    assert_eq!(&store.subscription(sink.account, first.sid).await.expect("is there"), first);
    let repeated = store.create_subscription(first, 1).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");

    let list = async |sink, after: Option<SubscriptionSid>, limit| {
        let page = Page { after, limit };
        store.subscriptions(first.account, sink, &page).await.expect("answers")
    };
    assert_eq!(list(None, None, 10).await, subscriptions);
    assert_eq!(list(None, Some(first.sid), 1).await, std::slice::from_ref(second));
    assert_eq!(list(Some(sink.sid), None, 10).await, [first.clone(), third.clone()]);

    let later = NOW.plus(Duration::from_secs(60));
    let description = Some("new words".to_owned());
    let update = SubscriptionUpdate { description, include_subaccounts: Some(true) };
    let described = store.update_subscription(sink.account, first.sid, &update, later);
    let (described, _) = described.await.expect("is there");
    let expected = Subscription {
        description: "new words".to_owned(),
        include_subaccounts: true,
        updated: later,
        ..first.clone()
    };
    assert_eq!(described, expected);
    let nothing = SubscriptionUpdate::default();
    let same = store.update_subscription(sink.account, first.sid, &nothing, later).await;
    assert_eq!(same.expect("is there").0, expected, "what is not named stays");
    assert_eq!(store.subscription_of_any(first.sid).await.expect("is there"), expected);

    store.delete_subscription(sink.account, first.sid).await.expect("is there");
    let deleted = store.delete_subscription(sink.account, first.sid).await;
    assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");
    store.sink(sink.account, sink.sid).await.expect("the sink stays");
}

pub(super) async fn need_a_sink(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let unknown = make::sink(9, &make::account(1));
    let refused = store.create_subscription(&make::subscription(1, &unknown), LIMIT).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");

    let other = make::account(2);
    store.create_account(&other).await.expect("new");
    let mut thief = make::subscription(1, &sink);
    thief.account = other.sid;
    let refused = store.create_subscription(&thief, LIMIT).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");

    let mut failed = make::sink(2, &make::account(1));
    failed.status = SinkStatus::Failed;
    store.create_sink(&failed, LIMIT).await.expect("new");
    let refused = store.create_subscription(&make::subscription(1, &failed), LIMIT).await;
    assert!(matches!(refused, Err(Error::SinkFailed)), "{refused:?}");
}

pub(super) async fn gain_and_lose_types(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let subscription = make::subscription(1, &sink);
    let (account, sid) = (sink.account, subscription.sid);
    store.create_subscription(&subscription, LIMIT).await.expect("new");

    let b = subscribed("com.example.b", 3);
    store.add_subscribed_event(account, sid, &b, 3).await.expect("there is room");
    let repeated = store.add_subscribed_event(account, sid, &b, 3).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");
    let d = subscribed("com.example.d", 1);
    let full = store.add_subscribed_event(account, sid, &d, 3).await;
    assert!(matches!(full, Err(Error::LimitReached { limit: 3 })), "{full:?}");
    assert_eq!(
        types(&*store, &subscription).await,
        ["com.example.a/1", "com.example.b/3", "com.example.c/2"]
    );

    let pinned = subscribed("com.example.b", 1);
    for _ in 0..2 {
        store.pin_subscribed_event(account, sid, &pinned).await.expect("is there");
    }
    let refused = store.pin_subscribed_event(account, sid, &d).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    store.remove_subscribed_event(account, sid, "com.example.a").await.expect("is there");
    let repeated = store.remove_subscribed_event(account, sid, "com.example.a").await;
    assert!(matches!(repeated, Err(Error::NotFound { .. })), "{repeated:?}");
    assert_eq!(types(&*store, &subscription).await, ["com.example.b/1", "com.example.c/2"]);

    store.remove_subscribed_event(account, sid, "com.example.b").await.expect("is there");
    let last = store.remove_subscribed_event(account, sid, "com.example.c").await;
    assert!(matches!(last, Err(Error::InUse { .. })), "{last:?}");
}

async fn types(store: &dyn ResourceStore, subscription: &Subscription) -> Vec<String> {
    let read = store.subscription(subscription.account, subscription.sid).await.expect("is there");
    read.types
        .iter()
        .map(|event| format!("{}/{}", event.event_type, event.schema_version))
        .collect()
}

pub(super) async fn are_private(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let sid = make::subscription(1, &sink).sid;
    store.create_subscription(&make::subscription(1, &sink), LIMIT).await.expect("new");
    let other = make::account(2);
    store.create_account(&other).await.expect("new");
    let version = store.version().await.expect("answers");
    let event = subscribed("com.example.a", 2);

    let refusals = [
        store.subscription(other.sid, sid).await.err(),
        store.update_subscription(other.sid, sid, &make::reworded("mine"), NOW).await.err(),
        store.delete_subscription(other.sid, sid).await.err(),
        store.add_subscribed_event(other.sid, sid, &event, LIMIT).await.err(),
        store.pin_subscribed_event(other.sid, sid, &event).await.err(),
        store.remove_subscribed_event(other.sid, sid, "com.example.a").await.err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(Error::NotFound { .. })), "{refusal:?}");
    }
    let all = Page { after: None, limit: 10 };
    assert_eq!(store.subscriptions(other.sid, None, &all).await.expect("answers"), []);
    assert_eq!(store.version().await.expect("answers"), version, "refusals are no changes");
}
