//! Alerts and dashboards ask for metrics that there are, in PromQL that parses.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    catalogue::catalogue,
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

/// The metrics of the catalogue.
fn metrics() -> BTreeSet<String> {
    catalogue().into_iter().map(|row| row.name).collect()
}

/// The rules as they are.
fn rules() -> String {
    std::fs::read_to_string(root().join("helm/millrace/rules/millrace.yaml")).expect("text")
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
fn what_is_asked_of_a_recording_is_recorded() {
    let all = expressions();
    let recorded: BTreeSet<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    let mut asked = 0;
    for (what, expression) in &all {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for word in words.filter(|word| word.starts_with("millrace:")) {
            assert!(recorded.contains(word), "{what} asks for `{word}`");
            asked += 1;
        }
    }
    assert!(asked >= 24, "four windows for each of two alerts on three objectives: {asked}");
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let objects = chart::rendered("everything");
    let groups = &of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"];
    let rules = list(groups).iter().flat_map(|group| list(&group["rules"]));
    let mut alerts = BTreeSet::new();
    for rule in rules.filter(|rule| rule.get("alert").is_some()) {
        let name = text(&rule["alert"]);
        assert_eq!(rule["annotations"]["runbook_url"], format!("docs/runbooks/{name}.md"));
        alerts.insert(name.to_owned());
    }
    let files = std::fs::read_dir(root().join("docs/runbooks")).expect("runbooks");
    let name = |path: std::path::PathBuf| path.file_stem().map(|it| it.display().to_string());
    let runbooks: BTreeSet<_> =
        files.filter_map(|file| name(file.expect("a file").path())).collect();
    assert_eq!(alerts, runbooks);
    for runbook in runbooks {
        let path = root().join(format!("docs/runbooks/{runbook}.md"));
        let said = std::fs::read_to_string(path).expect("text");
        for part in ["What it means", "What users see", "How to look", "What to do"] {
            let (_, after) = said.split_once(&format!("## {part}\n\n")).expect(part);
            assert!(after.len() > 20 && !after.starts_with('#'), "{runbook}: {part}");
        }
        let known = metrics();
        let words = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("millrace_")) {
            let base = word.strip_suffix("_bucket").or_else(|| word.strip_suffix("_count"));
            assert!(known.contains(base.unwrap_or(word)), "{runbook} names `{word}`");
        }
    }
}

#[test]
fn alerts_link_to_where_the_operator_has_the_runbooks() {
    let wiki = "https://wiki.example.com/runbooks";
    let setting = format!("metrics.prometheusRule.runbookUrl={wiki}");
    let objects = chart::rendered_with("everything", &[&setting]);
    let rendered = of_kind(&objects, "PrometheusRule")[0].to_string();
    let alerts = rules().matches("- alert:").count();
    assert_eq!(rendered.matches(&format!("{wiki}/Millrace")).count(), alerts);
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
