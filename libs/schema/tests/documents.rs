//! Which documents are taken: those that are bounded, complete in themselves and of a known dialect.

use millrace_domain::projection::Projection;
use millrace_schema::{DOCUMENT_MAX_BYTES, Dialect, Document};
use serde_json::{Value, json};

fn parse(value: &Value) -> Result<Document, String> {
    Document::parse(&value.to_string()).map_err(|problem| problem.pointer)
}

fn refused(value: &Value) -> String {
    let problem = Document::parse(&value.to_string()).expect_err(&value.to_string());
    assert!(problem.message.len() < 1_500, "{problem}");
    problem.pointer
}

#[test]
fn the_dialect_is_the_one_that_is_named() {
    for (named, dialect) in [
        (Some("http://json-schema.org/draft-07/schema#"), Dialect::Draft7),
        (Some("http://json-schema.org/draft-07/schema"), Dialect::Draft7),
        (Some("https://events-schemas.twilio.com/vocabulary/twilio"), Dialect::Draft7),
        (Some("https://json-schema.org/draft/2020-12/schema"), Dialect::Draft202012),
        (None, Dialect::Draft202012),
    ] {
        let mut document =
            json!({"properties": {"to": {"type": "string", "identityType": "phone"}}});
        if let Some(named) = named {
            document["$schema"] = json!(named);
        }
        assert_eq!(parse(&document).expect("a document").dialect(), dialect, "{named:?}");
    }
    for wrong in
        [json!("http://json-schema.org/draft-04/schema#"), json!("https://evil.example/"), json!(7)]
    {
        assert_eq!(refused(&json!({"$schema": wrong})), "/$schema");
    }
}

#[test]
fn what_is_no_schema_is_refused_by_its_place() {
    for (document, pointer) in [
        (json!({"type": "objekt"}), "/type"),
        (json!({"type": "string"}), "/type"),
        (json!({"type": ["string", "null"]}), "/type"),
        (json!({"properties": {"a": {"minLength": "x"}}}), "/properties/a/minLength"),
        (json!({"properties": {"a": 7}}), "/properties/a"),
        (json!({"properties": [1]}), "/properties"),
        (json!({"allOf": {}}), "/allOf"),
        (json!({"required": "id"}), "/required"),
        (json!({"$id": 7}), "/$id"),
    ] {
        assert_eq!(refused(&document), pointer, "{document}");
    }
    for text in ["", "{", "[]", "null", "true", "\"a\"", "{\"a\":1e999}"] {
        assert!(Document::parse(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_leads_back_to_itself() {
    for reference in [
        "https://example.com/a.json",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "other.json#/a",
        "#name",
        "#/definitions/missing",
        "#/%ff",
        "#",
        "#/properties/a",
    ] {
        let document = json!({"properties": {"a": {"$ref": reference}}});
        assert_eq!(refused(&document), "/properties/a/$ref", "{reference}");
    }
    let circle = json!({
        "properties": {"a": {"$ref": "#/$defs/x"}},
        "$defs": {"x": {"allOf": [{"$ref": "#/$defs/y"}]}, "y": {"properties": {"b": {"$ref": "#/$defs/x"}}}},
    });
    assert_eq!(refused(&circle), "/$defs/y/properties/b/$ref");
    for keyword in ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor"] {
        assert_eq!(refused(&json!({ keyword: "#a" })), format!("/{keyword}"));
    }
    let moved = json!({"properties": {"a": {"$id": "https://evil.example/", "$ref": "#/x"}}});
    assert_eq!(refused(&moved), "/properties/a/$id");
}

#[test]
fn a_document_that_would_grow_or_nest_without_bound_is_refused() {
    let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(DOCUMENT_MAX_BYTES));
    assert!(Document::parse(&long).is_err());

    // Each definition names the one before twice: 2^40 schemas.
    let mut definitions = serde_json::Map::new();
    definitions.insert("d0".to_owned(), json!({"type": "string"}));
    for n in 1..=40 {
        let before = format!("#/definitions/d{}", n - 1);
        let twice = json!({"allOf": [{"$ref": before}, {"$ref": before}]});
        definitions.insert(format!("d{n}"), twice);
    }
    for last in [12, 40] {
        let last = format!("#/definitions/d{last}");
        let bomb = json!({"properties": {"a": {"$ref": last}}, "definitions": definitions});
        assert!(parse(&bomb).is_err());
    }

    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({"properties": {"a": deep}});
    }
    assert!(parse(&deep).is_err());
    assert!(Document::parse(&"{\"not\":".repeat(5_000)).is_err());
}

#[test]
fn a_regular_expression_is_matched_in_linear_time_or_refused() {
    let with = |pattern: &str| json!({"properties": {"a": {"type": "string", "pattern": pattern}}});
    for refused in ["(?=a)b", r"(a)\1", "(a{1000}){1000}", "(", &"a".repeat(2_000)] {
        assert!(parse(&with(refused)).is_err(), "{refused}");
    }
    let bomb = parse(&with("^(a+)+$")).expect("linear in this engine");
    let validator = bomb.compile().expect("compiled");
    let data = json!({"a": format!("{}!", "a".repeat(200_000))});
    assert!(validator.check(&data).is_err());
    let many: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("p{n}"), json!({"pattern": "a"}))).collect();
    assert!(parse(&json!({"properties": many})).is_err());
}

#[test]
fn the_outline_knows_every_property_that_is_named_anywhere() {
    let document = json!({
        "type": "object",
        "required": ["id", "kind"],
        "properties": {
            "id": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "lines": {"type": "array", "items": {"properties": {"sku": {}}}},
            "tags": {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
            "closed": {"properties": {"a": {}}, "additionalProperties": false},
            "pair": {"prefixItems": [{}, {}], "items": {"properties": {"x": {}}}},
        },
        "allOf": [{"properties": {"id": {}, "extra": {}}}],
        "oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {"properties": {"c": {}}}}}],
        "if": {"properties": {"kind": {"const": 1}}}, "then": {"properties": {"d": {}}},
        "$defs": {"address": {"properties": {"city": {}}}},
    });
    let outline = parse(&document).expect("a document").outline();
    assert_eq!(
        outline,
        json!({"properties": {
            "id": {}, "kind": {}, "extra": {}, "a": {}, "d": {}, "pair": {},
            "address": {"properties": {"city": {}}},
            "lines": {"items": {"properties": {"sku": {}}}},
            "tags": {"properties": {"a": {}}, "additionalProperties": {}},
            "closed": {"properties": {"a": {}}},
            "b": {"properties": {"c": {}}},
        }})
    );
    let projection = Projection::of_schema(&outline);
    let data = r#"{"address":{"city":1,"new":2},"new":3}"#;
    assert_eq!(projection.apply(data).as_deref(), Some(r#"{"address":{"city":1}}"#));
    assert_eq!(parse(&json!({"type": "object"})).expect("a document").outline(), json!({}));
}
