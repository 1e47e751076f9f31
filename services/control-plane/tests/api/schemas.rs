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

mod hostile;
mod types;

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
