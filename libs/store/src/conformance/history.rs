//! How it was: the change log as a history, and what compaction keeps of it.

use std::time::Duration;

use millrace_domain::{ConfigVersion, Timestamp, schema::EventTypeStatus};
use tokio::time::sleep;

use super::{
    Backend,
    make::{self, LIMIT, NOW, subscribed},
};
use crate::{Changes, Past, Resource, ResourceStore, audit::AuditQuery};

/// A time after everything so far and before everything to come, by the database's clock.
async fn tick(store: &dyn ResourceStore) -> Timestamp {
    // The clock is the database's: nothing but it going on makes times differ.
    sleep(Duration::from_millis(30)).await;
    let page = crate::Page { after: None, limit: 1 };
    let newest = store.audit_entries(&AuditQuery::default(), &page).await.expect("answers");
    newest[0].at.plus(Duration::from_millis(10))
}

fn shown(past: &Past) -> Vec<String> {
    let mut shown: Vec<_> = past
        .resources
        .iter()
        .map(|resource| match resource {
            Resource::Account(account) => account.sid.to_string(),
            Resource::Sink(sink) => format!("{} {}", sink.sid, sink.description),
            Resource::SinkTombstone(sid, _) => format!("{sid} deleted"),
            Resource::Subscription(of) => format!("{} {}", of.sid, of.types.len()),
            other => panic!("not of an account's past: {other:?}"),
        })
        .collect();
    shown.sort();
    shown
}

const AC: &str = "AC00000000000000000000000000000001";
const DG: &str = "DG00000000000000000000000000000001";
const DF: &str = "DF00000000000000000000000000000001";

/// Makes a history, and gives times in it.
async fn lived(store: &dyn ResourceStore) -> [Timestamp; 4] {
    let account = make::account(1);
    let sink = make::sink(1, &account);
    let subscription = make::subscription(1, &sink);
    store.create_account(&make::account(2)).await.expect("new");
    let types = |status| {
        let mut event_type = make::event_type("com.example.a", "A");
        event_type.status = status;
        [event_type]
    };
    store.register(&types(EventTypeStatus::Available), &[]).await.expect("new");
    let none = tick(store).await;
    store.create_account(&account).await.expect("new");
    store.create_sink(&sink, LIMIT).await.expect("new");
    store.update_sink(account.sid, sink.sid, &make::described("v2"), NOW).await.expect("is there");
    store.create_subscription(&subscription, LIMIT).await.expect("new");
    let made = tick(store).await;
    let event = subscribed("com.example.b", 1);
    store.add_subscribed_event(account.sid, subscription.sid, &event, LIMIT).await.expect("room");
    store.register(&types(EventTypeStatus::Discontinued), &[]).await.expect("changes");
    let added = tick(store).await;
    store.delete_subscription(account.sid, subscription.sid).await.expect("is there");
    store.delete_sink(account.sid, sink.sid, NOW).await.expect("is there");
    let gone = tick(store).await;
    [none, made, added, gone]
}

pub(super) async fn tells_how_it_was(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let [none, made, added, gone] = lived(&*store).await;
    let account = make::account(1).sid;
    let at = async |time| shown(&store.account_at(account, time).await.expect("answers"));
    assert!(at(none).await.is_empty(), "others' are not told");
    assert_eq!(at(made).await, [AC.to_owned(), format!("{DF} 2"), format!("{DG} v2")]);
    assert_eq!(at(added).await, [AC.to_owned(), format!("{DF} 3"), format!("{DG} v2")]);
    assert_eq!(at(gone).await, [AC.to_owned(), format!("{DG} deleted")]);
    let status = async |time| {
        let found = store.event_type_at("com.example.a", time).await.expect("answers");
        found.map(|event_type| event_type.status)
    };
    assert_eq!(status(Timestamp::from_millis(1)).await, None);
    assert_eq!(status(made).await, Some(EventTypeStatus::Available));
    assert_eq!(status(gone).await, Some(EventTypeStatus::Discontinued));
    assert!(!store.is_compacted().await.expect("answers"));
}

pub(super) async fn is_compacted(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let [none, made, added, gone] = lived(&*store).await;
    let (version, before) = make::snapshot(&*store).await;
    let account = make::account(1).sid;
    let at = async |time| shown(&store.account_at(account, time).await.expect("answers"));
    let then = (at(made).await, at(added).await, at(gone).await);

    assert_eq!(store.compact(none, 10).await.expect("answers"), 0, "nothing was superseded");
    assert_eq!(store.compact(made, 10).await.expect("answers"), 1, "the sink's first");
    assert!(store.is_compacted().await.expect("answers"));
    assert_eq!((at(made).await, at(added).await, at(gone).await), then, "it was so all the same");
    let gone_now = gone.plus(Duration::from_millis(1));
    // Two changes of the type but one, three of the subscription, the sink but its tombstone: few at a time.
    let mut removed = 0;
    while let 1.. = store.compact(gone_now, 2).await.expect("answers") {
        removed += 1;
    }
    assert!(removed > 1, "{removed}");
    assert_eq!(at(gone).await, then.2, "what is in force is told for ever");

    let (again, after) = make::snapshot(&*store).await;
    assert_eq!((again, &after), (version, &before), "the configuration is the same");
    let of = async |seq| store.changes(ConfigVersion { seq, ..version }, 100).await;
    assert!(matches!(of(0).await, Ok(Changes::Gone)), "it is not whole any more");
    assert!(matches!(of(version.seq).await, Ok(Changes::Some(log)) if log.is_empty()));
    let sink = make::sink(9, &make::account(2));
    store.create_sink(&sink, LIMIT).await.expect("new");
    assert!(matches!(of(version.seq).await, Ok(Changes::Some(log)) if log.len() == 1));
}
