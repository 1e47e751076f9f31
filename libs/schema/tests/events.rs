//! Events checked by documents: unknown properties never refuse one, and what is told names the field and not its value.

use millrace_schema::{Document, Validator, Violation};
use serde_json::{Value, json};

fn validator(document: &Value) -> Validator {
    Document::parse(&document.to_string()).and_then(|it| it.compile()).expect("a document")
}

fn refused(document: &Value, data: &Value) -> Violation {
    validator(document).check(data).expect_err("refused")
}

#[test]
fn a_violation_names_the_field_and_tells_no_value() {
    let document = json!({
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "pattern": "^[A-Z]+$"},
            "lines": {"type": "array", "items": {"required": ["sku"], "properties": {"price": {"minimum": 0}}}},
            "state": {"enum": ["new", "paid"]},
            "never": false,
        },
    });
    for (data, field, message) in [
        (json!({}), "data.id", "is required"),
        (json!({"id": 7}), "data.id", "the value is not of type \"string\""),
        (json!({"id": "secret"}), "data.id", "the value does not match \"^[A-Z]+$\""),
        (json!({"id": "A", "lines": [{"sku": 1}, {}]}), "data.lines[1].sku", "is required"),
        (
            json!({"id": "A", "lines": [{"sku": 1, "price": -5}]}),
            "data.lines[0].price",
            "the value is less than the minimum of 0",
        ),
        (
            json!({"id": "A", "state": "secret"}),
            "data.state",
            "the value is not one of \"new\" or \"paid\"",
        ),
        (json!({"id": "A", "never": 1}), "data.never", "must not be there"),
    ] {
        let violation = refused(&document, &data);
        assert_eq!((violation.field.as_str(), violation.message.as_str()), (field, message));
    }
    let long = json!({"properties": {}, "additionalProperties": {"type": "string"}});
    let violation = refused(&long, &json!({"x".repeat(100_000): 1}));
    assert!(violation.field.len() < 300 && violation.message.len() < 1_000);
}

#[test]
fn unknown_properties_never_refuse_an_event() {
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
    let unevaluated = json!({"allOf": [{"properties": {"a": {"type": "string"}}}], "unevaluatedProperties": false});
    let named = json!({"properties": {"a": {"type": "string"}}, "propertyNames": {"maxLength": 1}, "maxProperties": 1});
    for document in [closed, unevaluated, named] {
        let validator = validator(&document);
        assert_eq!(
            validator.check(&json!({"a": "x", "unknown": {"deep": 1}})),
            Ok(()),
            "{document}"
        );
        assert_eq!(
            validator.check(&json!({"a": 1, "unknown": 1})).expect_err("refused").field,
            "data.a"
        );
    }
    let inner =
        json!({"properties": {"o": {"properties": {"a": {}}, "additionalProperties": false}}});
    assert_eq!(validator(&inner).check(&json!({"o": {"b": 1}})), Ok(()));
}

#[test]
fn a_closed_object_still_tells_forms_apart() {
    let document = json!({"oneOf": [
        {"properties": {"card": {"type": "string"}}, "required": ["card"], "additionalProperties": false},
        {"properties": {"iban": {"type": "string"}}, "required": ["iban"], "additionalProperties": false},
    ]});
    let validator = validator(&document);
    assert_eq!(validator.check(&json!({"card": "1"})), Ok(()));
    assert_eq!(validator.check(&json!({"card": "1", "unknown": 2})), Ok(()));
    assert!(validator.check(&json!({"card": "1", "iban": "2"})).is_err());
    assert!(validator.check(&json!({"unknown": 2})).is_err());
}

#[test]
fn properties_that_are_described_without_a_name_are_held_to_it() {
    let document = json!({"properties": {"tags": {"additionalProperties": {"type": "string"}}}});
    assert_eq!(refused(&document, &json!({"tags": {"a": 1}})).field, "data.tags.a");
}

#[test]
fn draft_07_looks_at_nothing_beside_a_reference_and_2020_12_does() {
    let document = json!({
        "properties": {"a": {"$ref": "#/definitions/text", "maxLength": 1}},
        "definitions": {"text": {"type": "string"}},
    });
    assert!(validator(&document).check(&json!({"a": "xx"})).is_err());
    let mut draft7 = document;
    draft7["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    assert_eq!(validator(&draft7).check(&json!({"a": "xx"})), Ok(()));
    assert!(validator(&draft7).check(&json!({"a": 1})).is_err());
}

#[test]
fn keywords_mean_what_their_dialect_says() {
    let tuple = json!({"properties": {"p": {"prefixItems": [{"type": "string"}]}}});
    assert!(validator(&tuple).check(&json!({"p": [1]})).is_err());
    let tuple = json!({"$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"p": {"items": [{"type": "string"}], "additionalItems": false}}});
    assert!(validator(&tuple).check(&json!({"p": [1]})).is_err());
    assert!(validator(&tuple).check(&json!({"p": ["a", 1]})).is_err());
    let annotated = json!({"properties": {"a": {"type": "string", "format": "email"}}});
    assert_eq!(validator(&annotated).check(&json!({"a": "no address"})), Ok(()));
}
