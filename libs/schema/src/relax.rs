//! A tree that does not hold unknown properties against an event.

use serde_json::{Map, Value};

/// The keywords by which a schema closes an object.
const CLOSING: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];
/// The keywords whose schemas decide which others count: there, a closed object tells forms apart.
const DECIDING: [&str; 10] = [
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "dependencies",
    "dependentSchemas",
    "propertyNames",
];

/// Opens every object that an event must be whatever else it is.
pub(crate) fn relaxed(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut open = Map::new();
    for (keyword, value) in fields {
        if CLOSING.contains(&keyword.as_str()) && *value == Value::Bool(false) {
            continue;
        }
        open.insert(keyword.clone(), keyword_relaxed(keyword, value));
    }
    Value::Object(open)
}

fn keyword_relaxed(keyword: &str, value: &Value) -> Value {
    if DECIDING.contains(&keyword) {
        return value.clone();
    }
    match (keyword, value) {
        ("properties" | "patternProperties", Value::Object(schemas)) => schemas
            .iter()
            .map(|(name, schema)| (name.clone(), relaxed(schema)))
            .collect::<Map<_, _>>()
            .into(),
        ("allOf" | "items" | "prefixItems", Value::Array(schemas)) => {
            schemas.iter().map(relaxed).collect::<Vec<_>>().into()
        }
        ("items" | "additionalItems" | "additionalProperties", schema) => relaxed(schema),
        ("unevaluatedProperties" | "unevaluatedItems", schema) => relaxed(schema),
        _ => value.clone(),
    }
}
