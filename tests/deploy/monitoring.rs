//! Alerts and dashboards ask for metrics that there are, in PromQL that parses.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    chart::{self, list, named, of_kind, text},
    tools::{root, script},
};

/// Every expression of the alerts and dashboards that the chart renders, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let objects = chart::rendered("everything");
    let mut all = Vec::new();
    for group in list(&of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"]) {
        for rule in list(&group["rules"]) {
            let name = rule["alert"].as_str().or_else(|| rule["record"].as_str());
            all.push((name.expect("a name").to_owned(), text(&rule["expr"]).to_owned()));
        }
    }
    let dashboards = &named(&objects, "ConfigMap", "mine-millrace-dashboards")["data"];
    for (file, json) in dashboards.as_object().expect("files") {
        let dashboard: Value = serde_json::from_str(text(json)).expect("JSON");
        for panel in list(&dashboard["panels"]) {
            let what = format!("{file}: {}", text(&panel["title"]));
            let targets = list(&panel["targets"]).iter();
            all.extend(targets.map(|target| (what.clone(), text(&target["expr"]).to_owned())));
        }
    }
    assert!(all.len() > 20, "{}", all.len());
    all
}

/// Names in the sources that are metrics'.
fn metrics() -> BTreeSet<String> {
    let mut sources = String::new();
    for directory in ["libs", "services"] {
        read(&root().join(directory), &mut sources);
    }
    let quoted = sources.split('"').filter(|text| text.starts_with("millrace_"));
    quoted.map(str::to_owned).collect()
}

fn read(directory: &Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&std::fs::read_to_string(path).expect("text"));
        }
    }
}

#[test]
fn alerts_and_dashboards_ask_for_metrics_that_there_are() {
    let known = metrics();
    for (what, expression) in expressions() {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("millrace_")) {
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end));
            let is_known = known.contains(metric) || base.is_some_and(|base| known.contains(base));
            assert!(is_known, "{what} asks for `{metric}`");
        }
    }
}

#[test]
fn the_autoscaler_asks_for_a_metric_that_there_is() {
    let objects = chart::rendered("everything");
    let scaler = named(&objects, "HorizontalPodAutoscaler", "mine-millrace-deliverer");
    let metric = text(&list(&scaler["spec"]["metrics"])[1]["pods"]["metric"]["name"]);
    assert!(metrics().contains(metric), "{metric}");
}

#[test]
fn every_expression_parses() {
    let all = Value::from_iter(expressions().into_iter().map(|(what, it)| vec![what, it]));
    let parsed = script("promql.py", &[], &all.to_string());
    assert_eq!(parsed.trim().parse::<usize>().expect("a number"), list(&all).len());
}
