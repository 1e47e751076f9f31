//! The change log, its epoch, and who waits for it.

use std::time::Duration;

use millrace_domain::{Account, AccountStatus, ConfigVersion};
use tokio::time;

use super::{
    Backend,
    make::{self, LIMIT, NOW, subscribed},
};
use crate::{Changes, ResourceStore};

/// Far above the second that a lost wake costs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Some of every write there is.
pub(super) async fn write_everything(store: &dyn ResourceStore) {
    let account = make::account(1);
    let (sink, doomed) = (make::sink(1, &account), make::sink(2, &account));
    let (kept, deleted) = (make::subscription(1, &sink), make::subscription(2, &doomed));
    store.create_account(&account).await.expect("new");
    store.create_api_key(&make::api_key(1, &account), LIMIT).await.expect("new");
    store.create_api_key(&make::api_key(2, &account), LIMIT).await.expect("new");
    store.rename_api_key(account.sid, make::api_key(1, &account).sid, "x", NOW).await.expect("is");
    store.delete_api_key(account.sid, make::api_key(2, &account).sid).await.expect("is there");
    store.update_account(account.sid, &make::named("x"), NOW).await.expect("is there");
    store.add_secondary_auth_token(account.sid, &make::secondary()).await.expect("has none");
    store.promote_secondary_auth_token(account.sid, NOW).await.expect("has one");
    store.add_secondary_auth_token(account.sid, &make::secondary()).await.expect("has none");
    store.remove_secondary_auth_token(account.sid, NOW).await.expect("has one");
    store.create_sink(&sink, LIMIT).await.expect("new");
    store.create_sink(&doomed, LIMIT).await.expect("new");
    store.create_subscription(&kept, LIMIT).await.expect("new");
    store.create_subscription(&deleted, LIMIT).await.expect("new");
    let update = make::described("x");
    store.update_sink(account.sid, sink.sid, &update, NOW).await.expect("is there");
    let update = make::reworded("x");
    store.update_subscription(account.sid, kept.sid, &update, NOW).await.expect("is there");
    let event = subscribed("com.example.b", 1);
    store.add_subscribed_event(account.sid, kept.sid, &event, LIMIT).await.expect("there is room");
    let pinned = subscribed("com.example.a", 7);
    store.pin_subscribed_event(account.sid, kept.sid, &pinned).await.expect("is there");
    store.remove_subscribed_event(account.sid, kept.sid, "com.example.b").await.expect("is there");
    store.delete_subscription(account.sid, deleted.sid).await.expect("is there");
    store.delete_sink(account.sid, doomed.sid, NOW).await.expect("is there");
    let types = [make::event_type("com.example.a", "A")];
    store.register(&types, &[make::schema_version("A", 1)]).await.expect("new");
    close_a_family(store).await;
}

/// A parent with a subaccount, each with a sink, a subscription and a key, closed.
async fn close_a_family(store: &dyn ResourceStore) {
    let parent = make::account(7);
    let child = Account { parent: Some(parent.sid), ..make::account(8) };
    store.create_account(&parent).await.expect("new");
    store.create_subaccount(&child, LIMIT).await.expect("there is room");
    for (id, account) in [(70, &parent), (80, &child)] {
        let sink = make::sink(id, account);
        store.create_sink(&sink, LIMIT).await.expect("new");
        store.create_subscription(&make::subscription(id, &sink), LIMIT).await.expect("new");
        store.create_api_key(&make::api_key(id, account), LIMIT).await.expect("new");
    }
    let closed = make::turned(AccountStatus::Closed);
    store.update_account(parent.sid, &closed, NOW).await.expect("is open");
}

pub(super) async fn tell_every_write(backend: &dyn Backend) {
    let store = make::open(backend).await;
    let nothing = store.version().await.expect("answers");
    assert_eq!(nothing.seq, 0);
    assert!(make::log(&*store).await.is_empty());
    write_everything(&*store).await;

    let log = make::log(&*store).await;
    assert_eq!(log.len(), 15 + 8 + 8 + 8, "{log:?}");
    assert!(log.is_sorted_by(|a, b| a.seq < b.seq));
    let (version, snapshot) = make::snapshot(&*store).await;
    assert_eq!(Some(version.seq), log.last().map(|change| change.seq));
    assert_eq!(make::replayed(&make::log(&*store).await, version.seq), snapshot);
    store.forget_sinks(NOW.plus(Duration::from_secs(1))).await.expect("answers");
    let (version, snapshot) = make::snapshot(&*store).await;
    assert_eq!(make::replayed(&make::log(&*store).await, version.seq), snapshot);
}

pub(super) async fn of_elsewhere_are_gone(backend: &dyn Backend) {
    let (store, _) = make::with_account(backend).await;
    let here = store.version().await.expect("answers");
    assert_ne!(here.epoch, 0);
    let again = make::open(backend).await.version().await.expect("answers");
    assert_eq!(again, here, "the epoch is the database's");

    let of = async |epoch, seq| store.changes(ConfigVersion { epoch, seq }, 10).await;
    assert!(matches!(of(here.epoch, 0).await, Ok(Changes::Some(log)) if log.len() == 1));
    assert!(matches!(of(here.epoch, here.seq).await, Ok(Changes::Some(log)) if log.is_empty()));
    for (epoch, seq) in [(here.epoch ^ 1, 0), (0, 0), (here.epoch, 2), (here.epoch, u64::MAX)] {
        assert!(matches!(of(epoch, seq).await, Ok(Changes::Gone)), "{epoch}:{seq}");
    }
}

pub(super) async fn wake_who_waits(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let elsewhere = make::open(backend).await;
    let seq = store.version().await.expect("answers").seq;
    let in_time = time::timeout(PATIENCE, store.changed(seq - 1)).await;
    in_time.expect("the log is longer already");

    let none = time::timeout(Duration::from_millis(50), store.changed(seq)).await;
    assert!(none.is_err(), "there is no change to wake for");
    let sink = make::sink(1, &account);
    let (woken, written) = futures::join!(
        time::timeout(PATIENCE, store.changed(seq)),
        elsewhere.create_sink(&sink, 1)
    );
    written.expect("new");
    woken.expect("woken by another's commit");
}
