//! What is known beside the entries: which problems were told of, which sinks fail, and of which times reports are missing.

use std::time::Duration;

use futures::future::join_all;

use super::{ACCOUNT, DAY, LogBackend, now, opened, sink};
use crate::logs::{ErrorCount, FailingSink, ReportFate, ReportPeriod};

pub(super) async fn tells_once(backend: &dyn LogBackend) {
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(backend.open().await);
    }
    let count = |sinks: &[u128], more| {
        let of =
            |number: &u128| ErrorCount { account: ACCOUNT, sink: sink(*number), code: 91306, more };
        sinks.iter().map(of).collect::<Vec<_>>()
    };
    // In both orders, so that who takes turns badly would wait for each other for ever.
    let (there, back) = (count(&[1, 2, 3], 1), count(&[3, 2, 1], 1));
    let calls =
        (0..20).map(|n| stores[n % 4].count_errors(if n % 2 == 0 { &there } else { &back }, now()));
    let mut told = Vec::new();
    for notices in join_all(calls).await {
        told.extend(notices.expect("counts").into_iter().map(|n| (n.sink, n.group.count)));
    }
    told.sort();
    let expected: Vec<_> =
        [1, 2, 3].into_iter().flat_map(|n| [(sink(n), 1), (sink(n), 10)]).collect();
    assert_eq!(told, expected);

    let minutes = |n: u64| now().plus(Duration::from_secs(60 * n));
    assert_eq!(stores[0].due_errors(minutes(19)).await.expect("looks"), []);
    let due = stores[0].due_errors(minutes(20)).await.expect("looks");
    assert_eq!(due.iter().map(|notice| notice.group.count).collect::<Vec<_>>(), [20, 20, 20]);
    assert_eq!(stores[1].due_errors(minutes(21)).await.expect("looks"), []);
    assert_eq!(stores[1].due_errors(minutes(200)).await.expect("forgets"), []);
    let again = stores[0].count_errors(&count(&[1], 3), minutes(200)).await.expect("counts");
    assert_eq!(again[0].group.count, 3, "after a quiet time it is a first one");
}

pub(super) async fn knows_failing(backend: &dyn LogBackend) {
    let logs = opened(backend).await;
    let fails = |number, seconds| FailingSink {
        sink: sink(number),
        account: ACCOUNT,
        since: now().plus(Duration::from_secs(seconds)),
    };
    for failing in [fails(1, 5), fails(1, 5), fails(2, 3), fails(2, 1)] {
        logs.sink_fails(failing).await.expect("notes");
    }
    assert_eq!(logs.failing_sinks().await.expect("lists"), [fails(2, 3), fails(1, 5)]);
    logs.sink_fails(fails(2, 9)).await.expect("begins anew");
    logs.sink_answers(&[sink(1), sink(7)]).await.expect("notes");
    logs.sink_answers(&[]).await.expect("nothing");
    assert_eq!(logs.failing_sinks().await.expect("lists"), [fails(2, 9)]);
}

pub(super) async fn knows_periods(backend: &dyn LogBackend) {
    let (logs, other) = (opened(backend).await, backend.open().await);
    let minutes = |n: u64| now().plus(Duration::from_secs(60 * n));
    let period = |fate, source: &str, (since, until): (u64, u64), reports| ReportPeriod {
        fate,
        source: source.to_owned(),
        since: minutes(since),
        until: minutes(until),
        reports,
    };
    let all = |until| period(ReportFate::AllReported, "", (0, until), 0);
    let own = ACCOUNT.to_string();
    let none = period(ReportFate::NoneReported, &own, (1, 2), 0);
    let others = period(ReportFate::NoneReported, "AC1", (1, 20), 0);
    let trimmed = |until, reports| period(ReportFate::Trimmed, "d", (2, until), reports);
    let first = [all(5), none.clone(), others, trimmed(3, 7)];
    logs.note_report_periods(&first, minutes(5)).await.expect("notes");
    for late in [vec![all(9), trimmed(4, 9)], vec![all(7), trimmed(3, 7)], Vec::new()] {
        other.note_report_periods(&late, minutes(9)).await.expect("notes");
    }
    let between = async |since, until| {
        logs.report_periods(ACCOUNT, (minutes(since), minutes(until))).await.expect("reads")
    };
    let found = between(2, 9).await;
    let expected = [all(9), none.clone(), trimmed(4, 9)];
    assert_eq!(
        found, expected,
        "a period grows and does not shrink; another account's is not told"
    );
    assert_eq!(between(5, 9).await, [all(9)], "what was over then is not told");
    assert_eq!(between(0, 1).await, [all(9), none], "what began later is not told");
    assert_eq!(between(10, 20).await, []);
    let later = minutes(6).plus(DAY * 30);
    logs.note_report_periods(&[], later).await.expect("forgets");
    assert_eq!(between(0, 9).await, [all(9)]);
}
