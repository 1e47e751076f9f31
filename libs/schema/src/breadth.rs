//! How much one value of an event may be held against. An event has a bounded number of values, each of which meets the schemas of its place;
//! so this bounds what a check costs, whatever the event.

use std::collections::BTreeMap;

use serde_json::Value;

/// So many values of a list, or names of properties, cost as much as one schema.
const LISTED: usize = 8;

/// The most schemas that a value may meet, as an expanded tree says; at least that.
pub(crate) fn breadth(tree: &Value) -> usize {
    of_place(vec![tree])
}

/// Of the value that is held against all of `schemas`, and of those in it.
fn of_place<'s>(schemas: Vec<&'s Value>) -> usize {
    let mut place = Place { same: schemas, ..Place::default() };
    let mut next = 0;
    while let Some(schema) = place.same.get(next).copied() {
        next += 1;
        place.cost += 1;
        let fields = schema.as_object().into_iter().flatten();
        fields.for_each(|(keyword, value)| place.read(keyword, value));
    }
    let widest = |places: Vec<Vec<&'s Value>>| places.into_iter().map(of_place).max().unwrap_or(0);
    let of = |schemas: Vec<&'s Value>| if schemas.is_empty() { 0 } else { of_place(schemas) };
    let properties = widest(place.named.into_values().collect()) + of(place.others);
    let elements = widest(place.numbered) + of(place.elements);
    place.cost.max(properties).max(elements)
}

/// The schemas of a value, and of those in it.
#[derive(Default)]
struct Place<'s> {
    same: Vec<&'s Value>,
    cost: usize,
    /// Of properties by name, and of any property.
    named: BTreeMap<&'s str, Vec<&'s Value>>,
    others: Vec<&'s Value>,
    /// Of elements by number, and of any element.
    numbered: Vec<Vec<&'s Value>>,
    elements: Vec<&'s Value>,
}

impl<'s> Place<'s> {
    fn read(&mut self, keyword: &str, value: &'s Value) {
        match (keyword, value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => self.same.extend(schemas),
            ("not" | "if" | "then" | "else", schema) => self.same.push(schema),
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                self.cost += schemas.len() / LISTED;
                self.same.extend(schemas.values());
            }
            ("enum" | "required", Value::Array(listed)) => self.cost += listed.len() / LISTED,
            ("properties", Value::Object(schemas)) => {
                self.cost += schemas.len() / LISTED;
                for (name, schema) in schemas {
                    self.named.entry(name).or_default().push(schema);
                }
            }
            ("patternProperties", Value::Object(schemas)) => self.others.extend(schemas.values()),
            ("additionalProperties" | "unevaluatedProperties" | "propertyNames", schema) => {
                self.others.push(schema);
            }
            ("prefixItems" | "items", Value::Array(schemas)) => {
                if self.numbered.len() < schemas.len() {
                    self.numbered.resize_with(schemas.len(), Vec::new);
                }
                let places = self.numbered.iter_mut().zip(schemas);
                places.for_each(|(place, schema)| place.push(schema));
            }
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", schema) => {
                self.elements.push(schema);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_of_one_value_add_up_and_those_of_values_side_by_side_do_not() {
        let leaf = || json!({"type": "string"});
        for (tree, expected) in [
            (json!({}), 1),
            (json!({"anyOf": [leaf(), leaf(), {"not": leaf()}]}), 5),
            (json!({"properties": {"a": leaf(), "b": leaf(), "c": leaf()}}), 1),
            (json!({"properties": {"a": {"allOf": [leaf(), leaf()]}, "b": leaf()}}), 3),
            // The same property, by both forms.
            (
                json!({"oneOf": [
                    {"properties": {"a": {"oneOf": [leaf(), leaf()]}}},
                    {"properties": {"a": {"oneOf": [leaf(), leaf()]}}},
                ]}),
                6,
            ),
            (json!({"properties": {"a": leaf()}, "additionalProperties": leaf()}), 2),
            (json!({"items": leaf(), "contains": leaf(), "prefixItems": [leaf(), leaf()]}), 3),
            (json!({"enum": vec![0; 800]}), 101),
        ] {
            assert_eq!(breadth(&tree), expected, "{tree}");
        }
    }
}
