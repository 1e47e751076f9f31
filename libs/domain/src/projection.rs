//! Projection: `data` as an older schema version knows it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The properties a schema version knows, as a tree. What it says nothing about is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    known: Option<BTreeMap<String, Projection>>,
    /// Whether properties that are not named are described too, and so kept.
    open: bool,
    /// What is known of each element of an array.
    items: Option<Box<Projection>>,
}

impl Projection {
    /// Keeps everything: for a version whose fields are not known.
    pub fn keep_all() -> Self {
        Self::default()
    }

    /// Reads `properties`, `items` and whether there is a schema of additional properties off a JSON Schema. An object schema
    /// without `properties` keeps everything inside.
    pub fn of_schema(schema: &Value) -> Self {
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .filter(|properties| !properties.is_empty());
        let items = schema.get("items").filter(|items| items.is_object()).map(Self::of_schema);
        Self {
            known: properties.map(|properties| {
                properties
                    .iter()
                    .map(|(name, inner)| (name.clone(), Self::of_schema(inner)))
                    .collect()
            }),
            open: schema.get("additionalProperties").is_some_and(Value::is_object),
            items: items.filter(|items| !items.is_keep_all()).map(Box::new),
        }
    }

    /// Tells whether projection changes nothing.
    pub fn is_keep_all(&self) -> bool {
        self.known.is_none() && self.items.is_none()
    }

    /// Writes `data`, the text of a JSON object, without the properties that are not known. The bytes of what stays
    /// are the producer's. A repeated property keeps its last value. `None` where nothing has to go, or where `data`
    /// is neither an object nor an array that something is known of.
    pub fn apply(&self, data: &str) -> Option<String> {
        match (&self.known, &self.items) {
            (Some(known), _) if data.starts_with('{') => self.apply_to_object(known, data),
            (_, Some(items)) if data.starts_with('[') => items.apply_to_each(data),
            _ => None,
        }
    }

    fn apply_to_object(&self, known: &BTreeMap<String, Projection>, data: &str) -> Option<String> {
        let fields = serde_json::from_str::<Fields<'_>>(data).ok()?.0;
        let mut changed = false;
        let mut out = String::with_capacity(data.len());
        for (name, value) in fields {
            let inner = known.get(&name);
            if inner.is_none() && !self.open {
                changed = true;
                continue;
            }
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(&crate::event::quoted(&name));
            out.push(':');
            match inner.and_then(|inner| inner.apply(value.get())) {
                Some(projected) => {
                    changed = true;
                    out.push_str(&projected);
                }
                None => out.push_str(value.get()),
            }
        }
        out.push_str(if out.is_empty() { "{}" } else { "}" });
        changed.then_some(out)
    }

    fn apply_to_each(&self, data: &str) -> Option<String> {
        let elements = serde_json::from_str::<Vec<&RawValue>>(data).ok()?;
        let projected: Vec<_> = elements.iter().map(|element| self.apply(element.get())).collect();
        if projected.iter().all(Option::is_none) {
            return None;
        }
        let texts: Vec<&str> = projected
            .iter()
            .zip(&elements)
            .map(|(projected, element)| projected.as_deref().unwrap_or_else(|| element.get()))
            .collect();
        Some(format!("[{}]", texts.join(",")))
    }

    /// Takes the properties that are not known out of a parsed value; tells whether there were any.
    pub fn prune(&self, value: &mut Value) -> bool {
        let mut pruned = false;
        match (value, &self.known, &self.items) {
            (Value::Object(fields), Some(known), _) => {
                let before = fields.len();
                if !self.open {
                    fields.retain(|name, _| known.contains_key(name));
                }
                pruned = fields.len() < before;
                for (name, value) in fields.iter_mut() {
                    pruned |= known.get(name).is_some_and(|inner| inner.prune(value));
                }
            }
            (Value::Array(elements), _, Some(items)) => {
                for element in elements {
                    pruned |= items.prune(element);
                }
            }
            _ => {}
        }
        pruned
    }
}

/// The fields of an object, values untouched.
#[derive(Deserialize)]
struct Fields<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn projection() -> Projection {
        Projection::of_schema(
            &json!({"properties": {"a": {"type": "string"}, "o": {"properties": {"x": {}}}, "open": {"type": "object"}}}),
        )
    }

    #[test]
    fn drops_what_is_newer_at_every_depth() {
        let data = r#"{"a":1.0,"new":2,"o":{"x":1,"y":2},"open":{"any":[1,2]}}"#;
        assert_eq!(
            projection().apply(data).as_deref(),
            Some(r#"{"a":1.0,"o":{"x":1},"open":{"any":[1,2]}}"#)
        );
        assert_eq!(projection().apply(r#"{"new":1}"#).as_deref(), Some("{}"));
    }

    #[test]
    fn looks_into_arrays_and_keeps_what_is_described_without_a_name() {
        let schema = json!({"properties": {
            "lines": {"items": {"properties": {"sku": {}}}},
            "tags": {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
            "closed": {"properties": {"a": {}}, "additionalProperties": false},
        }});
        let projection = Projection::of_schema(&schema);
        let data = r#"{"closed":{"a":1,"b":2},"lines":[{"sku":1.0,"new":2},7,{"sku":3}],"tags":{"a":1,"b":2}}"#;
        let projected =
            r#"{"closed":{"a":1},"lines":[{"sku":1.0},7,{"sku":3}],"tags":{"a":1,"b":2}}"#;
        assert_eq!(projection.apply(data).as_deref(), Some(projected));
        assert_eq!(projection.apply(projected), None);
        let mut value: Value = serde_json::from_str(data).expect("JSON");
        assert!(projection.prune(&mut value));
        assert_eq!(value, serde_json::from_str::<Value>(projected).expect("JSON"));
        assert!(!projection.prune(&mut value));
    }

    #[test]
    fn keeps_what_is_known_or_unknowable() {
        assert_eq!(projection().apply(r#"{"a":1,"o":{"x":1}}"#), None);
        assert_eq!(projection().apply(r#"{"o":7}"#), None);
        assert_eq!(Projection::keep_all().apply(r#"{"new":1}"#), None);
    }

    proptest! {
        #[test]
        fn keeps_every_pinned_field_and_only_those(values in proptest::collection::btree_map("[a-f]", any::<i64>(), 0..6), pinned in proptest::collection::btree_set("[a-f]", 1..6)) {
            let schema = json!({"properties": pinned.iter().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>()});
            let data = serde_json::to_string(&values).expect("JSON");
            let projected = Projection::of_schema(&schema).apply(&data).unwrap_or(data);
            let kept: BTreeMap<String, i64> = serde_json::from_str(&projected).expect("JSON");
            let expected: BTreeMap<String, i64> = values.into_iter().filter(|(name, _)| pinned.contains(name)).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
