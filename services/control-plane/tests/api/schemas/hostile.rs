//! Documents that are wrong, or meant to cost: refused, and nothing of them is kept.

use serde_json::json;

use super::{VERSIONS, post, register};
use crate::harness::{refused, start};

#[tokio::test]
async fn hostile_documents_are_refused_and_nothing_is_stored() {
    let it = start().await;
    let deep = "{\"not\":".repeat(3_000);
    let large = format!(r#"{{"description":"{}"}}"#, "x".repeat(70_000));
    for document in [
        "",
        "{",
        "[]",
        "7",
        "null",
        &deep,
        &large,
        r#"{"type":"string"}"#,
        r##"{"properties":{"a":{"$ref":"https://169.254.169.254/a"}}}"##,
        r##"{"properties":{"a":{"$ref":"#"}}}"##,
        r#"{"properties":{"a":{"pattern":"(?=a)b"}}}"#,
        r#"{"properties":{"a":{"pattern":"(a{1000}){1000}"}}}"#,
        r#"{"$schema":"http://json-schema.org/draft-04/schema#"}"#,
    ] {
        let (status, code, message) = refused(register(&it, document).await);
        assert_eq!((status, code), (400, 91201), "{message}");
        assert!(message.starts_with("Document: ") && message.len() < 2_000, "{message}");
    }
    for (form, field) in [
        (&[][..], "Missing"),
        (&[("Document", "{}"), ("Document", "{}")], "Document: is given twice"),
        (&[("Document", "{}"), ("SchemaVersion", "0")], "SchemaVersion"),
        (&[("Document", "{}"), ("SchemaVersion", "-1")], "SchemaVersion"),
        (&[("Document", "{}"), ("SchemaVersion", "99999999999")], "SchemaVersion"),
        (&[("Document", "{}"), ("SchemaVersion", "2")], "SchemaVersion"),
    ] {
        let (status, _, message) = refused(post(&it, VERSIONS, form).await);
        assert!(status == 400 && message.starts_with(field), "{message}");
    }
    let (status, ..) =
        refused(post(&it, "/v1/Schemas/a%20b/Versions", &[("Document", "{}")]).await);
    assert_eq!(status, 400);
    assert_eq!(it.get("/v1/Schemas/Example.Order").await.0.as_u16(), 404);
}

#[tokio::test]
async fn a_document_that_is_meant_to_cost_is_refused_and_nothing_of_it_is_kept() {
    let it = start().await;
    let nested = |open: &str, depth: usize, close: &str| {
        format!("{}{{}}{}", open.repeat(depth), close.repeat(depth))
    };
    let heavy: serde_json::Map<_, _> =
        (0..500).map(|n| (n.to_string(), json!({"$ref": "#/$defs/heavy"}))).collect();
    let numbers: Vec<u32> = (0..7_000).collect();
    let doubled: serde_json::Map<_, _> = (1..40)
        .map(|n| {
            let before = json!({"$ref": format!("#/$defs/{}", n - 1)});
            (n.to_string(), json!({"anyOf": [before, before]}))
        })
        .chain([("0".to_owned(), json!({}))])
        .collect();
    for document in [
        nested("{\"not\":", 5_000, "}"),
        nested("{\"properties\":{\"a\":", 60, "}}"),
        nested("{\"anyOf\":[", 60, "]}"),
        "[".repeat(60_000),
        json!({"$ref": "#"}).to_string(),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}})
            .to_string(),
        json!({"$ref": "http://127.0.0.1:9/"}).to_string(),
        json!({"$ref": "#/$defs/39", "$defs": doubled}).to_string(),
        json!({"properties": heavy, "$defs": {"heavy": {"enum": numbers}}}).to_string(),
        json!({"properties": {"a": {"enum": (0..9_000).collect::<Vec<_>>()}}}).to_string(),
        json!({"properties": {"a": {"pattern": "(a{1000}){1000}"}}}).to_string(),
        r#"{"properties":{"a":{"multipleOf":0}}}"#.to_owned(),
        r#"{"properties":{"a":{"maximum":1e999}}}"#.to_owned(),
        r#"{"properties":{"a":{"minLength":-1}}}"#.to_owned(),
        format!(r#"{{"title":"{}"}}"#, "x".repeat(64 * 1024)),
        "\u{0}".to_owned(),
    ] {
        let told: String = document.chars().take(60).collect();
        let (status, code, message) = refused(register(&it, &document).await);
        assert_eq!((status, code), (400, 91201), "{told}: {message}");
        assert!(message.starts_with("Document") && message.len() < 2_000, "{told}: {message}");
    }
    assert_eq!(it.get(VERSIONS).await.0, 404, "nothing was registered");
    for document in [
        r#"{"properties":{"a":{"multipleOf":5e-324,"maximum":1e308,"minLength":18446744073709551615}}}"#.to_owned(),
        json!({"properties": {"a": {"multipleOf": 5e-324, "maximum": 1e308, "minLength": u64::MAX}, "b": {"enum": numbers}}}).to_string(),
    ] {
        let (status, registered) = register(&it, &document).await;
        assert_eq!(status, 201, "{registered}");
    }
}

#[tokio::test]
async fn others_are_served_while_a_document_is_read() {
    let it = start().await;
    let patterns: serde_json::Map<_, _> = (0..20)
        .map(|n| (format!("p{n}"), json!({"pattern": format!("^[\\p{{L}}{n}]{{1,2}}$")})))
        .collect();
    let document = json!({"properties": patterns}).to_string();
    let mut registering = std::pin::pin!(register(&it, &document));
    let mut served = 0;
    let (status, registered) = loop {
        let other = std::pin::pin!(it.get("/v1/Types?PageSize=1"));
        match futures::future::select(registering.as_mut(), other).await {
            futures::future::Either::Left((answer, _)) => break answer,
            futures::future::Either::Right(((status, _), _)) => {
                assert_eq!(status, 200);
                served += 1;
            }
        }
    };
    assert_eq!(status, 201, "{registered}");
    assert!(served > 3, "{served} were served meanwhile");
}
