//! Counts what arrived against what had to, and says so.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    expect::{Plan, Recorded},
    problems::Problems,
    receiver::Inbox,
};
use crate::client::output;

/// Most ids that are named.
const IDS_NAMED: usize = 50;

/// A line of the table, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    published: usize,
    matched: usize,
    delivered: usize,
    requests: u32,
    retried: u32,
    duplicates: usize,
    p50: Duration,
    p99: Duration,
    missing: Vec<String>,
    faults: Vec<String>,
}

impl Row {
    /// Counts what arrived at one sink; `published` says when each event was sent.
    pub(super) fn count(
        plan: &Plan,
        problems: &Problems<'_>,
        published: &HashMap<String, Instant>,
        inbox: &Inbox,
    ) -> Self {
        let expected = plan.expected(problems.recorded);
        let known: HashMap<&str, &Recorded> =
            problems.recorded.iter().map(|e| (e.id.as_str(), e)).collect();
        let (mut latencies, mut faults, mut told) = (Vec::new(), inbox.faults.clone(), 0);
        for (id, receipt) in &inbox.receipts {
            let Some(recorded) = known.get(id.as_str()) else {
                told += u32::from(problems.is_ours(&receipt.event));
                faults.extend(problems.fault(plan.types, &receipt.event));
                continue;
            };
            faults.extend(plan.fault(&receipt.event, recorded));
            if !expected.contains(id) {
                faults.push(format!("`{id}` arrived, of a type that was not subscribed to"));
            }
            if let Some(sent) = published.get(id) {
                latencies.push(receipt.first.saturating_duration_since(*sent));
            }
        }
        // Ten refusals would be told of once more.
        if told > 1 {
            faults.push(format!("the same problem was told of {told} times"));
        }
        latencies.sort();
        let mut missing: Vec<String> =
            expected.iter().filter(|id| !inbox.receipts.contains_key(*id)).cloned().collect();
        missing.sort();
        Self {
            name: plan.name,
            published: published.len(),
            matched: expected.len(),
            delivered: expected.len() - missing.len(),
            requests: inbox.requests,
            retried: inbox.refused,
            duplicates: inbox.receipts.values().map(|receipt| receipt.times - 1).sum(),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            missing,
            faults,
        }
    }
}

/// The table for people.
pub(super) fn table(rows: &[Row]) -> String {
    let headings = [
        "Sink",
        "Published",
        "Matched",
        "Delivered",
        "Requests",
        "Retried",
        "Duplicates",
        "p50",
        "p99",
    ];
    let rows = rows.iter().map(|row| {
        vec![
            row.name.to_owned(),
            row.published.to_string(),
            row.matched.to_string(),
            row.delivered.to_string(),
            row.requests.to_string(),
            row.retried.to_string(),
            row.duplicates.to_string(),
            millis(row.p50),
            millis(row.p99),
        ]
    });
    output::ruled(&headings, rows.collect(), 1)
}

/// Ends well, or with everything that is wrong.
///
/// # Errors
/// Missing events, wrong signatures, wrong data: each named.
pub(super) fn verdict(rows: &[Row]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for row in rows {
        if !row.missing.is_empty() {
            let named: Vec<_> = row.missing.iter().take(IDS_NAMED).map(String::as_str).collect();
            let more = row.missing.len() - named.len();
            let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
            let (count, name) = (row.missing.len(), row.name);
            wrong.push(format!(
                "{count} events never reached `{name}`:\n  {}{more}",
                named.join("\n  ")
            ));
        }
        if let Some(first) = row.faults.first() {
            wrong.push(format!(
                "`{}` got {} wrong; the first: {first}",
                row.name,
                row.faults.len()
            ));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    output::line(
        "every event arrived, every signature is right, pinned events have their older version",
    )
}

/// The nearest-rank percentile of what is sorted; zero of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(latency: Duration) -> String {
    format!("{:.1} ms", latency.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::demo::{expect::PLANS, receiver::Receipt};

    fn inbox(ids: &[(&str, usize)], sent: Instant) -> Inbox {
        let receipts = ids.iter().map(|(id, times)| {
            let event = json!({"id": id, "data": {"n": 1}});
            let first = sent + Duration::from_millis(20);
            ((*id).to_owned(), Receipt { first, times: *times, event })
        });
        Inbox { receipts: receipts.collect(), refused: 3, requests: 9, ..Inbox::default() }
    }

    fn row(arrived: &[(&str, usize)]) -> Row {
        let event = |id: &str| json!({"id": id, "type": "com.twilio.error-logs.error.logged", "data": {"n": 1}});
        let recorded = serde_json::from_value(json!([event("a"), event("b")])).expect("events");
        let recorded: Vec<Recorded> = recorded;
        let sent = Instant::now();
        let published = recorded.iter().map(|e| (e.id.clone(), sent)).collect();
        let problems = Problems { account_sid: "AC1", sinks: Vec::new(), recorded: &recorded };
        Row::count(&PLANS[1], &problems, &published, &inbox(arrived, sent))
    }

    #[test]
    fn counts_by_id() {
        let row = row(&[("a", 1), ("b", 3)]);
        assert_eq!((row.published, row.matched, row.delivered), (2, 2, 2));
        assert_eq!((row.retried, row.duplicates, row.p99), (3, 2, Duration::from_millis(20)));
        let table = table(std::slice::from_ref(&row));
        assert!(table.contains("flaky") && table.contains("20.0 ms"), "{table}");
        assert!(verdict(&[row]).is_ok());
    }

    #[test]
    fn a_missing_event_and_one_too_many_are_named() {
        let missing = verdict(&[row(&[("a", 1)])]).expect_err("one is missing").to_string();
        assert!(missing.contains("1 events never reached `flaky`:\n  b"), "{missing}");
        assert!(verdict(&[row(&[("a", 1), ("b", 1), ("c", 1)])]).is_err());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(198));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
