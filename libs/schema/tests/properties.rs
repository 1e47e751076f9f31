//! What holds of all documents, their additive successors and all data.

use millrace_domain::projection::Projection;
use millrace_schema::Document;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A description of values, from which documents and data are made.
#[derive(Clone, Debug)]
enum Shape {
    Text,
    Number { maximum: i64 },
    OneOf(Vec<String>),
    List(Box<Shape>),
    Object(Vec<Field>),
    Free,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    shape: Shape,
    required: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Text),
        (0..100_i64).prop_map(|maximum| Shape::Number { maximum }),
        proptest::collection::vec("[a-z]{1,3}", 1..4).prop_map(Shape::OneOf),
        Just(Shape::Free),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|shape| Shape::List(Box::new(shape))),
            object(inner).prop_map(Shape::Object),
        ]
    })
}

fn object(inner: impl Strategy<Value = Shape>) -> impl Strategy<Value = Vec<Field>> {
    proptest::collection::btree_map("[a-e]", (inner, any::<bool>()), 1..4).prop_map(|fields| {
        let field = |(name, (shape, required))| Field { name, shape, required };
        fields.into_iter().map(field).collect()
    })
}

/// The shape with optional properties added, at places and with shapes that `added` chooses. Their names are new.
fn grown(shape: &Shape, added: &mut impl Iterator<Item = Shape>) -> Shape {
    match shape {
        Shape::Object(fields) => {
            let mut grown_fields: Vec<Field> = fields
                .iter()
                .map(|field| Field { shape: grown(&field.shape, added), ..field.clone() })
                .collect();
            if let Some(shape) = added.next() {
                grown_fields.push(Field { name: "new".to_owned(), shape, required: false });
            }
            Shape::Object(grown_fields)
        }
        Shape::List(inner) => Shape::List(Box::new(grown(inner, added))),
        other => other.clone(),
    }
}

fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Number { maximum } => json!({"type": "integer", "maximum": maximum}),
        Shape::OneOf(words) => {
            json!({"enum": words.iter().collect::<std::collections::BTreeSet<_>>()})
        }
        Shape::List(inner) => json!({"type": "array", "items": schema(inner)}),
        Shape::Free => json!({}),
        Shape::Object(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|field| (field.name.clone(), schema(&field.shape))).collect();
            let required: Vec<&str> =
                fields.iter().filter(|field| field.required).map(|field| &*field.name).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
    }
}

fn document(shape: &Shape) -> Document {
    Document::parse(&schema(shape).to_string()).expect("a document")
}

/// Data that fits a shape; `choices` decide what is there.
fn data(shape: &Shape, choices: &mut impl Iterator<Item = u8>) -> Value {
    let mut choose = |n: usize| usize::from(choices.next().unwrap_or(0)) % n;
    match shape {
        Shape::Text => json!("x".repeat(choose(4))),
        Shape::Number { maximum } => json!(maximum - i64::try_from(choose(5)).expect("small")),
        Shape::OneOf(words) => json!(words[choose(words.len())]),
        Shape::Free => [json!(null), json!({"any": [1]}), json!(1.5)][choose(3)].clone(),
        Shape::List(inner) => (0..choose(3)).map(|_| data(inner, choices)).collect(),
        Shape::Object(fields) => {
            let mut object = Map::new();
            for field in fields {
                let there = field.required || choices.next().unwrap_or(0) < 128;
                if there {
                    object.insert(field.name.clone(), data(&field.shape, choices));
                }
            }
            Value::Object(object)
        }
    }
}

/// Adds a property that no shape names to every object.
fn with_unknown(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), with_unknown(value))).collect();
            fields.insert("unknown".to_owned(), json!([{"a": 1}]));
            Value::Object(fields)
        }
        Value::Array(elements) => elements.iter().map(with_unknown).collect(),
        other => other.clone(),
    }
}

/// An object, an additive successor of it, and choices for data.
fn versions() -> impl Strategy<Value = (Shape, Shape, Vec<u8>)> {
    let added = proptest::collection::vec(shape(), 0..4);
    (object(shape()), added, proptest::collection::vec(any::<u8>(), 60)).prop_map(
        |(fields, added, choices)| {
            let older = Shape::Object(fields);
            let newer = grown(&older, &mut added.into_iter());
            (older, newer, choices)
        },
    )
}

proptest! {
    #[test]
    fn what_fits_a_version_fits_its_additive_successor((older, newer, choices) in versions()) {
        let (old, new) = (document(&older), document(&newer));
        prop_assert_eq!(old.breaks(&new), vec![]);
        let value = data(&older, &mut choices.into_iter());
        prop_assert_eq!(old.compile().expect("compiled").check(&value), Ok(()));
        prop_assert_eq!(new.compile().expect("compiled").check(&value), Ok(()));
    }

    #[test]
    fn what_fits_the_successor_fits_the_version_before_once_projected((older, newer, choices) in versions()) {
        let (old, new) = (document(&older), document(&newer));
        let value = data(&newer, &mut choices.into_iter());
        prop_assert_eq!(new.compile().expect("compiled").check(&value), Ok(()));
        let text = value.to_string();
        let projected = Projection::of_schema(&old.outline()).apply(&text).unwrap_or(text);
        let projected: Value = serde_json::from_str(&projected).expect("JSON");
        prop_assert_eq!(old.compile().expect("compiled").check(&projected), Ok(()));
        prop_assert!(!has_new(&projected, &older), "nothing newer is left: {}", projected);
    }

    #[test]
    fn unknown_properties_change_no_verdict((older, _, choices) in versions(), spoilt in any::<bool>()) {
        let validator = document(&older).compile().expect("compiled");
        let mut value = data(&older, &mut choices.into_iter());
        if let (true, Shape::Object(fields), Value::Object(object)) = (spoilt, &older, &mut value)
            && let Some(field) = fields.iter().find(|field| !matches!(field.shape, Shape::Free))
        {
            object.insert(field.name.clone(), json!(null));
        }
        prop_assert_eq!(validator.check(&value).is_ok(), validator.check(&with_unknown(&value)).is_ok());
    }

    #[test]
    fn every_other_change_is_told((older, newer, _) in versions()) {
        // A successor with more than its version before: the way back takes properties out.
        if schema(&older) != schema(&newer) {
            prop_assert!(!document(&newer).breaks(&document(&older)).is_empty());
        }
    }

    #[test]
    fn no_text_and_no_value_breaks_the_reader(text in "\\PC{0,200}", value in value()) {
        drop(Document::parse(&text));
        if let Ok(document) = Document::parse(&value.to_string()) {
            drop(document.outline());
            prop_assert_eq!(document.breaks(&document), vec![]);
        }
    }
}

/// Whether a property that only the successor names is in a value of the older shape.
fn has_new(value: &Value, shape: &Shape) -> bool {
    match (value, shape) {
        (Value::Object(object), Shape::Object(fields)) => {
            object.contains_key("new")
                || fields.iter().any(|field| {
                    object.get(&field.name).is_some_and(|value| has_new(value, &field.shape))
                })
        }
        (Value::Array(elements), Shape::List(inner)) => {
            elements.iter().any(|element| has_new(element, inner))
        }
        _ => false,
    }
}

/// Values that look like schemas, and are as often wrong.
fn value() -> impl Strategy<Value = Value> {
    let keyword = prop_oneof![
        Just("type"),
        Just("properties"),
        Just("items"),
        Just("$ref"),
        Just("allOf"),
        Just("enum"),
        Just("required"),
        Just("additionalProperties"),
        Just("pattern"),
        Just("not"),
        Just("dependencies"),
        Just("$defs"),
        Just("a"),
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("object")),
        Just(json!("#/properties/a")),
        Just(json!("#/$defs/a")),
        Just(json!("(")),
        Just(json!(-1)),
        Just(json!([])),
        Just(json!({})),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(keyword.clone(), inner, 0..5).prop_map(|fields| {
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Map<_, _>>()
                    .into()
            }),
        ]
    })
}
