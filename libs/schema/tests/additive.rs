//! What the next version of a schema may change, and what is told of what it must not.

use millrace_schema::Document;
use serde_json::{Value, json};

fn document(value: &Value) -> Document {
    Document::parse(&value.to_string()).expect("a document")
}

fn breaks(older: &Value, newer: &Value) -> Vec<String> {
    let breaks = document(older).breaks(&document(newer));
    breaks.into_iter().map(|found| found.pointer).collect()
}

/// An order, changed by `change`.
fn order(change: impl FnOnce(&mut Value)) -> Value {
    let mut order = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "amount": {"type": "integer", "maximum": 100},
            "state": {"enum": ["new", "paid"]},
            "address": {"$ref": "#/definitions/address"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object"},
            "form": {"anyOf": [{"type": "string"}, {"type": "integer"}]}
        },
        "definitions": {"address": {"type": "object", "properties": {"city": {"type": "string"}}}}
    });
    change(&mut order);
    order
}

#[test]
fn optional_properties_may_be_added_at_every_depth() {
    let newer = order(|order| {
        order["properties"]["note"] = json!({"type": "string", "pattern": "^a"});
        order["definitions"]["address"]["properties"]["zip"] = json!({"type": "string"});
        order["properties"]["lines"]["items"]["properties"]["price"] = json!({"type": "number"});
        order["properties"]["free"]["properties"] = json!({"anything": {}});
    });
    assert_eq!(breaks(&order(|_| {}), &newer), [""; 0]);
}

#[test]
fn what_is_for_people_may_change() {
    let newer = order(|order| {
        order["title"] = json!("Purchase");
        order["description"] = json!("d");
        order["$id"] = json!("https://s/Order/2");
        order["$schema"] = json!("https://events-schemas.twilio.com/vocabulary/twilio");
        order["properties"]["id"]["identityType"] = json!("phone");
        order["properties"]["id"]["format"] = json!("email");
        order["additionalProperties"] = json!(true);
        order["properties"]["amount"]["type"] = json!(["integer"]);
        order["properties"]["state"]["enum"] = json!(["paid", "new"]);
    });
    assert_eq!(breaks(&order(|_| {}), &newer), [""; 0]);
    assert_eq!(breaks(&newer, &order(|_| {})), [""; 0]);
}

#[test]
fn where_a_definition_is_written_does_not_matter() {
    let newer = order(|order| {
        let address = order["definitions"]["address"].take();
        order["properties"]["address"] = address;
        order.as_object_mut().expect("an object").remove("definitions");
    });
    assert_eq!(breaks(&order(|_| {}), &newer), [""; 0]);
}

/// What is changed of the order, where that is told, and how.
type Case = (fn(&mut Value), &'static str, &'static str);

const CASES: [Case; 24] = [
    (
        |o| drop(o["properties"].as_object_mut().expect("an object").remove("amount")),
        "/properties/amount",
        "removed",
    ),
    (
        |o| {
            drop(
                o["definitions"]["address"]["properties"]
                    .as_object_mut()
                    .expect("an object")
                    .remove("city"),
            )
        },
        "/properties/address/properties/city",
        "removed",
    ),
    (|o| o["required"] = json!(["id", "amount"]), "/properties/amount", "newly required"),
    (|o| o["required"] = json!([]), "/properties/id", "no longer required"),
    (
        |o| {
            o["properties"]["x"] = json!({});
            o["required"] = json!(["id", "x"]);
        },
        "/properties/x",
        "newly required",
    ),
    (
        |o| o["properties"]["lines"]["items"]["required"] = json!(["sku"]),
        "/properties/lines/items/properties/sku",
        "newly required",
    ),
    (
        |o| o["properties"]["amount"]["type"] = json!("string"),
        "/properties/amount/type",
        "type changed",
    ),
    (|o| o["properties"]["amount"]["type"] = json!("number"), "/properties/amount/type", "wider"),
    (
        |o| o["properties"]["amount"]["type"] = json!(["integer", "null"]),
        "/properties/amount/type",
        "wider",
    ),
    (
        |o| drop(o["properties"]["amount"].as_object_mut().expect("an object").remove("type")),
        "/properties/amount/type",
        "wider",
    ),
    (|o| o["properties"]["state"]["enum"] = json!(["new"]), "/properties/state/enum", "narrower"),
    (
        |o| o["properties"]["state"]["enum"] = json!(["new", "paid", "x"]),
        "/properties/state/enum",
        "wider",
    ),
    (
        |o| o["properties"]["state"]["enum"] = json!(["new", "x"]),
        "/properties/state/enum",
        "changed",
    ),
    (
        |o| o["properties"]["amount"]["maximum"] = json!(99),
        "/properties/amount/maximum",
        "narrower",
    ),
    (|o| o["properties"]["amount"]["maximum"] = json!(101), "/properties/amount/maximum", "wider"),
    (|o| o["properties"]["id"]["minLength"] = json!(2), "/properties/id/minLength", "narrower"),
    (|o| o["properties"]["id"]["pattern"] = json!("^a"), "/properties/id/pattern", "narrower"),
    (
        |o| o["properties"]["tags"]["additionalProperties"] = json!(true),
        "/properties/tags/additionalProperties",
        "wider",
    ),
    (
        |o| o["properties"]["tags"]["properties"] = json!({"a": {"type": "string"}}),
        "/properties/tags/properties/a",
        "described",
    ),
    (
        |o| o["properties"]["free"]["properties"] = json!({"a": {"type": "string"}}),
        "/properties/free/properties/a",
        "narrower",
    ),
    (|o| o["properties"]["free"] = json!(false), "/properties/free", "nothing fits"),
    (
        |o| o["properties"]["form"]["anyOf"][1] = json!({"type": "number"}),
        "/properties/form/anyOf",
        "changed",
    ),
    (|o| o["allOf"] = json!([{"required": ["amount"]}]), "/allOf", "narrower"),
    (
        |o| o["$schema"] = json!("https://json-schema.org/draft/2020-12/schema"),
        "/$schema",
        "dialect",
    ),
];

#[test]
fn anything_else_is_told_by_its_place_and_why() {
    for (change, pointer, why) in CASES {
        let found = document(&order(|_| {})).breaks(&document(&order(change)));
        assert_eq!(found.len(), 1, "{pointer}: {found:?}");
        assert_eq!(found[0].pointer, pointer);
        assert!(found[0].reason.contains(why), "{}", found[0]);
    }
}

#[test]
fn every_break_is_told() {
    let newer = order(|order| {
        order["required"] = json!(["id", "amount"]);
        order["properties"]["id"]["type"] = json!("integer");
        order["properties"].as_object_mut().expect("an object").remove("state");
    });
    let found = breaks(&order(|_| {}), &newer);
    assert_eq!(found, ["/properties/id/type", "/properties/state", "/properties/amount"]);
}

#[test]
fn a_property_that_a_schema_around_knows_is_not_new() {
    let older = json!({"type": "object", "properties": {"a": {}}, "allOf": [{"required": ["a"]}]});
    let mut newer = older.clone();
    newer["allOf"][0]["properties"] = json!({"a": {"type": "string"}});
    assert_eq!(breaks(&older, &newer), ["/allOf/0/properties/a"]);
    newer["allOf"][0]["properties"] = json!({"b": {"type": "string"}});
    assert_eq!(breaks(&older, &newer), [""; 0]);
}

#[test]
fn names_with_slashes_are_escaped() {
    let older = json!({"type": "object", "properties": {"a/b~c": {"type": "string"}}});
    let newer = json!({"type": "object", "properties": {"x": {}}});
    assert_eq!(breaks(&older, &newer), ["/properties/a~1b~0c"]);
}
