//! Event types and schemas of the platform's own.

use futures::future::join_all;
use millrace_proto::v1::{
    CreateEventTypeRequest, EventType, EventTypeStatus, RegisterSchemaVersionRequest,
    UpdateEventTypeRequest, ValidationMode, event_type_service_client::EventTypeServiceClient,
    schema_service_client::SchemaServiceClient,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    grpc::violation,
    harness::{Harness, PLATFORM_KEY, SENT, platform, read, refused, send, start, text},
};

const ORDER: &str = "Example.Order";
const VERSIONS: &str = "/v1/Schemas/Example.Order/Versions";
const PAID: &str = "com.example.order.paid";

/// A document with these properties, all text.
fn document(properties: &[&str]) -> String {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": "object", "properties": properties}).to_string()
}

/// A form that the platform sends.
async fn post(it: &Harness, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let request = it.anonymous(Method::POST, path).bearer_auth(PLATFORM_KEY);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    read(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

async fn register(it: &Harness, document: &str) -> (StatusCode, Value) {
    post(it, VERSIONS, &[("Document", document)]).await
}

#[tokio::test]
async fn versions_are_registered_one_after_the_other_and_once() {
    let it = start().await;
    let (status, first) = register(&it, &document(&["id"])).await;
    assert_eq!((status.as_u16(), &first["schema_version"]), (201, &json!(1)), "{first}");
    assert_eq!(first["id"], ORDER);
    let spaced = serde_json::to_string_pretty(
        &serde_json::from_str::<Value>(&document(&["id"])).expect("JSON"),
    );
    let (status, again) = register(&it, &spaced.expect("JSON")).await;
    assert_eq!((status.as_u16(), &again), (200, &first), "a repeat is none");
    let (status, second) = register(&it, &document(&["id", "note"])).await;
    assert_eq!((status.as_u16(), &second["schema_version"]), (201, &json!(2)));
    let (_, schema) = it.get("/v1/Schemas/Example.Order").await;
    assert_eq!(schema["latest_version"], 2);

    let at = |version: &'static str, properties: &[&str]| {
        (document(properties), [("SchemaVersion", version)])
    };
    for (version, properties, status) in [
        ("1", &["id"][..], 200),
        ("2", &["id"], 409),
        ("4", &["id"], 400),
        ("3", &["id", "note", "x"], 201),
    ] {
        let (document, [number]) = at(version, properties);
        let answer = post(&it, VERSIONS, &[number, ("Document", &document)]).await;
        assert_eq!(answer.0.as_u16(), status, "{version}: {}", answer.1);
    }
}

#[tokio::test]
async fn what_is_not_additive_is_refused_by_its_place() {
    let it = start().await;
    register(&it, &document(&["id", "note"])).await;
    let (status, code, message) = refused(register(&it, &document(&["id"])).await);
    assert_eq!((status, code), (400, 91201));
    assert!(
        message
            .starts_with("Document: is not additive to version 1: /properties/note: was removed"),
        "{message}"
    );
    let required = r#"{"type":"object","properties":{"id":{"type":"string"},"note":{"type":["string","null"]}},"required":["id"]}"#;
    let (_, _, message) = refused(register(&it, required).await);
    assert!(message.contains("/properties/id: is newly required"), "{message}");
    assert!(message.contains("/properties/note/type: the type is wider"), "{message}");
    let (_, versions) = it.get(VERSIONS).await;
    assert_eq!(versions["schema_versions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn of_racing_registrations_one_wins() {
    let it = start().await;
    register(&it, &document(&["id"])).await;
    let documents: Vec<String> = (0..6).map(|n| document(&["id", &format!("p{n}")])).collect();
    let answers = join_all(documents.iter().map(|document| async {
        post(&it, VERSIONS, &[("SchemaVersion", "2"), ("Document", document)]).await
    }))
    .await;
    let won: Vec<_> = answers.iter().filter(|(status, _)| status.as_u16() == 201).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for (status, body) in answers.iter().filter(|(status, _)| status.as_u16() != 201) {
        assert_eq!((status.as_u16(), &body["code"]), (409, &json!(20409)), "{body}");
    }
    let (_, schema) = it.get("/v1/Schemas/Example.Order").await;
    assert_eq!(schema["latest_version"], 2);
}

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
async fn accounts_register_nothing() {
    let it = start().await;
    for (path, form) in [
        (VERSIONS, &[("Document", "{}")][..]),
        ("/v1/Types", &[("Type", PAID), ("SchemaId", ORDER)]),
        ("/v1/Types/com.twilio.messaging.message.sent", &[("Validation", "off")]),
        ("/v1/Types/com.example.unknown", &[("Validation", "off")]),
    ] {
        let (status, body) = it.post(path, form).await;
        assert_eq!(status.as_u16(), 403, "{path}: {body}");
    }
    assert_eq!(it.get("/v1/Schemas/Example.Order").await.0.as_u16(), 404);
}

#[tokio::test]
async fn the_catalogues_own_schemas_and_types_are_millraces() {
    let it = start().await;
    let answer =
        post(&it, "/v1/Schemas/Messaging.MessageStatus/Versions", &[("Document", "{}")]).await;
    let (status, code, message) = refused(answer);
    assert_eq!((status, code), (400, 91201), "{message}");
    let sent = format!("/v1/Types/{SENT}");
    for form in [("Description", "mine"), ("Status", "discontinued"), ("DocumentationUrl", "")] {
        let (status, _, message) = refused(post(&it, &sent, &[form]).await);
        assert!(status == 400 && message.starts_with(form.0), "{message}");
    }
    let (status, set) = post(&it, &sent, &[("Validation", "enforce")]).await;
    assert_eq!((status.as_u16(), &set["validation"]), (200, &json!("enforce")), "{set}");
    let (_, back) = post(&it, &sent, &[("Validation", "warn")]).await;
    assert_eq!(back.get("validation"), None, "absent unless set");
}

#[tokio::test]
async fn a_type_is_registered_and_updated_in_part() {
    let it = start().await;
    let form = [("Type", PAID), ("SchemaId", ORDER), ("Description", "An order was paid.")];
    let (status, made) = post(&it, "/v1/Types", &form).await;
    assert_eq!(status.as_u16(), 201, "{made}");
    assert_eq!((&made["status"], made.get("validation")), (&json!("available"), None));
    let (status, _) = post(&it, "/v1/Types", &form).await;
    assert_eq!(status.as_u16(), 200, "a repeat changes nothing");
    // Its schema's first version was made with it, and has no fields yet.
    let (status, first) = register(&it, &document(&["id"])).await;
    assert_eq!((status.as_u16(), &first["schema_version"]), (201, &json!(1)), "{first}");

    let path = format!("/v1/Types/{PAID}");
    let update = [
        ("Status", "deprecated"),
        ("Validation", "off"),
        ("DocumentationUrl", "https://e.example/"),
    ];
    let (status, updated) = post(&it, &path, &update).await;
    assert_eq!(status.as_u16(), 200, "{updated}");
    assert_eq!(
        (text(&updated, "status"), text(&updated, "validation")),
        ("deprecated".to_owned(), "off".to_owned())
    );
    assert_eq!(updated["description"], "An order was paid.");
    let (_, cleared) = post(&it, &path, &[("DocumentationUrl", "")]).await;
    assert_eq!(cleared["documentation_url"], Value::Null);

    let long = "x".repeat(3_000);
    for (form, field) in [
        (("Status", "ended"), "Status"),
        (("Validation", "maybe"), "Validation"),
        (("DocumentationUrl", "javascript:alert(1)"), "DocumentationUrl"),
        (("Description", &*long), "Description"),
        (("SchemaId", "Other"), "SchemaId"),
        (("Type", "com.example.other"), "Type"),
    ] {
        let (status, _, message) = refused(post(&it, &path, &[form]).await);
        assert!(status == 400 && message.starts_with(field), "{message}");
    }
    let unknown = post(&it, "/v1/Types/com.example.unknown", &[("Status", "available")]).await;
    assert_eq!(refused(unknown).0, 404);
}

#[tokio::test]
async fn the_status_of_a_type_decides_who_may_subscribe() {
    let it = start().await;
    post(&it, "/v1/Types", &[("Type", PAID), ("SchemaId", ORDER)]).await;
    let sink = it.sink().await;
    let existing = it.subscription(&sink, PAID).await;
    let other = it.subscription(&sink, SENT).await;
    let types = format!(r#"{{"type": "{PAID}"}}"#);
    for (status, may) in
        [("deprecated", true), ("restricted", false), ("discontinued", false), ("available", true)]
    {
        post(&it, &format!("/v1/Types/{PAID}"), &[("Status", status)]).await;
        let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
        let (answer, body) = it.post("/v1/Subscriptions", &form).await;
        assert_eq!(answer.as_u16(), if may { 201 } else { 400 }, "{status}: {body}");
        let added = it
            .post(&format!("/v1/Subscriptions/{other}/SubscribedEvents"), &[("Type", PAID)])
            .await;
        assert_eq!(added.0.as_u16(), if may { 201 } else { 400 }, "{status}: {}", added.1);
        it.delete(&format!("/v1/Subscriptions/{other}/SubscribedEvents/{PAID}")).await;
        // Whoever has it may pin it to another version all the same.
        let pinned = it
            .post(
                &format!("/v1/Subscriptions/{existing}/SubscribedEvents/{PAID}"),
                &[("SchemaVersion", "1")],
            )
            .await;
        assert_eq!(pinned.0.as_u16(), 200, "{status}: {}", pinned.1);
    }
}

#[tokio::test]
async fn a_document_is_served_to_everybody_and_need_not_be_sent_twice() {
    let it = start().await;
    let (_, first) = register(&it, &document(&["id"])).await;
    let raw = text(&first, "raw");
    assert!(raw.starts_with(&it.url), "{raw}");
    let path = raw.strip_prefix(&it.url).expect("absolute");
    let served = send(it.anonymous(Method::GET, path)).await;
    let header = |name: &str| served.headers()[name].to_str().expect("ASCII").to_owned();
    assert_eq!(header("content-type"), "application/schema+json");
    assert_eq!(header("cache-control"), "public, max-age=86400");
    let tag = header("etag");
    assert_eq!(served.text().await.expect("a body"), document(&["id"]));
    for (known, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let asked = it.anonymous(Method::GET, path).header("if-none-match", &known);
        let answer = send(asked).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["etag"].to_str().ok()),
            (status, Some(&*tag)),
            "{known}"
        );
    }
    let unknown = send(it.anonymous(Method::GET, "/v1/Schemas/Example.Order/Versions/2/Raw")).await;
    assert_eq!(unknown.status().as_u16(), 404);
}

#[tokio::test]
async fn grpc_registers_and_updates_as_rest_does() {
    let it = start().await;
    let mut types = EventTypeServiceClient::new(it.channel().await);
    let mut schemas = SchemaServiceClient::new(it.channel().await);
    let version = |document: &str, version| RegisterSchemaVersionRequest {
        schema_id: ORDER.to_owned(),
        version,
        document: document.to_owned(),
    };
    let first = schemas.register_schema_version(platform(version(&document(&["id"]), 0))).await;
    let first = first.expect("registered");
    assert!(first.metadata().contains_key("millrace-config-version"));
    assert!(first.into_inner().created);
    let again = schemas.register_schema_version(platform(version(&document(&["id"]), 1))).await;
    assert!(!again.expect("is there").into_inner().created);
    let broken = schemas.register_schema_version(platform(version(&document(&[]), 0))).await;
    assert_eq!(violation(broken), (Code::InvalidArgument, "document".to_owned()));
    let taken = schemas.register_schema_version(platform(version(&document(&[]), 1))).await;
    assert_eq!(violation(taken), (Code::AlreadyExists, "version".to_owned()));
    let denied = schemas.register_schema_version(it.ask(version("{}", 0))).await;
    assert_eq!(violation(denied).0, Code::PermissionDenied);

    let event_type =
        EventType { r#type: PAID.to_owned(), schema_id: ORDER.to_owned(), ..EventType::default() };
    let request = CreateEventTypeRequest { event_type: Some(event_type.clone()) };
    let made = types.create_event_type(platform(request)).await.expect("made").into_inner();
    assert_eq!(made.event_type.expect("a type").validation(), ValidationMode::Enforce);
    let update = |paths: &[&str], event_type: EventType| UpdateEventTypeRequest {
        event_type: Some(event_type),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let changed = EventType {
        status: EventTypeStatus::Restricted.into(),
        validation: ValidationMode::Warn.into(),
        description: "not asked for".to_owned(),
        ..event_type.clone()
    };
    let both = update(&["status", "validation"], changed.clone());
    let changed = types.update_event_type(platform(both)).await.expect("changed").into_inner();
    let changed = changed.event_type.expect("a type");
    assert_eq!(
        (changed.status(), changed.validation()),
        (EventTypeStatus::Restricted, ValidationMode::Warn)
    );
    assert_eq!(changed.description, "");
    for (path, field) in [
        ("schema_id", "update_mask"),
        ("status", "event_type.status"),
        ("validation", "event_type.validation"),
    ] {
        let refused = types.update_event_type(platform(update(&[path], event_type.clone()))).await;
        assert_eq!(violation(refused), (Code::InvalidArgument, field.to_owned()));
    }
    let unknown = EventType { r#type: "com.example.none".to_owned(), ..event_type.clone() };
    let refused = types.update_event_type(platform(update(&["description"], unknown))).await;
    assert_eq!(violation(refused).0, Code::NotFound);
    let refused = types.update_event_type(it.ask(update(&["description"], event_type))).await;
    assert_eq!(violation(refused).0, Code::PermissionDenied);
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
