//! What a document knows of `data`: the properties that it names anywhere, as a slim schema that projection reads.

use serde_json::{Map, Value, json};

/// The keywords whose schemas are about the same value.
const ABOUT_THE_SAME: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Writes the outline of an expanded tree: `properties`, `items`, and `additionalProperties: {}` where others are described too.
pub(crate) fn outline(schema: &Value) -> Value {
    let mut known = Known::default();
    known.read(schema);
    known.write()
}

/// What is known of a value.
#[derive(Default)]
struct Known<'s> {
    properties: Map<String, Value>,
    inner: Vec<(&'s str, &'s Value)>,
    required: Vec<&'s str>,
    items: Option<&'s Value>,
    /// Whether other properties are described too.
    open: bool,
    /// Whether elements of arrays are described otherwise than by one schema.
    mixed: bool,
}

impl<'s> Known<'s> {
    fn read(&mut self, schema: &'s Value) {
        let Value::Object(fields) = schema else { return };
        if let Some(Value::Object(properties)) = fields.get("properties") {
            self.inner.extend(properties.iter().map(|(name, inner)| (name.as_str(), inner)));
        }
        let names = fields.get("required").and_then(Value::as_array);
        self.required.extend(names.into_iter().flatten().filter_map(Value::as_str));
        let described = |keyword: &str| fields.get(keyword).is_some_and(Value::is_object);
        let matched = fields.get("patternProperties").and_then(Value::as_object);
        self.open |= matched.is_some_and(|patterns| !patterns.is_empty())
            || (described("additionalProperties") && fields["additionalProperties"] != json!({}))
            || (described("unevaluatedProperties") && fields["unevaluatedProperties"] != json!({}));
        self.elements(fields);
        for keyword in ABOUT_THE_SAME {
            let schemas = fields.get(keyword).and_then(Value::as_array);
            schemas.into_iter().flatten().for_each(|schema| self.read(schema));
        }
        for keyword in ["if", "then", "else"] {
            if let Some(schema) = fields.get(keyword) {
                self.read(schema);
            }
        }
        for keyword in ["dependentSchemas", "dependencies"] {
            let schemas = fields.get(keyword).and_then(Value::as_object);
            schemas.into_iter().flatten().for_each(|(_, schema)| self.read(schema));
        }
    }

    fn elements(&mut self, fields: &'s Map<String, Value>) {
        let tuple = fields.contains_key("prefixItems")
            || fields.contains_key("contains")
            || fields.get("items").is_some_and(Value::is_array);
        match fields.get("items").filter(|items| items.is_object()) {
            Some(_) if self.items.is_some() => self.mixed = true,
            Some(items) => self.items = Some(items),
            None => {}
        }
        self.mixed |= tuple;
    }

    fn write(mut self) -> Value {
        let mut written = Map::new();
        for (name, inner) in std::mem::take(&mut self.inner) {
            let inner = outline(inner);
            match self.properties.get_mut(name) {
                Some(before) => join(before, inner),
                None => drop(self.properties.insert(name.to_owned(), inner)),
            }
        }
        if !self.properties.is_empty() {
            for name in self.required {
                self.properties.entry(name).or_insert_with(|| json!({}));
            }
            written.insert("properties".to_owned(), Value::Object(self.properties));
        }
        if self.open {
            written.insert("additionalProperties".to_owned(), json!({}));
        }
        if let (false, Some(items)) = (self.mixed, self.items) {
            let inner = outline(items);
            if inner != json!({}) {
                written.insert("items".to_owned(), inner);
            }
        }
        Value::Object(written)
    }
}

/// Joins two outlines of one property: what either knows is known.
fn join(one: &mut Value, other: Value) {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return };
    for (keyword, value) in other {
        match (keyword.as_str(), one.get_mut(&keyword)) {
            ("properties", Some(Value::Object(known))) => {
                let Value::Object(more) = value else { continue };
                for (name, inner) in more {
                    match known.get_mut(&name) {
                        Some(before) => join(before, inner),
                        None => drop(known.insert(name, inner)),
                    }
                }
            }
            ("items", Some(known)) => join(known, value),
            (_, Some(_)) => {}
            (_, None) => drop(one.insert(keyword, value)),
        }
    }
}
