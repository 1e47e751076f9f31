//! Projection: `data` as an older schema version knows it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The properties a schema version knows, as a tree. What it says nothing about is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    known: Option<BTreeMap<String, Projection>>,
}

impl Projection {
    /// Keeps everything: for a version whose fields are not known.
    pub fn keep_all() -> Self {
        Self::default()
    }

    /// Reads the properties of a JSON Schema. An object schema without `properties` keeps everything inside.
    pub fn of_schema(schema: &Value) -> Self {
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .filter(|properties| !properties.is_empty());
        Self {
            known: properties.map(|properties| {
                properties
                    .iter()
                    .map(|(name, inner)| (name.clone(), Self::of_schema(inner)))
                    .collect()
            }),
        }
    }

    /// Tells whether projection changes nothing.
    pub fn is_keep_all(&self) -> bool {
        self.known.is_none()
    }

    /// Writes `data`, the text of a JSON object, without the properties that are not known. The bytes of what stays
    /// are the producer's. A repeated property keeps its last value. `None` where nothing has to go, or where `data`
    /// is no object.
    pub fn apply(&self, data: &str) -> Option<String> {
        let known = self.known.as_ref()?;
        let fields = serde_json::from_str::<Fields<'_>>(data).ok()?.0;
        let mut changed = false;
        let mut out = String::with_capacity(data.len());
        for (name, value) in fields {
            let Some(inner) = known.get(&name) else {
                changed = true;
                continue;
            };
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(&crate::event::quoted(&name));
            out.push(':');
            match inner.apply(value.get()) {
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
