//! Documents and events that are meant to cost: each is refused with a reason, or costs a bounded time and little memory. Without the bounds
//! these do not end within the time that tests have, or take all memory.

use millrace_schema::{BREADTH_MAX, DOCUMENT_MAX_BYTES, Document, EXPANDED_MAX_BYTES, Validator};
use serde_json::{Map, Value, json};

/// Reads a document as if it were to be registered; and compares it with itself.
fn read(text: &str) -> Result<Document, String> {
    let document = Document::parse(text).map_err(|problem| {
        assert!(problem.message.len() < 1_500, "{}…", problem.message.len());
        problem.to_string()
    })?;
    assert_eq!(document.breaks(&document), []);
    document.outline();
    Ok(document)
}

fn refused(document: &Value) -> String {
    read(&document.to_string()).expect_err("refused")
}

fn validator(document: &Value) -> Validator {
    let document = read(&document.to_string()).expect("a document");
    document.compile().expect("what is read can be compiled")
}

/// What is told of an event.
fn told(validator: &Validator, data: &Value) -> Result<(), String> {
    let checked = validator.check(data);
    checked.map_err(|violation| format!("{} {}", violation.field, violation.message))
}

/// `core` within so many of what `around` puts around it.
fn nested(depth: usize, core: Value, around: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(core, |inner, _| around(inner))
}

/// An event's data of about as many bytes as an event may have.
fn many(element: &Value) -> Value {
    let count = 250_000 / (element.to_string().len() + 1);
    json!({"a": vec![element.clone(); count]})
}

#[test]
fn what_nests_deep_is_refused_and_fills_no_stack() {
    let keywords: [fn(Value) -> Value; 8] = [
        |inner| json!({"properties": {"a": inner}}),
        |inner| json!({"not": inner}),
        |inner| json!({"items": inner}),
        |inner| json!({"anyOf": [inner]}),
        |inner| json!({"allOf": [{}, inner]}),
        |inner| json!({"if": inner, "then": {}}),
        |inner| json!({"dependentSchemas": {"a": inner}}),
        |inner| json!({"additionalProperties": inner}),
    ];
    for around in keywords {
        assert!(refused(&nested(60, json!({}), around)).contains("nests deeper"));
        assert!(read(&nested(31, json!({}), around).to_string()).is_ok());
    }
    // Deeper than a reader of JSON goes, in schemas as in what they list.
    for (open, close) in [("{\"not\":", "}"), ("{\"items\":", "}"), ("{\"enum\":[", "]}")] {
        let text = format!("{}{{}}{}", open.repeat(5_000), close.repeat(5_000));
        assert!(read(&text).expect_err("refused").contains("JSON"), "{open}");
    }
    for text in [format!("{{\"const\":{}", "[".repeat(60_000)), "[".repeat(60_000)] {
        assert!(read(&text).is_err());
    }
    let listed = nested(100, json!(1), |inner| json!([inner]));
    let fits = validator(&json!({"properties": {"a": {"const": listed}}}));
    assert_eq!(told(&fits, &json!({"a": listed})), Ok(()));
    let other = nested(100, json!(2), |inner| json!([inner]));
    assert!(told(&fits, &json!({"a": other})).is_err());
}

#[test]
fn a_huge_enum_is_bounded_where_it_stands_and_where_it_is_referred_to() {
    let numbers = |count: usize| (0..count).map(|n| json!(n)).collect::<Vec<_>>();
    let mut long = numbers(7_900);
    let wide = json!({"properties": {"a": {"items": {"enum": long}}}});
    let fits = validator(&wide);
    // A thousand: without optimisation it takes long.
    assert_eq!(told(&fits, &json!({"a": vec![7_899; 1_000]})), Ok(()));
    assert!(told(&fits, &many(&json!(8_000))).is_err());
    long.reverse();
    let other = json!({"properties": {"a": {"items": {"enum": long}}}}).to_string();
    let same = read(&wide.to_string()).expect("ok").breaks(&read(&other).expect("ok"));
    assert_eq!(same, [], "in whatever order");
    let more = json!({"properties": {"a": {"enum": numbers(10_000)}}});
    assert!(refused(&more).contains(&format!("more than {BREADTH_MAX} schemas")));

    let (text, name) = ("x".repeat(30_000), "n".repeat(30_000));
    for heavy in [
        json!({"enum": numbers(7_000)}),
        json!({"const": text}),
        json!({"properties": {name: {}}}),
        json!({"required": numbers(5_000).iter().map(Value::to_string).collect::<Vec<_>>()}),
    ] {
        let properties: Map<String, Value> =
            (0..500).map(|n| (n.to_string(), json!({"$ref": "#/$defs/heavy"}))).collect();
        let refused = refused(&json!({"properties": properties, "$defs": {"heavy": heavy}}));
        assert!(refused.contains(&format!("more than {EXPANDED_MAX_BYTES} bytes")), "{refused}");
    }
}

#[test]
fn references_in_a_circle_or_to_elsewhere_are_refused_and_nothing_is_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("does not wait");
    let here = format!("http://{}/schema.json", listener.local_addr().expect("an address"));
    for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
        refused(&json!({"properties": {"a": {keyword: here}}}));
        refused(&json!({keyword: here}));
        refused(&json!({"$id": here, keyword: "other"}));
    }
    refused(&json!({"$schema": here}));
    for kept in
        [json!({"$id": here}), json!({"$id": here, "properties": {"a": {"$comment": here}}})]
    {
        let fits = validator(&kept);
        assert_eq!(told(&fits, &json!({"a": {"$ref": here, "$schema": here}})), Ok(()));
    }
    let nobody = listener.accept().expect_err("nobody connects");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);

    for circle in [
        json!({"$ref": "#"}),
        json!({"properties": {"a": {"$ref": "#"}}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}}]}}}),
        json!({"$ref": "#/%24defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
    ] {
        assert!(refused(&circle).contains("leads back"), "{circle}");
    }
}

#[test]
fn forms_within_forms_are_bounded_and_tell_without_a_copy_of_the_event() {
    // Each form of each is tried: 2 ^ 30 schemas.
    let mut definitions = Map::new();
    definitions.insert("0".to_owned(), json!({"type": "string"}));
    for n in 1..30 {
        let before = json!({"$ref": format!("#/$defs/{}", n - 1)});
        definitions.insert(n.to_string(), json!({"anyOf": [before, before]}));
    }
    for last in [9, 29] {
        let last = format!("#/$defs/{last}");
        refused(&json!({"properties": {"a": {"$ref": last}}, "$defs": definitions}));
    }
    let small = validator(
        &json!({"properties": {"a": {"items": {"$ref": "#/$defs/8"}}}, "$defs": definitions}),
    );
    assert_eq!(told(&small, &many(&json!(""))), Ok(()));
    assert!(told(&small, &many(&json!(1))).is_err());

    // Hundreds of forms that a large event fits none of, each by a hundred thousand values.
    let form = |n: usize| json!({"properties": {"a": {"items": {"type": "string"}}, "kind": {"const": n}}, "required": ["kind"]});
    for keyword in ["anyOf", "oneOf"] {
        let forms: Vec<_> = (0..300).map(form).collect();
        let fits = validator(&json!({keyword: forms, "minProperties": 1}));
        let refused = told(&fits, &many(&json!(1))).expect_err("refused");
        assert!(refused.starts_with("data fits none of the forms that it may have"), "{refused}");
        assert!(told(&fits, &json!({})).expect_err("refused").contains("propert"));
        assert_eq!(told(&fits, &json!({"kind": 7, "a": ["x"]})), Ok(()));
    }
    // What else is wrong is told by its place.
    let lines = json!({"items": {"oneOf": [{"required": ["sku"]}, {"required": ["id"]}]}});
    let fits = validator(&json!({"properties": {"lines": lines}}));
    let refused = told(&fits, &json!({"lines": [{"sku": 1}, {"sku": 1, "id": 2}]}));
    let several = "data.lines[1] fits none of the forms that it may have, or several";
    assert_eq!(refused, Err(several.to_owned()));
    let left =
        json!({"anyOf": [{"properties": {"a": {}}}], "unevaluatedProperties": {"type": "string"}});
    assert_eq!(told(&validator(&left), &json!({"a": 1, "b": "x"})), Ok(()));
    assert_eq!(
        told(&validator(&left), &json!({"a": 1, "b": 2})),
        Err("data does not fit its schema".to_owned())
    );
}

#[test]
fn numbers_of_any_size_are_compared_or_refused() {
    for keyword in [
        "multipleOf",
        "maximum",
        "minimum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "maxItems",
        "minItems",
        "maxProperties",
        "minProperties",
        "maxContains",
        "minContains",
    ] {
        for number in [
            "0",
            "-0",
            "-1",
            "1e308",
            "-1e308",
            "1e-308",
            "5e-324",
            "1e400",
            "0.1",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            &"9".repeat(400),
            &format!("{}.0", "9".repeat(40)),
            &format!("0.{}1", "0".repeat(300)),
            "null",
            "\"1\"",
            "[]",
        ] {
            let text =
                format!(r#"{{"properties":{{"a":{{"{keyword}":{number},"contains":{{}}}}}}}}"#);
            let Ok(document) = read(&text) else { continue };
            let fits = document.compile().expect("what is registered can be compiled");
            for value in [
                json!(0),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(f64::MAX),
                json!(f64::MIN_POSITIVE),
                json!(5e-324),
                json!(0.1),
                json!("x"),
                json!([1, 2]),
                json!({"a": 1}),
            ] {
                drop(told(&fits, &json!({"a": value})));
            }
        }
    }
    let fits = validator(&json!({"properties": {"a": {"items": {"multipleOf": 1e-300}}}}));
    drop(told(&fits, &many(&json!(1.797e308))));
}

#[test]
fn a_large_event_is_checked_by_the_widest_schema_that_there_may_be() {
    let forms: Vec<_> = (0..BREADTH_MAX - 1).map(|n| json!({"minimum": n})).collect();
    let widest = json!({"properties": {"a": {"items": {"allOf": forms}}}});
    let fits = validator(&widest);
    assert_eq!(fits.breadth(), BREADTH_MAX);
    // A tenth: without optimisation it takes long.
    assert_eq!(told(&fits, &json!({"a": vec![1_000; 5_000]})), Ok(()));
    let unique = validator(&json!({"properties": {"a": {"uniqueItems": true}}}));
    let different: Vec<_> = (0..40_000).collect();
    assert_eq!(told(&unique, &json!({"a": different})), Ok(()));
    let names: Map<String, Value> = (0..20_000).map(|n| (n.to_string(), json!(1))).collect();
    let patterns: Map<String, Value> =
        (0..60).map(|n| (format!("^({n}|[0-9]+)+$"), json!({"type": "number"}))).collect();
    let fits = validator(&json!({"properties": {"a": {"patternProperties": patterns}}}));
    assert_eq!(told(&fits, &json!({"a": names})), Ok(()));
}

#[test]
fn the_largest_documents_are_compiled() {
    let classes = (0..60)
        .map(|n| (format!("p{n}"), json!({"pattern": "(\\p{L}{1,40}|[a-z0-9]{1,60}){1,3}"})));
    let classes: Map<String, Value> = classes.collect();
    drop(read(&json!({"properties": classes}).to_string()));
    let names: Map<String, Value> = (0..4_000).map(|n| (n.to_string(), json!({}))).collect();
    assert!(read(&json!({"properties": names}).to_string()).is_ok());
    let titled = json!({"title": "x".repeat(DOCUMENT_MAX_BYTES - 100)});
    assert!(read(&titled.to_string()).is_ok());
}
