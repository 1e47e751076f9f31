//! Every refusal of REST has its number and names its field.

use millrace_domain::{AccountSid, AccountStatus};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{SENT, TOKEN, WEBHOOK, read, refused, send, start, start_with, text};

#[tokio::test]
async fn a_sink_that_cannot_be_is_refused() {
    let it = start().await;
    let long = "a".repeat(1_025);
    let ok = [("Description", "d"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    for (name, value, field) in [
        ("Description", None, "Missing required parameter Description"),
        ("SinkConfiguration", None, "Missing required parameter SinkConfiguration"),
        ("SinkType", None, "Missing required parameter SinkType"),
        ("Description", Some(" "), "Description: "),
        ("Description", Some(&long), "Description: "),
        ("Description", Some("a\0b"), "Description: "),
        ("SinkType", Some("email"), "SinkType: "),
        ("SinkType", Some("file"), "SinkConfiguration."),
        ("SinkType", Some("kinesis"), "SinkConfiguration.arn: is required"),
        ("SinkConfiguration", Some("{"), "SinkConfiguration: is not JSON"),
        ("SinkConfiguration", Some("[]"), "SinkConfiguration: "),
        ("SinkConfiguration", Some("{}"), "SinkConfiguration.destination: "),
        (
            "SinkConfiguration",
            Some(r#"{"destination":"http://e.example/"}"#),
            "SinkConfiguration.destination: must be an `https` URL",
        ),
        (
            "SinkConfiguration",
            Some(r#"{"destination":"https://169.254.169.254/"}"#),
            "SinkConfiguration.destination: points to 169.254.169.254",
        ),
        (
            "SinkConfiguration",
            Some(r#"{"destination":"https://[::ffff:10.0.0.1]/"}"#),
            "SinkConfiguration.destination: points to",
        ),
        (
            "SinkConfiguration",
            Some(r#"{"destination":"https://e.example/","retries":3}"#),
            "SinkConfiguration.retries: ",
        ),
    ] {
        let mut form = ok.to_vec();
        form.retain(|(key, _)| *key != name);
        form.extend(value.map(|value| (name, value)));
        let (status, code, message) = refused(it.post("/v1/Sinks", &form).await);
        assert_eq!((status, code), (400, 91000), "{message}");
        assert!(message.starts_with(field), "{message}");
    }
    let sink = it.sink().await;
    let path = format!("/v1/Sinks/{sink}");
    assert_eq!(refused(it.post(&path, &[]).await).1, 91000);
    let (status, code, message) = refused(it.post(&format!("{path}/Validate"), &[]).await);
    assert_eq!((status, code), (400, 20001));
    assert_eq!(message, "Missing required parameter TestId");
}

#[tokio::test]
async fn what_the_operator_opened_may_be_delivered_to() {
    let it = start_with(|settings| {
        settings.delivery.allow_http = true;
        settings.delivery.allow_cidrs = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    let form = |url: &'static str| {
        [("Description", "d"), ("SinkConfiguration", url), ("SinkType", "webhook")]
    };
    let open = r#"{"destination":"http://127.0.0.1:9/"}"#;
    assert_eq!(it.post("/v1/Sinks", &form(open)).await.0, 201);
    let closed = r#"{"destination":"http://10.0.0.1:9/"}"#;
    assert_eq!(it.post("/v1/Sinks", &form(closed)).await.0, 400);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused() {
    let it = start().await;
    let sink = it.sink().await;
    let ok = r#"{"type":"com.twilio.messaging.message.sent"}"#;
    let other = "DG00000000000000000000000000000099";
    let cases: [(&str, &[&str], u16, u64, &str); 16] = [
        (&sink, &[], 400, 91103, "Types: "),
        (&sink, &[""], 400, 91103, "Types: "),
        (&sink, &[ok, ok], 400, 91101, "Types[1].type: "),
        (&sink, &[r#"[{"type":"a"}]"#], 400, 91101, "Types[0]: must be one JSON object"),
        (&sink, &["{"], 400, 91101, "Types[0]: "),
        (&sink, &[r#"{"schema_version":1}"#], 400, 91101, "Types[0]: "),
        (&sink, &[r#"{"type":"a","version":1}"#], 400, 91101, "Types[0]: "),
        (&sink, &[ok, r#"{"type":"com.example.none"}"#], 400, 91104, "Types[1].type: "),
        (&sink, &[r#"{"type":"a\u0000b é"}"#], 400, 91104, "Types[0].type: "),
        (
            &sink,
            &[r#"{"type":"com.twilio.conversations.delivery.updated"}"#],
            400,
            91104,
            "Types[0].type: `com.twilio.conversations.delivery.updated` is discontinued",
        ),
        (
            &sink,
            &[r#"{"type":"com.twilio.eventstreams.test-event"}"#],
            400,
            91104,
            "Types[0].type: ",
        ),
        (
            &sink,
            &[r#"{"type":"com.twilio.messaging.message.sent","schema_version":9}"#],
            400,
            91202,
            "Types[0].schema_version: ",
        ),
        (
            &sink,
            &[r#"{"type":"com.twilio.messaging.message.sent","schema_version":0}"#],
            400,
            91202,
            "Types[0].schema_version: ",
        ),
        (
            &sink,
            &[r#"{"type":"com.twilio.messaging.message.sent","schema_version":-1}"#],
            400,
            91101,
            "Types[0]: ",
        ),
        (other, &[ok], 404, 91001, "SinkSid: "),
        ("DF00", &[ok], 400, 91006, "SinkSid: "),
    ];
    for (sink, types, status, code, field) in cases {
        let mut form = vec![("Description", "d"), ("SinkSid", sink)];
        form.extend(types.iter().map(|text| ("Types", *text)));
        let (told, number, message) = refused(it.post("/v1/Subscriptions", &form).await);
        assert_eq!((told, number), (status, code), "{types:?}: {message}");
        assert!(message.starts_with(field), "{types:?}: {message}");
    }
    let form = [("SinkSid", sink.as_str()), ("Types", ok)];
    assert_eq!(refused(it.post("/v1/Subscriptions", &form).await).1, 91101);
    let form = [("Description", "d"), ("SinkSid", &sink), ("Types", ok), ("Filter", "a == 'b'")];
    assert!(refused(it.post("/v1/Subscriptions", &form).await).2.starts_with("Filter: "));
    let subscription = it.subscription(&sink, SENT).await;
    let path = format!("/v1/Subscriptions/{subscription}");
    let (_, _, message) = refused(it.post(&path, &[("SinkSid", other)]).await);
    assert!(message.starts_with("SinkSid: "), "{message}");
    assert_eq!(refused(it.post(&path, &[("Description", "")]).await).1, 91101);
    let events = format!("{path}/SubscribedEvents");
    for (form, code, field) in [
        (vec![], 91101, "Missing required parameter Type"),
        (vec![("Type", "com.example.none")], 91104, "Type: "),
        (vec![("Type", SENT), ("SchemaVersion", "x")], 20001, "SchemaVersion: "),
        (vec![("Type", SENT), ("SchemaVersion", "99")], 91202, "SchemaVersion: "),
    ] {
        let (status, told, message) = refused(it.post(&events, &form).await);
        assert_eq!((status, told), (400, code), "{message}");
        assert!(message.starts_with(field), "{message}");
    }
    let (status, code, _) = refused(it.post(&format!("{events}/com.example.none"), &[]).await);
    assert_eq!((status, code), (404, 91104));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let it = start().await;
    for (path, status, code) in [
        ("/v1/Sinks/DG00000000000000000000000000000099", 404, 91001),
        ("/v1/Sinks/DG99", 400, 91006),
        ("/v1/Sinks/%ff", 404, 20404),
        ("/v1/Subscriptions/DF00000000000000000000000000000099", 404, 91102),
        ("/v1/Subscriptions/DG00000000000000000000000000000099", 404, 91102),
        ("/v1/Subscriptions/DF00000000000000000000000000000099/SubscribedEvents", 404, 91102),
        ("/v1/Types/com.example.none", 404, 91202),
        ("/v1/Types/a%00b", 404, 91202),
        ("/v1/Schemas/None", 404, 91202),
        ("/v1/Schemas/None/Versions", 404, 91202),
        ("/v1/Schemas/Messaging.MessageStatus/Versions/9", 404, 91202),
        ("/v1/Schemas/Messaging.MessageStatus/Versions/4294967295", 404, 91202),
        ("/v1/Schemas/Messaging.MessageStatus/Versions/x", 404, 91202),
        ("/v1/Schemas/Messaging.MessageStatus/Versions/9/Raw", 404, 91202),
        ("/v1/Schemas", 404, 20404),
        ("/v1/sinks", 404, 20404),
        ("/", 404, 20404),
    ] {
        let (told, number, message) = refused(it.get(path).await);
        assert_eq!((told, number), (status, code), "{path}: {message}");
    }
    for (method, path, code) in [
        (Method::PUT, "/v1/Sinks", 20004),
        (Method::DELETE, "/v1/Sinks", 20004),
        (Method::DELETE, "/v1/Schemas/Messaging.MessageStatus", 91203),
        (Method::DELETE, "/v1/Types", 91203),
    ] {
        let (status, told, _) = refused(read(it.request(method, path)).await);
        assert_eq!((status, told), (405, code), "{path}");
    }
    let response = send(it.request(Method::PUT, "/v1/Sinks")).await;
    let allowed = response.headers().get("allow").expect("what is allowed").to_str();
    assert_eq!(allowed.expect("ASCII"), "GET,HEAD,POST");
}

#[tokio::test]
async fn an_account_has_a_hundred_sinks_and_subscriptions_at_most_whoever_races() {
    let it = start().await;
    let form = [("Description", "d"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let mut sink = String::new();
    for _ in 0..99 {
        sink = it.sink().await;
    }
    one_of_two(tokio::join!(it.post("/v1/Sinks", &form), it.post("/v1/Sinks", &form)), 91003);
    for _ in 0..99 {
        it.subscription(&sink, SENT).await;
    }
    let types = format!(r#"{{"type": "{SENT}"}}"#);
    let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
    let path = "/v1/Subscriptions";
    one_of_two(tokio::join!(it.post(path, &form), it.post(path, &form)), 91199);
    let other = AccountSid::from_u128(2);
    it.add_account(other, AccountStatus::Active).await;
    let body = "Description=d&SinkType=webhook&SinkConfiguration=%7B%22destination%22%3A%22https%3A%2F%2Fe.example%22%7D";
    let request = it.anonymous(Method::POST, "/v1/Sinks").basic_auth(other, Some(TOKEN)).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(read(request).await.0, 201, "another account has its own hundred");
}

/// One is made, the other refused by number.
fn one_of_two(answers: ((StatusCode, Value), (StatusCode, Value)), code: u64) {
    let (made, refusal) = match answers.0.0.as_u16() {
        201 => answers,
        _ => (answers.1, answers.0),
    };
    assert_eq!(made.0, 201, "{made:?} {refusal:?}");
    let (status, told, message) = refused(refusal);
    assert_eq!((status, told), (400, code), "{message}");
}

#[tokio::test]
async fn limits_are_what_the_operator_set() {
    let it = start_with(|settings| {
        settings.limits.sinks_per_account = 2;
        settings.limits.subscriptions_per_account = 1;
    })
    .await;
    let (_, sink) = (it.sink().await, it.sink().await);
    let form = [("Description", "d"), ("SinkConfiguration", WEBHOOK), ("SinkType", "webhook")];
    let (_, code, message) = refused(it.post("/v1/Sinks", &form).await);
    assert_eq!((code, message.contains('2')), (91003, true), "{message}");
    it.subscription(&sink, SENT).await;
    let types = format!(r#"{{"type": "{SENT}"}}"#);
    let form = [("Description", "s"), ("SinkSid", &*sink), ("Types", &types)];
    assert_eq!(refused(it.post("/v1/Subscriptions", &form).await).1, 91199);
}

#[tokio::test]
async fn secrets_are_masked_where_the_operator_says_so() {
    let it = start_with(|settings| settings.rest.mask_secrets = true).await;
    let configuration = r#"{"destination":"https://user:sesame@e.example/x"}"#;
    let form =
        [("Description", "d"), ("SinkConfiguration", configuration), ("SinkType", "webhook")];
    let (status, made) = it.post("/v1/Sinks", &form).await;
    assert_eq!(status, 201);
    let path = format!("/v1/Sinks/{}", text(&made, "sid"));
    let (_, listed) = it.get("/v1/Sinks").await;
    let (_, updated) = it.post(&path, &[("Description", "e")]).await;
    for shown in [&made, &it.get(&path).await.1, &listed["sinks"][0], &updated] {
        let destination = &shown["sink_configuration"]["destination"];
        assert_eq!(destination, "https://user:***@e.example/x");
    }
    let back = made["sink_configuration"].to_string();
    let (_, code, message) = refused(it.post(&path, &[("SinkConfiguration", &back)]).await);
    assert_eq!(code, 91000);
    assert!(message.starts_with("SinkConfiguration.destination: has the mask"), "{message}");
    let sid = text(&made, "sid").parse().expect("a SID");
    let kept = it.store.sink(it.account, sid).await.expect("there").configuration.to_json();
    assert_eq!(kept["destination"], "https://user:sesame@e.example/x", "the secret is kept");
}
