//! `/openapi.json`: the description of every route, assembled from one file for each kind of resource in `openapi/`; and
//! `/docs`: the same as a page.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::docs::{self, STYLE};
use crate::App;

/// The parts; the first has what stands above the paths.
const PARTS: [&str; 9] = [
    include_str!("../../openapi/root.json"),
    include_str!("../../openapi/sinks.json"),
    include_str!("../../openapi/subscriptions.json"),
    include_str!("../../openapi/types.json"),
    include_str!("../../openapi/schemas.json"),
    include_str!("../../openapi/events.json"),
    include_str!("../../openapi/explain.json"),
    include_str!("../../openapi/logs.json"),
    include_str!("../../openapi/accounts.json"),
];

/// Both forms of the description, made once.
pub(crate) struct Documents {
    json: Bytes,
    page: Bytes,
    policy: String,
}

impl Documents {
    /// Describes the routes of a server that callers know by `public_url`.
    pub(crate) fn new(public_url: Option<&str>) -> Self {
        let mut document = assembled();
        document["servers"] = json!([{ "url": public_url.unwrap_or("/") }]);
        let policy = format!(
            "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            docs::hash(STYLE)
        );
        let page = docs::page(&document).into();
        Self { json: document.to_string().into(), page, policy }
    }
}

/// The document as JSON.
pub(super) async fn json(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.documents.json.clone()).into_response()
}

/// The document as a page: no script, no picture, nothing from elsewhere.
pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    let Documents { page, policy, .. } = &app.documents;
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page.clone()).into_response()
}

/// Puts the parts together: paths beside paths, components beside their like.
fn assembled() -> Value {
    let mut parts = PARTS.iter().map(|part| {
        serde_json::from_str::<Map<String, Value>>(part).expect("a part is a JSON object")
    });
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        merge(&mut whole, part, 2);
    }
    Value::Object(whole)
}

/// Adds what `part` has, `depth` levels of objects deep; what is there already stays.
fn merge(whole: &mut Map<String, Value>, part: Map<String, Value>, depth: usize) {
    for (key, value) in part {
        match (whole.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) if depth > 0 => {
                merge(there, more, depth - 1);
            }
            (Some(_), _) => {}
            (None, value) => drop(whole.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_part_says_again_what_another_says() {
        let mut said = HashSet::new();
        for part in PARTS {
            let part: Value = serde_json::from_str(part).expect("JSON");
            for place in ["/paths", "/components/schemas", "/components/parameters"] {
                let names = part.pointer(place).and_then(Value::as_object);
                for name in names.into_iter().flat_map(Map::keys) {
                    assert!(said.insert(format!("{place}/{name}")), "twice: {place}/{name}");
                }
            }
        }
        assert!(said.len() > 40, "{}", said.len());
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
        let document = assembled();
        let mut references = Vec::new();
        find(&document, "$ref", &mut references);
        for reference in references {
            let pointer = reference.strip_prefix('#').expect("of this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut names = Vec::new();
        find(&document, "operationId", &mut names);
        let count = names.len();
        assert!(count > 25, "{count}");
        assert_eq!(names.into_iter().collect::<HashSet<_>>().len(), count);
    }

    fn find(value: &Value, wanted: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == wanted => found.push(text.clone()),
                        value => find(value, wanted, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| find(item, wanted, found)),
            _ => {}
        }
    }
}
