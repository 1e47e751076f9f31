//! What real processes tell is what the catalogue says, as Prometheus' own parser reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use millrace_testkit::{
    eventually,
    receiver::{Answer, Receiver},
};
use millrace_tests::{Kind, Mode, Options, Stack, event};
use serde_json::Value;

use crate::{
    catalogue::{Row, catalogue},
    chart::{list, text},
    tools::{root, script},
};

const PROCESSES: [(&str, Kind); 3] = [
    ("control-plane", Kind::ControlPlane),
    ("router", Kind::Router(0)),
    ("deliverer", Kind::Deliverer(0)),
];

/// Metrics by process and name.
type Told = BTreeMap<String, BTreeMap<String, Value>>;

async fn told(stack: &Stack) -> Told {
    let mut texts = BTreeMap::new();
    for (name, kind) in PROCESSES {
        texts.insert(name, stack.process_ref(kind).metrics().await);
    }
    let texts = serde_json::to_string(&texts).expect("texts");
    serde_json::from_str(&script("metrics.py", &[], &texts)).expect("metrics")
}

fn labels(metric: &Value) -> BTreeSet<String> {
    let all = list(&metric["series"]).iter().filter_map(|series| series[1].as_object());
    all.flat_map(|labels| labels.keys().cloned()).filter(|label| label != "le").collect()
}

/// Everything that is told is in the catalogue, of its type and with its labels.
fn is_documented(told: &Told, rows: &BTreeMap<String, Row>) {
    for (process, metrics) in told {
        for (name, metric) in metrics {
            let row = rows.get(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
            assert!(row.told_by.contains(process), "{process} tells {name}");
            assert_eq!(metric["type"], row.kind, "{name}");
            assert!(text(&metric["help"]).len() > 5, "{name} says nothing of itself");
            let known: BTreeSet<_> = row.labels.keys().cloned().collect();
            let series = labels(metric);
            assert!(series.is_subset(&known), "{name}: {series:?}, {known:?}");
            let whole = series == known || row.labels.values().any(|open| *open);
            assert!(whole, "{name}: {series:?}, {known:?}");
        }
    }
}

/// Everything in the catalogue is told, but for series whose labels are found as they come.
fn is_told(told: &Told, rows: &BTreeMap<String, Row>) {
    for row in rows.values().filter(|row| row.labels.values().all(|open| !open)) {
        for process in &row.told_by {
            assert!(told[process].contains_key(&row.name), "{process} does not tell {}", row.name);
        }
    }
}

#[tokio::test]
async fn real_processes_tell_what_the_catalogue_says_and_nothing_else() {
    let rows: BTreeMap<_, _> = catalogue().into_iter().map(|row| (row.name.clone(), row)).collect();
    let stack = Stack::start(Mode::Servers, Options::default()).await;
    let first = told(&stack).await;
    is_documented(&first, &rows);
    is_told(&first, &rows);

    let receiver = Receiver::start().await;
    stack.subscribed(&receiver, "/well").await;
    stack.subscribed(&receiver, "/picky").await;
    stack.subscribed(&receiver, "/down").await;
    receiver.answer("/picky", Answer::status(404));
    receiver.answer("/down", Answer::status(503));
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    stack.publish(names.iter().map(|name| event(name))).await;
    let refused = stack.publisher(0).post(&[("content-type", "text/plain")], "x").await;
    assert_eq!(refused.status, 415);
    let busy = eventually("everything is counted", || async {
        let busy = told(&stack).await;
        let text = stack.process_ref(Kind::Deliverer(0)).metrics().await;
        let counted = |series: &str| {
            let line = text.lines().find(|line| line.starts_with(series))?;
            line.rsplit(' ').next()?.parse::<f64>().ok().filter(|value| *value > 0.0)
        };
        counted("millrace_breakers{state=\"open\"}")
            .or_else(|| counted("millrace_breakers{state=\"half_open\"}"))?;
        counted("millrace_backlog_events")?;
        counted("millrace_dropped_events_total{reason=\"rejected\"}")?;
        counted("millrace_delivery_seconds_count")?;
        counted("millrace_read_seconds_count")?;
        counted("millrace_queue_seconds_count{operation=\"settle\"}")?;
        counted("millrace_attempt_events_sum{sink_type=\"webhook\"}")?;
        let logged = busy["control-plane"].contains_key("millrace_database_seconds");
        logged.then_some(busy)
    })
    .await;
    is_documented(&busy, &rows);
    assert!(
        busy["control-plane"]["millrace_database_seconds"].to_string().contains("create a sink")
    );
    tokio::time::timeout(Duration::from_secs(30), has_the_buckets_that_alerts_ask_for(&stack))
        .await
        .expect("in time");
}

/// A ratio of an objective is of a bucket: without it, the alert would never fire.
async fn has_the_buckets_that_alerts_ask_for(stack: &Stack) {
    let rules = std::fs::read_to_string(root().join("helm/millrace/rules/millrace.yaml"));
    let rules = rules.expect("the rules");
    let mut told = String::new();
    for (_, kind) in PROCESSES {
        told.push_str(&stack.process_ref(kind).metrics().await);
    }
    let mut asked = BTreeSet::new();
    for part in rules.split("_bucket{le=\"").skip(1) {
        asked.insert(part.split('"').next().expect("a bound"));
    }
    assert_eq!(asked, BTreeSet::from(["0.25", "5"]));
    for (metric, bound) in [("millrace_publish_seconds", "0.25"), ("millrace_read_seconds", "5")] {
        assert!(rules.contains(&format!("{metric}_bucket{{le=\"{bound}\"}}")), "{metric}");
        let bucket = told.lines().find(|line| {
            line.starts_with(&format!("{metric}_bucket{{"))
                && line.contains(&format!("le=\"{bound}\""))
        });
        assert!(bucket.is_some(), "{metric} has no bucket of {bound}");
    }
}
