//! Callers at the same time, and callers that go away.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use futures::future;
use millrace_domain::{Account, ConfigVersion};

use super::{
    Backend,
    make::{self, LIMIT},
};
use crate::{Change, Changes, Error, ResourceStore};

pub(super) async fn limits_are_exact(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    let elsewhere = make::open(backend).await;
    let first = make::sink(100, &account);
    store.create_sink(&first, 2).await.expect("there is room");

    let sinks: Vec<_> = (0..8).map(|id| make::sink(id, &account)).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let created = sinks.iter().zip(stores).map(|(sink, store)| store.create_sink(sink, 2));
    exactly_one(&future::join_all(created).await);

    let subscriptions: Vec<_> = (0..8).map(|id| make::subscription(id, &first)).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let created = subscriptions.iter().zip(stores);
    let created = created.map(|(subscription, store)| store.create_subscription(subscription, 1));
    exactly_one(&future::join_all(created).await);

    let keys: Vec<_> = (0..8).map(|id| make::api_key(id, &account)).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let created = keys.iter().zip(stores).map(|(key, store)| store.create_api_key(key, 1));
    exactly_one(&future::join_all(created).await);

    let child = |id| Account { parent: Some(account.sid), ..make::account(id) };
    let children: Vec<_> = (10..18).map(child).collect();
    let stores = [&store, &elsewhere].into_iter().cycle();
    let created = children.iter().zip(stores);
    let created = created.map(|(child, store)| store.create_subaccount(child, 1));
    exactly_one(&future::join_all(created).await);
}

fn exactly_one<T: std::fmt::Debug>(results: &[Result<T, Error>]) {
    let made = results.iter().filter(|result| result.is_ok()).count();
    let full = |result: &&Result<T, Error>| matches!(result, Err(Error::LimitReached { .. }));
    let refused = results.iter().filter(full).count();
    assert_eq!((made, refused), (1, results.len() - 1), "{results:?}");
}

/// Creates and deletes sinks and subscriptions, `rounds` times.
async fn write(store: &dyn ResourceStore, account: &Account, ids: u128, rounds: u128) {
    for id in (0..rounds).map(|round| ids * 1_000 + round) {
        let sink = make::sink(id, account);
        let subscription = make::subscription(id, &sink);
        store.create_sink(&sink, LIMIT).await.expect("new");
        store.create_subscription(&subscription, LIMIT).await.expect("new");
        if id % 2 == 0 {
            store.delete_subscription(account.sid, subscription.sid).await.expect("is there");
            store.delete_sink(account.sid, sink.sid, make::NOW).await.expect("is there");
        }
    }
}

/// Runs writers on `store` and on another, and `watch` beside them; it is told when they are done.
async fn beside_writers<T>(
    backend: &dyn Backend,
    store: &dyn ResourceStore,
    watch: impl AsyncFnOnce(&AtomicBool) -> T,
) -> T {
    let account = make::account(1);
    let elsewhere = make::open(backend).await;
    let done = AtomicBool::new(false);
    let writing = async {
        let stores = [store, &*elsewhere, store, &*elsewhere].into_iter();
        let writers = stores.zip(0..).map(|(store, ids)| write(store, &account, ids, 10));
        future::join_all(writers).await;
        done.store(true, Ordering::Relaxed);
    };
    future::join(watch(&done), writing).await.0
}

pub(super) async fn the_log_has_no_gaps(backend: &dyn Backend) {
    let (store, _) = make::with_account(backend).await;
    let read = beside_writers(backend, &*store, async |done| {
        let mut read: Vec<Change> = Vec::new();
        let mut version = ConfigVersion { seq: 0, ..store.version().await.expect("answers") };
        loop {
            let ends = done.load(Ordering::Relaxed);
            let Changes::Some(more) = store.changes(version, 3).await.expect("answers") else {
                panic!("the log is gone");
            };
            if ends && more.is_empty() {
                return read;
            }
            version.seq = more.last().map_or(version.seq, |change| change.seq);
            read.extend(more);
        }
    })
    .await;
    let seqs = |log: &[Change]| log.iter().map(|change| change.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&read), seqs(&make::log(&*store).await), "none came later below the cursor");
    assert_eq!(read.len(), 1 + 4 * (10 * 2 + 5 * 2));
}

pub(super) async fn a_snapshot_is_of_one_version(backend: &dyn Backend) {
    let (store, _) = make::with_account(backend).await;
    let snapshots = beside_writers(backend, &*store, async |done| {
        let mut snapshots = Vec::new();
        while !done.load(Ordering::Relaxed) {
            snapshots.push(make::snapshot(&*store).await);
        }
        snapshots
    })
    .await;
    assert!(snapshots.len() > 1, "the writers were too fast to watch");
    let log = make::log(&*store).await;
    for (version, snapshot) in snapshots {
        assert_eq!(make::replayed(&log, version.seq), snapshot, "{version}");
    }
}

/// Polls `future` so many times, then drops it.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(fewer) => {
            left = fewer;
            future.as_mut().poll(context).map(Some)
        }
    })
    .await
}

pub(super) async fn a_dropped_call_does_all_or_nothing(backend: &dyn Backend) {
    let (store, account) = make::with_account(backend).await;
    for polls in 1..40 {
        let sink = make::sink(polls as u128, &account);
        let ended = dropped_after(polls, store.create_sink(&sink, LIMIT)).await;
        match (ended, store.create_sink(&sink, LIMIT).await) {
            // It ended, or its commit was on the way: the repeat says so.
            (Some(Ok(_)) | None, Err(Error::AlreadyExists { .. })) | (None, Ok(_)) => {}
            other => panic!("after {polls} polls: {other:?}"),
        }
        assert_eq!(store.sink(account.sid, sink.sid).await.expect("is there"), sink);
    }
    let (version, snapshot) = make::snapshot(&*store).await;
    assert_eq!(make::replayed(&make::log(&*store).await, version.seq), snapshot);
}
