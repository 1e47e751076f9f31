//! A tree that tells what is wrong with an event and copies nothing of it.
//!
//! The validator tells of `anyOf` and `oneOf` what is wrong by each of their schemas, with a copy of the value each time: much memory for a
//! large event and many forms. Of a double `not`, which fits the same values, it tells nothing but that.

use serde_json::{Map, Value, json};

/// Writes `anyOf` and `oneOf` as double `not`s wherever their errors would be told; `None`: there are none. What such a schema has looked at
/// is not known outside of it: so `unevaluatedProperties` and `unevaluatedItems` are left out.
pub(crate) fn telling(tree: &Value) -> Option<Value> {
    let mut found = false;
    let told = rewritten(tree, &mut found);
    found.then_some(told)
}

/// Whether a `not` stands for forms, and whether just one of them may fit.
pub(crate) fn is_form(not: &Value) -> Option<bool> {
    let forms = not.get("not")?.as_object()?;
    Some(forms.contains_key("oneOf"))
}

fn rewritten(schema: &Value, found: &mut bool) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let (mut told, mut forms) = (Map::new(), Vec::new());
    for (keyword, value) in fields {
        match (keyword.as_str(), value) {
            ("anyOf" | "oneOf", _) => {
                *found = true;
                forms.push(json!({"not": {"not": {keyword: value}}}));
                continue;
            }
            ("unevaluatedProperties" | "unevaluatedItems", _) => continue,
            _ => {}
        }
        told.insert(keyword.clone(), keyword_rewritten(keyword, value, found));
    }
    if !forms.is_empty() {
        let all = told.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = all {
            all.append(&mut forms);
        }
    }
    Value::Object(told)
}

fn keyword_rewritten(keyword: &str, value: &Value, found: &mut bool) -> Value {
    match (keyword, value) {
        (
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies",
            Value::Object(schemas),
        ) => {
            let schemas = schemas.iter();
            let schemas = schemas.map(|(name, schema)| (name.clone(), rewritten(schema, found)));
            Value::Object(schemas.collect())
        }
        ("allOf" | "prefixItems" | "items", Value::Array(schemas)) => {
            schemas.iter().map(|schema| rewritten(schema, found)).collect()
        }
        (
            "items"
            | "additionalItems"
            | "additionalProperties"
            | "propertyNames"
            | "then"
            | "else",
            schema,
        ) => rewritten(schema, found),
        // Of these it is only told that they do not fit.
        _ => value.clone(),
    }
}
