//! An event as a Track call.
//!
//! | of the call | from the event |
//! |---|---|
//! | `event` | `type` |
//! | `messageId` | `id`; one of 100 characters and more: `ce_` and the SHA-256 of it. The same for every attempt. Of a test: its `test_id` |
//! | `timestamp` | `time` |
//! | `properties` | `data`; what is no object stands in it as `data` |
//! | `anonymousId` | the property that the schema marks with `identityType`; else the `messageId` |
//! | `userId` | that property, in place of `anonymousId`, where its `identityType` is `user_id` |
//! | `context.externalIds` | that property with its `identityType`, for Segment's identity resolution |
//! | `context` | `source`, `subject`, `dataschema` and extension attributes |

use std::fmt::Write as _;

use millrace_domain::{identity::Identities, secret::hex};
use ring::digest::{SHA256, digest};

use crate::{Delivery, envelope::Envelope};

/// Most characters of a message id, by which Segment tells repeats.
const MESSAGE_ID_CHARS: usize = 99;
/// Longest value that names somebody, in bytes of JSON.
const IDENTITY_BYTES: usize = 100;
/// The type of the events of tests, as JSON. All of an account have one id, by which Segment would leave out all but the first.
const TEST_TYPE: &str = r#""com.twilio.eventstreams.test-event""#;
/// Attributes that are not repeated in the context.
const ELSEWHERE: [&str; 7] =
    ["specversion", "id", "type", "time", "datacontenttype", "data", "data_base64"];

/// Appends the call to `body`.
///
/// # Errors
/// A text for people: the event is none that a call can be made of. What was appended is to be taken back.
pub(super) fn render(
    body: &mut String,
    delivery: &Delivery,
    identities: &Identities,
) -> Result<(), String> {
    let event = Envelope::read(&delivery.event)?;
    let missing = |name: &str| format!("the event has no `{name}`");
    let event_type = event.raw("type").ok_or_else(|| missing("type"))?;
    body.push_str(r#"{"type":"track","event":"#);
    body.push_str(event_type);
    let message_id = message_id(delivery, &event);
    add(body, "messageId", &message_id);
    let somebody = somebody(&event, identities);
    match &somebody {
        Some(it) if it.kind == "user_id" => add(body, "userId", it.value),
        Some(it) => add(body, "anonymousId", it.value),
        None => add(body, "anonymousId", &message_id),
    }
    if let Some(time) = event.raw("time") {
        add(body, "timestamp", time);
    }
    body.push_str(r#","properties":"#);
    match (event.raw("data"), event.raw("data_base64")) {
        (Some(data), _) if data.starts_with('{') => body.push_str(data),
        (Some(data), _) => append(body, &["{\"data\":", data, "}"]),
        (None, Some(data)) => append(body, &["{\"data_base64\":", data, "}"]),
        (None, None) => body.push_str("{}"),
    }
    context(body, &event, somebody.as_ref());
    body.push('}');
    Ok(())
}

/// Whom an event is about.
struct Somebody<'a> {
    /// JSON of a text.
    value: &'a str,
    kind: &'a str,
}

/// The property that the event's schema says to name somebody, if it is there, a text, and short.
fn somebody<'a>(event: &Envelope<'a>, identities: &'a Identities) -> Option<Somebody<'a>> {
    let identity = identities.get(&event.text("dataschema")?)?;
    let data = Envelope::read(event.raw("data")?.as_bytes()).ok()?;
    let value = data.raw(&identity.property)?;
    let named = value.starts_with('"') && (3..=IDENTITY_BYTES).contains(&value.len());
    named.then_some(Somebody { value, kind: &identity.kind })
}

/// The message id, as JSON.
fn message_id(delivery: &Delivery, event: &Envelope<'_>) -> String {
    if event.raw("type") == Some(TEST_TYPE)
        && let Some(test_id) = test_id(event)
    {
        return test_id.to_owned();
    }
    match event.raw("id") {
        Some(id) if delivery.id.chars().count() <= MESSAGE_ID_CHARS => id.to_owned(),
        _ => format!("\"ce_{}\"", hex(digest(&SHA256, delivery.id.as_bytes()).as_ref())),
    }
}

/// What tells a test from the others, as JSON.
fn test_id<'a>(event: &Envelope<'a>) -> Option<&'a str> {
    let data = Envelope::read(event.raw("data")?.as_bytes()).ok()?;
    data.raw("test_id").filter(|id| id.starts_with('"') && id.len() <= MESSAGE_ID_CHARS)
}

fn context(body: &mut String, event: &Envelope<'_>, somebody: Option<&Somebody<'_>>) {
    body.push_str(r#","context":{"#);
    let start = body.len();
    if let Some(Somebody { value, kind }) = somebody {
        append(body, &[r#""externalIds":[{"id":"#, value, r#","type":"#]);
        quote(body, kind);
        body.push_str(r#","collection":"users","encoding":"none"}]"#);
    }
    for (name, value) in event.iter().filter(|(name, _)| !ELSEWHERE.contains(name)) {
        if body.len() > start {
            body.push(',');
        }
        quote(body, name);
        append(body, &[":", value]);
    }
    body.push('}');
}

fn add(body: &mut String, name: &str, json: &str) {
    append(body, &[",\"", name, "\":", json]);
}

fn append(body: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| body.push_str(part));
}

fn quote(body: &mut String, text: &str) {
    write!(body, "{}", serde_json::Value::from(text)).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use millrace_domain::identity::Identity;

    use crate::segment::CALL_GROWTH;

    const SCHEMA: &str = "https://s.example/Message/1";

    fn identities(kind: &str) -> Identities {
        let identity = Identity { property: "to".to_owned(), kind: kind.to_owned() };
        Identities::of([(SCHEMA.to_owned(), identity)])
    }

    fn call(event: &Value, identities: &Identities) -> Value {
        let delivery = Delivery {
            id: event["id"].as_str().expect("an id").to_owned(),
            account: None,
            traceparent: String::new(),
            event: Bytes::from(event.to_string()),
            hash: None,
        };
        let mut body = String::new();
        render(&mut body, &delivery, identities).expect("a call");
        assert!(body.len() <= delivery.event.len() + CALL_GROWTH, "{}: {body}", body.len());
        serde_json::from_str(&body).expect("JSON")
    }

    fn event(data: Value) -> Value {
        json!({
            "specversion": "1.0", "id": "EZ1", "type": "com.example.sent", "source": "/x", "subject": "s",
            "time": "2026-01-02T03:04:05.678Z", "dataschema": SCHEMA, "datacontenttype": "application/json",
            "region": "eu", "data": data,
        })
    }

    #[test]
    fn an_event_is_a_track_call_about_whom_its_schema_names() {
        let data = json!({"to": "+15551234567", "body": "hé \"y\""});
        assert_eq!(
            call(&event(data.clone()), &identities("phone")),
            json!({
                "type": "track", "event": "com.example.sent", "messageId": "EZ1",
                "anonymousId": "+15551234567", "timestamp": "2026-01-02T03:04:05.678Z",
                "properties": data,
                "context": {
                    "externalIds": [{"id": "+15551234567", "type": "phone", "collection": "users", "encoding": "none"}],
                    "source": "/x", "subject": "s", "dataschema": SCHEMA, "region": "eu",
                },
            })
        );
        let user = call(&event(data), &identities("user_id"));
        assert_eq!((&user["userId"], user.get("anonymousId")), (&json!("+15551234567"), None));
    }

    #[test]
    fn an_event_about_nobody_is_about_itself() {
        for data in [json!({}), json!({"to": 7}), json!({"to": ""}), json!({"to": "x".repeat(99)})]
        {
            let call = call(&event(data), &identities("phone"));
            assert_eq!((&call["anonymousId"], call.get("userId")), (&json!("EZ1"), None));
            assert_eq!(call["context"].get("externalIds"), None);
        }
        assert_eq!(call(&event(json!({"to": "+1"})), &Identities::default())["anonymousId"], "EZ1");
    }

    #[test]
    fn tests_have_ids_of_their_own_although_their_events_have_not() {
        let mut test = event(json!({"test_id": "95001c1e-5b8e-45f5-830d-f9cbf1d16420"}));
        test["type"] = "com.twilio.eventstreams.test-event".into();
        let call = |test: &Value| call(test, &Identities::default())["messageId"].clone();
        assert_eq!(call(&test), "95001c1e-5b8e-45f5-830d-f9cbf1d16420");
        for none in
            [json!({}), json!({"test_id": 7}), json!({"test_id": "x".repeat(99)}), json!([])]
        {
            test["data"] = none;
            assert_eq!(call(&test), "EZ1");
        }
    }

    #[test]
    fn data_that_is_no_object_stands_in_one() {
        for (data, properties) in [
            (json!([1]), json!({"data": [1]})),
            (json!("x"), json!({"data": "x"})),
            (Value::Null, json!({"data": null})),
        ] {
            assert_eq!(call(&event(data), &Identities::default())["properties"], properties);
        }
        let mut without = event(Value::Null);
        without.as_object_mut().expect("an object").remove("data");
        assert_eq!(call(&without, &Identities::default())["properties"], json!({}));
    }

    #[test]
    fn a_message_id_is_short_and_the_same_every_time() {
        let mut long = event(json!({}));
        long["id"] = "é".repeat(100).into();
        let first = call(&long, &Identities::default());
        assert_eq!(first, call(&long, &Identities::default()));
        let id = first["messageId"].as_str().expect("a text");
        assert!(id.len() == 67 && id.starts_with("ce_"), "{id}");
        long["id"] = "é".repeat(99).into();
        assert_eq!(call(&long, &Identities::default())["messageId"], long["id"]);
    }
}
