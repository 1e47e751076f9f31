//! The catalogue of metrics, `docs/metrics.md`, as a table.

use std::collections::BTreeMap;

use crate::tools::root;

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: String,
    /// Each label, and whether its values are found as they come.
    pub(crate) labels: BTreeMap<String, bool>,
    pub(crate) open_telemetry: String,
    /// The services that tell it.
    pub(crate) told_by: Vec<String>,
    pub(crate) meaning: String,
}

/// Every row.
pub(crate) fn catalogue() -> Vec<Row> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the catalogue");
    let rows = page.lines().filter(|line| line.starts_with("| `millrace_"));
    let rows: Vec<Row> = rows.map(row).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<String> =
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let [name, kind, unit, labels, open_telemetry, told_by, meaning] = &cells[..] else {
        panic!("{line}")
    };
    let label = |text: &str| (text.trim_end_matches('…').to_owned(), text.ends_with('…'));
    let told_by = match told_by.as_str() {
        "all" => "control-plane, router, deliverer",
        some => some,
    };
    Row {
        name: name.clone(),
        kind: kind.clone(),
        unit: unit.clone(),
        labels: labels.split(", ").filter(|text| !text.is_empty()).map(label).collect(),
        open_telemetry: open_telemetry.clone(),
        told_by: told_by.split(", ").map(str::to_owned).collect(),
        meaning: meaning.clone(),
    }
}

#[test]
fn the_names_of_opentelemetry_become_those_of_prometheus() {
    for row in catalogue() {
        let unit = match row.unit.as_str() {
            "" => "",
            "s" => "_seconds",
            "By" => "_bytes",
            other => panic!("{}: {other} is no unit of ours", row.name),
        };
        let total = if row.kind == "counter" { "_total" } else { "" };
        let name = format!("{}{unit}{total}", row.open_telemetry.replace('.', "_"));
        assert_eq!(name, row.name);
        assert!(row.meaning.len() > 10, "{}", row.name);
        for label in row.labels.keys() {
            let personal = ["sink", "account", "event", "sid", "id"].contains(&label.as_str());
            assert!(!personal, "{} has a series for each {label}", row.name);
        }
    }
}
