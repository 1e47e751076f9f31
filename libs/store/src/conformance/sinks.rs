//! Sinks and tombstones.

use std::{num::NonZeroU32, time::Duration};

use millrace_domain::{Sink, SinkDelivery, SinkStatus, SinkUpdate, sink::Headers};

use super::{
    Backend,
    make::{self, LIMIT, NOW},
};
use crate::{Changed, Error, Page, Resource, ResourceStore, SinkFilter};

const LATER: Duration = Duration::from_secs(60);

pub(super) async fn are_kept_and_updated(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let mut sink = make::sink(1, &account);
    sink.status = SinkStatus::Failed;
    store.create_sink(&sink, LIMIT).await.expect("new");
    assert_eq!(store.sink(account.sid, sink.sid).await.expect("is there"), sink);
    let repeated = store.create_sink(&sink, 1).await;
    assert!(matches!(repeated, Err(Error::AlreadyExists { .. })), "{repeated:?}");
    let homeless = store.create_sink(&make::sink(2, &make::account(9)), LIMIT).await;
    assert!(matches!(homeless, Err(Error::NotFound { .. })), "{homeless:?}");

    let (later, words) = (NOW.plus(LATER), make::described("new words"));
    let (described, version) =
        store.update_sink(account.sid, sink.sid, &words, later).await.expect("is there");
    assert_eq!((described.description.as_str(), described.updated), ("new words", later));
    assert_eq!(described.status, SinkStatus::Active, "an update clears the status failed");
    assert_eq!(store.sink(account.sid, sink.sid).await.expect("is there"), described);
    let (again, next) =
        store.update_sink(account.sid, sink.sid, &words, later).await.expect("is there");
    assert_eq!(again, described);
    assert!(next.covers(version));
}

/// Each update changes what it names, in the row and in the log.
pub(super) async fn change_in_part(backend: &dyn Backend) {
    let (store, mut sink) = make::with_sink(backend).await;
    let (one, two) = (NonZeroU32::MIN, NonZeroU32::new(2));
    let week = Duration::from_secs(7 * 24 * 3600);
    let moved = make::sink(2, &make::account(1)).configuration;
    let headers = Headers::parse(r#"{"Authorization":"Bearer x"}"#).expect("headers");
    let updates = [
        SinkUpdate { paused: Some(true), rate_limit: Some(two), ..SinkUpdate::default() },
        SinkUpdate { window: Some(Some(week)), ..SinkUpdate::default() },
        SinkUpdate { configuration: Some(moved), ..SinkUpdate::default() },
        SinkUpdate { headers: Some(headers), ..SinkUpdate::default() },
        SinkUpdate { max_concurrency: Some(Some(one)), ..SinkUpdate::default() },
        SinkUpdate { paused: Some(false), rate_limit: Some(None), ..make::described("x") },
    ];
    for (count, update) in (1..).zip(&updates) {
        let later = NOW.plus(LATER * count);
        let (updated, _) =
            store.update_sink(sink.account, sink.sid, update, later).await.expect("is there");
        update.apply(&mut sink, later);
        assert_eq!(updated, sink);
        assert_eq!(store.sink(sink.account, sink.sid).await.expect("is there"), sink);
        let last = make::log(&*store).await.pop().map(|change| change.changed);
        assert!(
            matches!(&last, Some(Changed::Upserted(Resource::Sink(told))) if *told == sink),
            "{last:?}"
        );
    }
    let expected =
        SinkDelivery { max_concurrency: Some(one), window: Some(week), ..SinkDelivery::default() };
    assert_eq!((sink.delivery, sink.description.as_str()), (expected, "x"));
}

/// Another status is a change; the same one is none.
pub(super) async fn fail_and_work_again(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let set = async |status, count| {
        let later = NOW.plus(LATER * count);
        store.set_sink_status(sink.account, sink.sid, status, later).await.expect("is there")
    };
    let failed = set(SinkStatus::Failed, 1).await.expect("a change");
    assert_eq!(set(SinkStatus::Failed, 2).await, None);
    assert_eq!(store.failed_sinks().await.expect("lists"), [sink.sid]);
    let found = store.sink(sink.account, sink.sid).await.expect("is there");
    let expected = Sink { status: SinkStatus::Failed, updated: NOW.plus(LATER), ..sink.clone() };
    assert_eq!(found, expected);
    let last = make::log(&*store).await.pop().map(|change| change.changed);
    assert!(matches!(&last, Some(Changed::Upserted(Resource::Sink(told))) if *told == expected));
    let active = set(SinkStatus::Active, 3).await.expect("a change");
    assert!(active.covers(failed));
    assert!(store.failed_sinks().await.expect("lists").is_empty());
    let other = make::account(9).sid;
    let refused = store.set_sink_status(other, sink.sid, SinkStatus::Failed, NOW).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

pub(super) async fn are_listed(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    for id in [3, 1, 4, 2, 5] {
        let mut sink = make::sink(id, &account);
        if id == 4 {
            sink.status = SinkStatus::Failed;
        }
        store.create_sink(&sink, LIMIT).await.expect("new");
    }
    let used = make::sink(2, &account);
    store.create_subscription(&make::subscription(1, &used), LIMIT).await.expect("new");

    let list = async |in_use, status, after: Option<u128>, limit| {
        let filter = SinkFilter { in_use, status };
        let after = after.map(|id| make::sink(id, &account).sid);
        let page = Page { after, limit };
        let sinks = store.sinks(account.sid, &filter, &page).await.expect("answers");
        sinks.iter().map(|sink| sink.sid.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None, 10).await, [1, 2, 3, 4, 5]);
    assert_eq!(list(None, None, None, 2).await, [1, 2]);
    assert_eq!(list(None, None, Some(2), 2).await, [3, 4]);
    assert_eq!(list(None, None, Some(5), 2).await, []);
    assert_eq!(list(Some(true), None, None, 10).await, [2]);
    assert_eq!(list(Some(false), None, None, 10).await, [1, 3, 4, 5]);
    assert_eq!(list(None, Some(SinkStatus::Failed), None, 10).await, [4]);
    assert_eq!(list(Some(true), Some(SinkStatus::Failed), None, 10).await, []);
}

pub(super) async fn leave_a_tombstone(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let used = make::subscription(1, &sink);
    store.create_subscription(&used, LIMIT).await.expect("new");
    let refused = store.delete_sink(sink.account, sink.sid, NOW).await;
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    store.delete_subscription(sink.account, used.sid).await.expect("is there");

    store.delete_sink(sink.account, sink.sid, NOW).await.expect("is there");
    is_gone(&*store, &sink).await;
    assert!(matches!(tombstone(&*store).await, Some(Changed::Upserted(_))), "in the log");
    let (_, resources) = store.snapshot().await.expect("answers");
    let is_tombstone = |resource: &Resource| matches!(resource, Resource::SinkTombstone(sid, account) if (*sid, *account) == (sink.sid, sink.account));
    assert!(resources.iter().any(is_tombstone), "in the snapshot");

    assert_eq!(store.forget_sinks(NOW).await.expect("answers"), 0, "not older than itself");
    assert_eq!(store.forget_sinks(NOW.plus(LATER)).await.expect("answers"), 1);
    assert_eq!(store.forget_sinks(NOW.plus(LATER)).await.expect("answers"), 0);
    assert!(matches!(tombstone(&*store).await, Some(Changed::SinkForgotten(_))), "in the log");
    let (_, resources) = store.snapshot().await.expect("answers");
    assert!(!resources.iter().any(is_tombstone), "no longer in the snapshot");
}

/// Nothing finds a deleted sink, and nothing may be done to it; nor does it count.
async fn is_gone(store: &dyn ResourceStore, sink: &Sink) {
    let (account, sid) = (sink.account, sink.sid);
    let all = Page { after: None, limit: 10 };
    let read = store.sink(account, sid).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    let read = store.sink_of_any(sid).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    let described = store.update_sink(account, sid, &make::described("x"), NOW).await;
    assert!(matches!(described, Err(Error::NotFound { .. })), "{described:?}");
    let deleted = store.delete_sink(account, sid, NOW).await;
    assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");
    let subscribed = store.create_subscription(&make::subscription(2, sink), LIMIT).await;
    assert!(matches!(subscribed, Err(Error::NotFound { .. })), "{subscribed:?}");
    let recreated = store.create_sink(sink, LIMIT).await;
    assert!(matches!(recreated, Err(Error::AlreadyExists { .. })), "{recreated:?}");
    let filter = SinkFilter::default();
    assert_eq!(store.sinks(account, &filter, &all).await.expect("answers"), []);
    let other = Sink { sid: millrace_domain::SinkSid::from_u128(77), ..sink.clone() };
    store.create_sink(&other, 1).await.expect("the limit does not count tombstones");
    store.delete_sink(account, other.sid, NOW.plus(LATER * 2)).await.expect("is there");
    store.delete_sink(account, other.sid, NOW).await.expect_err("deleted once");
}

/// The last word of the log about the sink with number 1.
async fn tombstone(store: &dyn ResourceStore) -> Option<Changed> {
    let about = |changed: &Changed| match changed {
        Changed::Upserted(Resource::SinkTombstone(sid, _)) | Changed::SinkForgotten(sid) => {
            sid.as_u128() == 1
        }
        _ => false,
    };
    let mut log = make::log(store).await.into_iter().map(|change| change.changed);
    log.rfind(about)
}

pub(super) async fn are_private(backend: &dyn Backend) {
    let (store, sink) = make::with_sink(backend).await;
    let other = make::account(2);
    store.create_account(&other).await.expect("new");
    let version = store.version().await.expect("answers");

    let read = store.sink(other.sid, sink.sid).await;
    assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    let described = store.update_sink(other.sid, sink.sid, &make::described("mine"), NOW).await;
    assert!(matches!(described, Err(Error::NotFound { .. })), "{described:?}");
    let deleted = store.delete_sink(other.sid, sink.sid, NOW).await;
    assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");
    let all = Page { after: None, limit: 10 };
    assert_eq!(store.sinks(other.sid, &SinkFilter::default(), &all).await.expect("answers"), []);

    assert_eq!(store.sink_of_any(sink.sid).await.expect("a platform key may"), sink);
    assert_eq!(store.version().await.expect("answers"), version, "refusals are no changes");
}
