//! What a container starts with, as the kubelet makes it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::chart::{Object, list, named, of_kind, text};

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// A container, its arguments and its variables.
pub(crate) struct Started {
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Variables,
    pub(crate) container: Value,
}

/// What the workload of this kind whose name ends so starts.
pub(crate) fn started(objects: &[Object], kind: &str, component: &str) -> Started {
    let mut of_it = of_kind(objects, kind);
    of_it.retain(|it| it["metadata"]["labels"]["app.kubernetes.io/component"] == component);
    let workload = of_it.first().unwrap_or_else(|| panic!("no {kind} of {component}"));
    let container = list(&workload["spec"]["template"]["spec"]["containers"])[0].clone();
    let mut variables = Variables::new();
    for source in list(&container["envFrom"]) {
        let map = named(objects, "ConfigMap", text(&source["configMapRef"]["name"]));
        let data = map["data"].as_object().expect("data");
        variables.extend(data.iter().map(|(name, value)| (name.clone(), text(value).to_owned())));
    }
    for variable in list(&container["env"]) {
        let name = text(&variable["name"]);
        let value = match variable["value"].as_str() {
            Some(value) => expanded(value, &variables),
            None => of_source(objects, name, &variable["valueFrom"]),
        };
        variables.insert(name.to_owned(), value);
    }
    let arguments = list(&container["args"]).iter();
    let arguments = arguments.map(|argument| expanded(text(argument), &variables)).collect();
    Started { arguments, variables, container }
}

/// `$(NAME)` is the value of a variable that stands before
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>).
fn expanded(value: &str, before: &Variables) -> String {
    let expand = |text: String, (name, value): (&String, &String)| {
        text.replace(&format!("$({name})"), value)
    };
    before.iter().fold(value.to_owned(), expand)
}

fn of_source(objects: &[Object], variable: &str, source: &Value) -> String {
    if source.get("fieldRef").is_some() {
        return "10.9.8.7".to_owned();
    }
    let reference = &source["secretKeyRef"];
    let (name, key) = (text(&reference["name"]), text(&reference["key"]));
    let ours = of_kind(objects, "Secret").into_iter().find(|it| it["metadata"]["name"] == name);
    let Some(secret) = ours else { return of_user(variable).to_owned() };
    let value = secret["data"][key].as_str().unwrap_or_else(|| panic!("`{name}` has no `{key}`"));
    String::from_utf8(BASE64_STANDARD.decode(value).expect("Base64")).expect("text")
}

/// What the user's own Secret holds.
fn of_user(variable: &str) -> &'static str {
    match variable {
        "DATABASE_PASSWORD" => "of-the-database",
        "REDIS_PASSWORD" => "of-redis",
        "MILLRACE__QUEUE__SENTINEL_PASSWORD" => "of-the-sentinels",
        "MILLRACE__DATABASE__URL" => "postgres://app:whole@postgres.example.com/app",
        "MILLRACE__QUEUE__URL" => "rediss://:whole@redis.example.com:6379",
        "MILLRACE__TELEMETRY__OTLP__HEADERS" => "api-key=of-the-collector",
        "MILLRACE__INTERNAL__TOKEN" => "0123456789abcdefghijklmnop",
        "MILLRACE__SEAL__KEYS" => "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "MILLRACE__CONTROL_PLANE__PLATFORM_KEYS" => {
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        }
        other => panic!("`{other}` is read from a Secret that nobody was told of"),
    }
}
