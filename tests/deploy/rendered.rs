//! Helm accepts the chart, both majors render the same, and Kubernetes knows every field.

use serde_json::{Value, json};

use crate::{
    chart::{self, Object},
    tools::{directory, helms, script, succeeded},
};

/// The oldest that the chart admits, and the newest that there are schemas for.
const KUBERNETES: [&str; 2] = ["1.30", "1.37"];

#[test]
fn helm_lints_every_set_of_values_without_a_finding() {
    for helm in helms() {
        for set in chart::sets() {
            let file = chart::values(&set);
            let more = ["--strict", "--values", file.to_str().expect("text")];
            let said = succeeded(chart::helm(&helm, &["lint"], &more), &set);
            assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{set}: {said}");
        }
    }
}

#[test]
fn both_majors_of_helm_render_the_same() {
    let [three, four] = helms();
    for set in chart::sets() {
        let (three, four) = (chart::yaml(&three, &set, &[]), chart::yaml(&four, &set, &[]));
        if set == "evaluation" {
            // Its secrets are made anew each time.
            assert_eq!(without_data(chart::objects(&three)), without_data(chart::objects(&four)));
        } else {
            assert_eq!(three, four, "{set}");
        }
    }
}

#[test]
fn kubernetes_knows_every_field_of_every_manifest() {
    let mut all = Vec::new();
    for (set, objects) in chart::all() {
        all.extend(objects.into_iter().map(|object| json!([set, object])));
    }
    let count = all.len();
    let seen = validated(&Value::from(all)).expect("valid");
    assert!(seen > count && count > 100, "{seen} checks of {count} objects");
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let objects = chart::rendered("everything");
    for (kind, pointer) in [
        ("Deployment", "/spec/template/spec"),
        ("HorizontalPodAutoscaler", "/spec"),
        ("HTTPRoute", "/spec/rules/0"),
        ("GRPCRoute", "/spec/rules/0/matches/0/method"),
        ("ServiceMonitor", "/spec/endpoints/0"),
        ("PrometheusRule", "/spec/groups/0/rules/0"),
    ] {
        let mut wrong = (*chart::of_kind(&objects, kind).first().expect(kind)).clone();
        wrong.pointer_mut(pointer).expect(pointer)["invented"] = json!("x");
        let problem = validated(&json!([["wrong", wrong]])).expect_err(kind);
        assert!(problem.contains("invented"), "{kind}: {problem}");
    }
}

/// How many checks were made; or what is wrong.
fn validated(objects: &Value) -> Result<usize, String> {
    let resources = directory().join("resources");
    let arguments = [&[resources.to_str().expect("text")], &KUBERNETES[..]].concat();
    let checked =
        std::panic::catch_unwind(|| script("validate.py", &arguments, &objects.to_string()));
    match checked {
        Ok(seen) => Ok(seen.trim().parse().expect("a number")),
        Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
    }
}

fn without_data(mut objects: Vec<Object>) -> Vec<Object> {
    for object in objects.iter_mut().filter(|object| object["kind"] == "Secret") {
        let data = object["data"].as_object_mut().expect("data");
        data.values_mut().for_each(|value| *value = Value::Null);
    }
    objects
}
