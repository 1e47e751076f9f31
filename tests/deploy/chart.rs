//! The chart as Helm renders it, with each of the sets of values in its `ci/`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::tools::{helms, root, script, succeeded};

/// One object.
pub(crate) type Object = Value;

/// Names of the sets of values.
pub(crate) fn sets() -> Vec<String> {
    let files = std::fs::read_dir(path().join("ci")).expect("the chart has sets of values");
    let name = |path: PathBuf| path.file_stem().expect("named").to_string_lossy().into_owned();
    let mut sets: Vec<_> = files.map(|file| name(file.expect("readable").path())).collect();
    sets.sort();
    assert!(sets.len() > 5, "{sets:?}");
    sets
}

/// Where the chart is.
pub(crate) fn path() -> PathBuf {
    root().join("helm/millrace")
}

/// The file of a set of values.
pub(crate) fn values(set: &str) -> PathBuf {
    path().join("ci").join(format!("{set}.yaml"))
}

/// Runs Helm on the chart: `helm VERB [NAME] CHART …`, in the namespace `events`.
pub(crate) fn helm(helm: &Path, verb: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(helm);
    // A home of nobody: neither plugins nor a cluster's configuration of whoever runs this.
    let home = env!("CARGO_TARGET_TMPDIR");
    command.env("HELM_CONFIG_HOME", home).env("HELM_CACHE_HOME", home).env("HELM_DATA_HOME", home);
    command.env("KUBECONFIG", "/dev/null");
    let namespace = ["--namespace", "events"];
    command.args(verb).arg(path()).args(namespace).args(more).output().expect("Helm runs")
}

/// What Helm renders of a set of values.
pub(crate) fn yaml(with: &Path, set: &str, more: &[&str]) -> String {
    let file = values(set);
    let more = [&["--values", file.to_str().expect("text")], more].concat();
    succeeded(helm(with, &["template", "mine"], &more), set)
}

/// The same, as objects.
pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    parsed(&BTreeMap::from([(String::new(), yaml.to_owned())])).remove("").expect("parsed")
}

/// What Helm 4 makes of every set of values, by the set's name.
pub(crate) fn all() -> BTreeMap<String, Vec<Object>> {
    let four = &helms()[1];
    parsed(&sets().into_iter().map(|set| (set.clone(), yaml(four, &set, &[]))).collect())
}

fn parsed(texts: &BTreeMap<String, String>) -> BTreeMap<String, Vec<Object>> {
    let texts = serde_json::to_string(texts).expect("texts");
    serde_json::from_str(&script("documents.py", &[], &texts)).expect("lists of objects")
}

/// What Helm 4 makes of a set of values.
pub(crate) fn rendered(set: &str) -> Vec<Object> {
    rendered_with(set, &[])
}

/// The same with values set besides.
pub(crate) fn rendered_with(set: &str, settings: &[&str]) -> Vec<Object> {
    let more: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    objects(&yaml(&helms()[1], set, &more))
}

/// The objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Object], kind: &str) -> Vec<&'a Object> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The object of this kind and name.
pub(crate) fn named<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
    let mut found = of_kind(objects, kind).into_iter().filter(|it| it["metadata"]["name"] == name);
    found.next().unwrap_or_else(|| panic!("no {kind} `{name}`"))
}

/// `Kind/name`.
pub(crate) fn title(object: &Object) -> String {
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// What runs pods.
pub(crate) fn workloads(objects: &[Object]) -> Vec<&Object> {
    let kinds = ["Deployment", "StatefulSet", "Job"];
    kinds.iter().flat_map(|kind| of_kind(objects, kind)).collect()
}

/// The elements of a list; none where there is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// Whether a selector's labels are all among `labels`.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("labels");
    !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
}
