//! What every [`LogStore`] must do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};

use crate::{
    Page,
    logs::{
        ATTEMPTS_DAYS, AttemptEntry, AttemptResult, DROPS_DAYS, DropCause, DropEntry, ERRORS_DAYS,
        Entries, ErrorEntry, LogId, LogQuery, LogStore, PURGE_MAX, Place,
    },
};

mod told;

/// New, empty logs.
#[async_trait]
pub trait LogBackend: Send + Sync {
    /// Opens the logs, as another process would; all so opened are the same.
    async fn open(&self) -> Arc<dyn LogStore>;
    /// Whether text with NUL in it is refused.
    fn refuses_nul(&self) -> bool;
}

type Check = for<'a> fn(&'a dyn LogBackend) -> BoxFuture<'a, ()>;

const CHECKS: &[(&str, Check)] = &[
    ("entries are listed by what is asked, newest first", |b| Box::pin(are_listed(b))),
    ("an entry that is written again is ignored, after midnight too", |b| Box::pin(repeats(b))),
    ("a row that is refused is set aside alone", |b| Box::pin(refuses_alone(b))),
    ("days are made by many at once and dropped in time", |b| Box::pin(keeps_days(b))),
    ("dropped events are kept up to a quota", |b| Box::pin(keeps_events(b))),
    ("what was sent again is noted", |b| Box::pin(notes_resent(b))),
    ("each problem is told of once, whoever counts", |b| Box::pin(told::tells_once(b))),
    ("failing sinks are known until they answer", |b| Box::pin(told::knows_failing(b))),
    ("what became of reports is known for a month", |b| Box::pin(told::knows_periods(b))),
];

/// Runs every check, each on new logs of `make`; panics at the first that fails, named on stderr.
pub async fn run<F: Future<Output = Box<dyn LogBackend>>>(make: impl Fn() -> F) {
    for (sentence, check) in CHECKS {
        eprintln!("checking: {sentence}");
        check(make().await.as_ref()).await;
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const ACCOUNT: AccountSid = AccountSid::from_u128(0xa);

fn now() -> Timestamp {
    Timestamp::from_millis(1_763_000_000_000)
}

fn sink(number: u128) -> SinkSid {
    SinkSid::from_u128(number)
}

fn id(at: Timestamp, index: u32) -> LogId {
    let place = Place { log: 0, partition: Partition(1), entry_ms: 7, entry_seq: 0, index };
    LogId::of(at, &place)
}

fn attempt(at: Timestamp, index: u32) -> AttemptEntry {
    AttemptEntry {
        id: id(at, index),
        reported: at,
        account: ACCOUNT,
        sink: sink(1),
        duration: Duration::from_millis(12),
        result: AttemptResult::Delivered,
        http_status: 204,
        error_code: 0,
        attempt: 1,
        detail: "ok".to_owned(),
        event_ids: vec![format!("EZ{index}"), format!("EZ{index}'\"\\,{{}}")],
    }
}

fn error(at: Timestamp, index: u32) -> ErrorEntry {
    ErrorEntry {
        id: id(at, index),
        reported: at,
        account: ACCOUNT,
        sink: sink(1),
        error_code: 91306,
        http_status: 503,
        attempt: 2,
        detail: "no".to_owned(),
        event_ids: vec![format!("EZ{index}")],
    }
}

fn dropped(at: Timestamp, index: u32, size: usize) -> DropEntry {
    DropEntry {
        id: id(at, index),
        reported: at,
        account: ACCOUNT,
        sink: sink(1),
        event_id: format!("EZ{index}"),
        event_type: "com.example.a".to_owned(),
        accepted: at,
        cause: DropCause::Expired,
        error_code: 91307,
        schema_version: 3,
        size: u32::try_from(size).expect("small"),
        kept: true,
        event: Some(vec![b'x'; size].into()),
        resent: None,
    }
}

async fn opened(backend: &dyn LogBackend) -> Arc<dyn LogStore> {
    let logs = backend.open().await;
    logs.keep_days(now()).await.expect("makes days");
    logs
}

fn all() -> Page<LogId> {
    Page { after: None, limit: 1_000 }
}

fn asked() -> LogQuery {
    LogQuery::of(ACCOUNT)
}

fn of_sink(number: u128) -> LogQuery {
    LogQuery { sink: Some(sink(number)), ..asked() }
}

async fn attempts(logs: &dyn LogStore, query: LogQuery) -> Vec<AttemptEntry> {
    let found = logs.attempts(&query, &all()).await.expect("lists");
    found.into_iter().map(by_id).collect()
}

/// An entry with the time that its id tells: of when it was reported, only the day is kept.
fn by_id(entry: AttemptEntry) -> AttemptEntry {
    AttemptEntry { reported: entry.id.at(), ..entry }
}

async fn are_listed(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let at = |seconds| now().plus(Duration::from_secs(seconds));
    let failed = AttemptEntry {
        sink: sink(2),
        result: AttemptResult::Retry,
        http_status: 0,
        error_code: 91308,
        ..attempt(at(2), 2)
    };
    let other = AttemptEntry { account: AccountSid::from_u128(0xb), ..attempt(at(3), 3) };
    let entries = Entries {
        attempts: vec![attempt(at(0), 0), attempt(at(1), 1), failed.clone(), other],
        errors: vec![error(at(0), 0), error(at(1), 1)],
        drops: vec![dropped(at(0), 0, 3), dropped(at(1), 1, 4)],
    };
    let written = logs.write(&entries, now()).await.expect("writes");
    assert_eq!((written.attempts, written.errors.len(), written.drops.len()), (4, 2, 2));
    assert!(written.refused.is_empty(), "{written:?}");

    let found = attempts(&*logs, asked()).await;
    assert_eq!(found, [failed.clone(), attempt(at(1), 1), attempt(at(0), 0)]);
    let last = logs.last_attempt(&of_sink(1)).await.expect("looks");
    assert_eq!(last.map(by_id), Some(attempt(at(1), 1)));
    assert_eq!(logs.last_attempt(&of_sink(9)).await.expect("looks"), None);
    let one = Page { after: Some(found[1].id), limit: 1 };
    let next = logs.attempts(&asked(), &one).await.expect("lists");
    assert_eq!(next[0].id, found[2].id, "the next page");
    for (query, expected) in [
        (of_sink(2), vec![2]),
        (LogQuery { result: Some(AttemptResult::Delivered), ..asked() }, vec![1, 0]),
        (LogQuery { error_code: Some(91308), ..asked() }, vec![2]),
        (LogQuery { event_id: Some("EZ1'\"\\,{}".to_owned()), ..asked() }, vec![1]),
        (LogQuery { event_id: Some("EZ".to_owned()), ..asked() }, vec![]),
        (LogQuery { since: Some(at(1)), until: Some(at(2)), ..asked() }, vec![1]),
    ] {
        let found: Vec<_> = attempts(&*logs, query).await.iter().map(|entry| entry.id).collect();
        let expected: Vec<_> = expected.into_iter().map(|n| id(at(u64::from(n)), n)).collect();
        assert_eq!(found, expected);
    }
    let query = LogQuery { event_id: Some("EZ0".to_owned()), ..asked() };
    let found = logs.errors(&query, &all()).await.expect("lists");
    assert_eq!(ErrorEntry { reported: at(0), ..found[0].clone() }, error(at(0), 0));
    let found =
        logs.drops(&LogQuery { sink: Some(sink(1)), ..query }, &all()).await.expect("lists");
    let expected = DropEntry { event: None, reported: found[0].reported, ..dropped(at(0), 0, 3) };
    assert_eq!(found, [expected]);
}

async fn repeats(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let entries = Entries {
        attempts: vec![attempt(now(), 0)],
        errors: vec![error(now(), 0)],
        drops: vec![dropped(now(), 0, 1)],
    };
    logs.write(&entries, now()).await.expect("writes");
    let more = Entries {
        attempts: vec![attempt(now(), 0), attempt(now(), 1)],
        errors: vec![error(now(), 0), error(now(), 1)],
        drops: vec![dropped(now(), 0, 1), dropped(now(), 1, 1)],
    };
    let tomorrow = now().plus(DAY);
    backend.open().await.keep_days(tomorrow).await.expect("makes days");
    let written = logs.write(&more, tomorrow).await.expect("writes");
    assert_eq!(written.attempts, 1);
    assert_eq!(written.errors, [id(now(), 1)].into());
    assert_eq!(written.drops, [id(now(), 1)].into());
    assert_eq!(attempts(&*logs, asked()).await.len(), 2);
    assert_eq!(logs.drops(&of_sink(1), &all()).await.expect("lists").len(), 2);
}

async fn refuses_alone(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let mut entries = Entries::default();
    for index in 0..50 {
        entries.attempts.push(attempt(now(), index));
        entries.drops.push(dropped(now(), index, 1));
    }
    entries.attempts[17].detail = "a\0b".to_owned();
    entries.attempts[43].event_ids = vec!["\0".to_owned()];
    entries.drops[5].event_type = "\0".to_owned();
    let written = logs.write(&entries, now()).await.expect("writes the others");
    let mut refused: Vec<_> = written.refused.iter().map(|(id, _)| *id).collect();
    refused.sort();
    let mut expected = vec![id(now(), 5), id(now(), 17), id(now(), 43)];
    expected.sort();
    if backend.refuses_nul() {
        assert_eq!(refused, expected);
        assert_eq!((written.attempts, written.drops.len()), (48, 49));
    } else {
        assert_eq!((written.attempts, written.drops.len(), refused.len()), (50, 50, 0));
    }
}

async fn keeps_days(backend: &dyn LogBackend) {
    let logs = backend.open().await;
    let late = now().plus(DAY * 30);
    let entry = |days: u32| attempt(late.plus(DAY * days), days);
    let entries = Entries {
        attempts: vec![entry(0), attempt(Timestamp::from_millis(5), 100)],
        errors: vec![error(late, 0)],
        drops: vec![dropped(late, 0, 1)],
    };
    // Nobody made the days before.
    assert_eq!(logs.write(&entries, late).await.expect("writes").attempts, 2);
    let stores = join_all((0..4).map(|_| backend.open())).await;
    let later = late.plus(DAY);
    for kept in join_all(stores.iter().map(|store| store.keep_days(later))).await {
        kept.expect("all end well");
    }
    let found = attempts(&*logs, asked()).await;
    assert_eq!(found.len(), 1, "what was reported too long ago went with the oldest day");
    for (after, attempts, errors, drops) in [
        (ATTEMPTS_DAYS, 1, 1, 1),
        (ATTEMPTS_DAYS.max(DROPS_DAYS) + 1, 0, 1, 0),
        (ERRORS_DAYS, 0, 1, 0),
        (ERRORS_DAYS + 1, 0, 0, 0),
    ] {
        let then = late.plus(DAY * u32::try_from(after).expect("small"));
        logs.keep_days(then).await.expect("drops days");
        logs.keep_days(then).await.expect("a repeat does nothing");
        let found = (
            logs.attempts(&asked(), &all()).await.expect("lists").len(),
            logs.errors(&asked(), &all()).await.expect("lists").len(),
            logs.drops(&asked(), &all()).await.expect("lists").len(),
        );
        assert_eq!(found, (attempts, errors, drops), "after {after} days");
    }
}

async fn keeps_events(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let at = |index: u32| now().plus(Duration::from_millis(u64::from(index)));
    let drops = (0..10).map(|index| dropped(at(index), index, 100)).collect();
    logs.write(&Entries { drops, ..Entries::default() }, now()).await.expect("writes");
    assert_eq!(logs.purge_dropped(ACCOUNT, 1_000, 10).await.expect("fits"), 0);
    assert_eq!(logs.purge_dropped(AccountSid::from_u128(9), 0, 0).await.expect("another"), 0);
    assert_eq!(logs.purge_dropped(ACCOUNT, 799, 10).await.expect("purges"), 3);
    assert_eq!(logs.purge_dropped(ACCOUNT, 799, 5).await.expect("purges"), 2);
    let found = logs.drops(&of_sink(1), &all()).await.expect("lists");
    let kept: Vec<_> = found.iter().filter(|entry| entry.kept).map(|entry| entry.id).collect();
    assert_eq!(found.len(), 10, "the entries stay");
    assert_eq!(kept, [9, 8, 7, 6, 5].map(|index| id(at(index), index)), "the oldest went");

    let page = Page { after: None, limit: 4 };
    let found = logs.kept_drops(&of_sink(1), &page, 250).await.expect("reads");
    assert_eq!(
        found.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        [5, 6].map(|n| id(at(n), n))
    );
    assert_eq!(found[0].event, Some(Bytes::from(vec![b'x'; 100])));
    let page = Page { after: Some(found[1].id), limit: 4 };
    let found = logs.kept_drops(&of_sink(1), &page, 1).await.expect("reads");
    assert_eq!(found.len(), 1, "one at least");

    let excess = PURGE_MAX + 2;
    let drops = (10..).take(usize::try_from(excess).expect("small"));
    let drops = drops.map(|index| dropped(at(index), index, 1)).collect();
    logs.write(&Entries { drops, ..Entries::default() }, now()).await.expect("writes");
    assert_eq!(logs.purge_dropped(ACCOUNT, 0, 0).await.expect("purges"), PURGE_MAX, "in bites");
    assert_eq!(logs.purge_dropped(ACCOUNT, 0, 0).await.expect("purges"), 5 + 2);
}

async fn notes_resent(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let drops = (0..3).map(|index| dropped(now(), index, 1)).collect();
    logs.write(&Entries { drops, ..Entries::default() }, now()).await.expect("writes");
    let ids = [id(now(), 0), id(now(), 2)];
    for _ in 0..2 {
        logs.mark_resent(ACCOUNT, sink(1), &ids, now().plus(DAY)).await.expect("notes");
    }
    logs.mark_resent(ACCOUNT, sink(1), &[], now()).await.expect("nothing");
    let left = LogQuery { resent: Some(false), ..of_sink(1) };
    let left = logs.kept_drops(&left, &all(), 1_000).await.expect("reads");
    assert_eq!(left.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(now(), 1)]);
    let sent = LogQuery { resent: Some(true), ..of_sink(1) };
    let sent = logs.drops(&sent, &all()).await.expect("lists");
    assert!(sent.len() == 2 && sent.iter().all(|entry| entry.resent == Some(now().plus(DAY))));
}
