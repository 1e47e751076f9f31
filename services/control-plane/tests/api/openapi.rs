//! The document at `/openapi.json` is whole, true, and agrees with Twilio's.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::Method;
use serde_json::{Map, Value};

use crate::{
    contract::{OFFICIAL, OURS, is_relative, operation, resolved, valid},
    harness::{read, send, start, start_with},
};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn the_document_is_served_with_the_url_that_callers_know() {
    let it = start_with(|settings| {
        settings.control_plane.public_url = Some("https://events.example/base".to_owned());
    })
    .await;
    let (status, mut document) = read(it.anonymous(Method::GET, "/openapi.json")).await;
    assert_eq!((status.as_u16(), &document["openapi"]), (200, &"3.0.3".into()));
    assert_eq!(document["servers"][0]["url"], "https://events.example/base");
    document.as_object_mut().expect("an object").remove("servers");
    assert_eq!(document, *OURS);
}

#[tokio::test]
async fn the_page_names_every_operation_and_lets_nothing_in() {
    let it = start().await;
    let response = send(it.anonymous(Method::GET, "/docs")).await;
    let header = |name: &str| response.headers()[name].to_str().expect("ASCII").to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = response.text().await.expect("text");
    for (_, _, operation) in operations(&OURS) {
        let id = operation["operationId"].as_str().expect("a name");
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    for foreign in ["<script", "src=", "href=\"http", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn every_route_of_the_sources_is_in_the_document() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut routes = BTreeSet::new();
    for service in ["control-plane", "router", "deliverer"] {
        scan(&services.join(service).join("src"), &mut routes);
    }
    assert!(routes.len() > 20, "the scan finds nothing: {routes:?}");
    let documented: BTreeSet<String> =
        operations(&OURS).map(|(path, method, _)| format!("{method} {}", nameless(path))).collect();
    let missing: Vec<_> = routes.difference(&documented).collect();
    assert!(missing.is_empty(), "add them to `services/control-plane/openapi`: {missing:?}");
}

/// Finds `.route("/path", get(…).post(…))` in the sources, up to the end of the statement or the next route.
fn scan(directory: &Path, routes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            scan(&path, routes);
            continue;
        }
        let source = fs::read_to_string(&path).expect("text");
        for part in source.split(".route(").skip(1) {
            let Some(rest) = part.trim_start().strip_prefix('"') else { continue };
            let (route, rest) = rest.split_once('"').expect("the end of a path");
            let rest = rest.split(';').next().unwrap_or_default();
            let rest = rest.split(".method_not_allowed_fallback").next().unwrap_or_default();
            // A handler that was made before is a `POST`, as events are published.
            let named = METHODS.iter().filter(|method| {
                [format!(" {method}("), format!(".{method}(")]
                    .iter()
                    .any(|call| rest.contains(call))
            });
            let mut methods: Vec<&str> = named.copied().collect();
            if methods.is_empty() {
                methods.push("post");
            }
            routes.extend(methods.iter().map(|method| format!("{method} {}", nameless(route))));
        }
    }
}

/// A path whose variable segments have no names.
fn nameless(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}" } else { segment }.to_owned();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_of_the_document_is_there() {
    let it = start().await;
    for (path, method, _) in operations(&OURS) {
        if path == "/v1/Events" {
            continue; // the router's
        }
        let path = path.replace("{SchemaVersion}", "1").replace(['{', '}'], "");
        let method: Method = method.to_uppercase().parse().expect("a method");
        let response = send(it.request(method.clone(), &path)).await;
        let status = response.status().as_u16();
        let body = response.text().await.expect("text");
        let unknown = body.contains("\"code\":20404") && body.contains("The requested resource");
        assert!(status != 405 && !unknown, "{method} {path}: {status} {body}");
    }
}

#[test]
fn every_operation_of_twilios_is_there_with_the_same_parameters_and_answers() {
    let mut compared = 0;
    for (path, method, theirs) in operations(&OFFICIAL) {
        let asked: Method = method.to_uppercase().parse().expect("a method");
        let ours = operation(&OURS, &asked, path);
        let ours = ours.unwrap_or_else(|| panic!("{method} {path} is missing"));
        let named = OURS["paths"].get(path).is_some();
        assert!(named, "the segments of {path} have other names");
        assert_eq!(ours["operationId"], theirs["operationId"], "{method} {path}");
        assert_eq!(ours["x-millrace"], Value::Null, "{method} {path} is no extension");
        assert_eq!(parameters(&OURS, ours), parameters(&OFFICIAL, theirs), "{method} {path}");
        assert_eq!(body(&OURS, ours), body(&OFFICIAL, theirs), "{method} {path}");
        for (status, response) in theirs["responses"].as_object().expect("answers") {
            let shape = |document: &Value, response: &Value| {
                whole(
                    document,
                    &resolved(document, response)["content"]["application/json"]["schema"],
                )
            };
            let (left, right) =
                (shape(&OURS, &ours["responses"][status]), shape(&OFFICIAL, response));
            assert_eq!(left, right, "{method} {path} {status}");
        }
        let success = |operation: &Value| -> BTreeSet<String> {
            let all = operation["responses"].as_object().expect("answers").keys();
            all.filter(|status| status.starts_with('2')).cloned().collect()
        };
        assert_eq!(success(ours), success(theirs), "{method} {path}");
        compared += 1;
    }
    assert_eq!(compared, 31);
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("a path");
        let methods = methods.iter().filter(|(method, _)| METHODS.contains(&method.as_str()));
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Parameters by place and name, without extensions.
fn parameters(document: &Value, operation: &Value) -> Map<String, Value> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let all = all.map(|parameter| resolved(document, parameter));
    let shared = all.filter(|parameter| parameter["x-millrace"] != true);
    let shared = shared.map(|parameter| {
        let name = format!("{} {}", parameter["in"], parameter["name"]);
        let required = parameter["required"] == true;
        (name, serde_json::json!([required, whole(document, &parameter["schema"])]))
    });
    shared.collect()
}

fn body(document: &Value, operation: &Value) -> Value {
    let content = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"];
    whole(document, &content["schema"])
}

/// A schema with what it refers to in its place, without texts and extensions, in one order. Our types of sink are theirs
/// and more.
fn whole(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    let Value::Object(keywords) = schema else { return Value::Null };
    let mut kept = Map::new();
    for (keyword, value) in keywords {
        let value = match keyword.as_str() {
            "description" | "title" | "x-millrace" => continue,
            "properties" => {
                let properties = value.as_object().expect("properties");
                let shared = properties.iter().filter(|(_, value)| value["x-millrace"] != true);
                let shared = shared.map(|(name, value)| {
                    let mut value = whole(document, value);
                    // Their document calls a URI what is one without a host, which no validator takes for one.
                    if is_relative(name) && value["format"] == "uri" {
                        value.as_object_mut().expect("a schema").remove("format");
                    }
                    (name.clone(), value)
                });
                shared.collect()
            }
            "items" => whole(document, value),
            "required" | "enum" => {
                let words: BTreeSet<_> =
                    value.as_array().expect("words").iter().map(|word| word.as_str()).collect();
                let twilios = ["kinesis", "webhook", "segment", "email"].map(Some);
                match twilios.iter().all(|word| words.contains(word)) {
                    true => twilios.to_vec().into(),
                    false => words.into_iter().collect(),
                }
            }
            _ => value.clone(),
        };
        kept.insert(keyword.clone(), value);
    }
    Value::Object(kept)
}

#[test]
fn what_does_not_fit_a_schema_is_found() {
    let sink = "#/components/schemas/events.v1.sink";
    let account = "#/components/schemas/api.v2010.account";
    for (schema, value, problem) in [
        (sink, r#"{"sid": "DG1"}"#, "/sid"),
        (sink, r#"{"sid": "DF0123456789abcdef0123456789abcdef"}"#, "/sid"),
        (sink, r#"{"status": "happy"}"#, "/status"),
        (sink, r#"{"date_created": "today"}"#, "/date_created"),
        (sink, r#"{"url": "no URL"}"#, "/url"),
        (sink, r#"{"links": []}"#, "/links"),
        (sink, "[]", ": []"),
        (account, r#"{"sid": "SK0123456789abcdef0123456789abcdef"}"#, "/sid"),
        (account, r#"{"status": "Active"}"#, "/status"),
        (account, r#"{"type": "full"}"#, "/type"),
        (account, r#"{"date_created": "2026-01-02T03:04:05Z"}"#, "/date_created"),
        (account, r#"{"date_created": "Mon, 02 Jan 2026 03:04:05 +0000"}"#, "/date_created"),
        (account, r#"{"subresource_uris": {"keys": "https://a.example/"}}"#, "/subresource_uris"),
    ] {
        let schema = serde_json::json!({ "$ref": schema });
        let value = serde_json::from_str(value).expect("JSON");
        for document in [&*OURS, &*OFFICIAL] {
            let found = valid(document, &schema, &value, "").expect_err("does not fit");
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
