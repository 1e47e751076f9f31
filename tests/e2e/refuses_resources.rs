//! A wrong request about resources is refused by number, with the field that is wrong; nothing comes of it.

use millrace_proto::v1::{
    CreateSinkRequest, GetSinkRequest, Sink, WebhookConfiguration, sink::Configuration,
    sink_service_client::SinkServiceClient,
};
use millrace_tests::{Kind, Mode, Options, Rest, Stack, TYPE, authorized, channel};
use tonic::Code;
use tonic_types::StatusExt;

const WEBHOOK: &str = r#"{"destination": "http://127.0.0.1:9/", "method": "POST"}"#;

#[tokio::test]
async fn wrong_requests_are_refused_by_number_and_field_embedded() {
    wrong_requests_are_refused_by_number_and_field(Mode::Embedded).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_by_number_and_field_on_servers() {
    wrong_requests_are_refused_by_number_and_field(Mode::Servers).await;
}

async fn wrong_requests_are_refused_by_number_and_field(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let rest = stack.rest();
    wrong_sinks(&rest).await;
    wrong_destinations(&rest).await;
    assert_eq!(rest.get("/v1/Sinks").await.body["sinks"], serde_json::json!([]));
    wrong_subscriptions(&stack).await;
    wrong_paths(&rest).await;
    wrong_callers(&stack).await;
    wrong_sinks_by_grpc(&stack).await;
}

async fn wrong_sinks(rest: &Rest) {
    for (form, code, field) in [
        (&[("SinkType", "webhook"), ("SinkConfiguration", WEBHOOK)][..], 91000, "Description"),
        (&[("Description", "d"), ("SinkConfiguration", WEBHOOK)], 91000, "SinkType"),
        (&[("Description", "d"), ("SinkType", "webhook")], 91000, "SinkConfiguration"),
        (&sink("", "webhook", WEBHOOK), 91000, "Description"),
        (&sink("d", "pigeon", WEBHOOK), 91000, "SinkType"),
        (&sink("d", "webhook", "{"), 91000, "SinkConfiguration"),
        (&sink("d", "webhook", "[]"), 91000, "SinkConfiguration"),
        (&sink("d", "webhook", "{}"), 91000, "SinkConfiguration.destination"),
        (
            &sink("d", "webhook", r#"{"destination": "x", "method": "POST"}"#),
            91000,
            "SinkConfiguration.destination",
        ),
        (
            &sink("d", "webhook", r#"{"destination": "http://127.0.0.1/", "method": "PUT"}"#),
            91000,
            "SinkConfiguration.method",
        ),
        (&sink("d", "kinesis", r#"{"arn": "x"}"#), 91000, "SinkConfiguration.arn"),
        (&sink("d", "email", r#"{"receivers": ["a@b.example"]}"#), 91000, "SinkType"),
    ] {
        let answer = rest.post("/v1/Sinks", form).await;
        let (status, found, message) = answer.error();
        assert_eq!((status, found), (400, code), "{form:?}: {message}");
        // What is missing is told in Twilio's words.
        let missing = message == format!("Missing required parameter {field}");
        assert!(missing || message.starts_with(field), "{form:?}: {message}");
        assert!(answer.body["more_info"].is_string() && answer.body["status"] == 400);
    }
}

/// What `dev` and tests open is loopback; everything else that is not public stays closed.
async fn wrong_destinations(rest: &Rest) {
    for destination in [
        "http://10.0.0.1/",
        "http://192.168.1.1:8080/",
        "https://169.254.169.254/latest/meta-data",
        "http://[fd00::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x0a000001/",
        "http://0.0.0.0/",
        "ftp://example.com/",
        "http://",
    ] {
        let configuration = format!(r#"{{"destination": "{destination}", "method": "POST"}}"#);
        let answer = rest.post("/v1/Sinks", &sink("d", "webhook", &configuration)).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, 91000), "{destination}: {message}");
        assert!(message.starts_with("SinkConfiguration.destination"), "{destination}: {message}");
    }
}

async fn wrong_subscriptions(stack: &Stack) {
    let rest = stack.rest();
    let configuration = serde_json::from_str(WEBHOOK).expect("JSON");
    let sink = stack.sink_with(configuration).await.sid;
    let good = format!(r#"{{"type": "{TYPE}"}}"#);
    let versioned = format!(r#"{{"type": "{TYPE}", "schema_version": 99}}"#);
    let nobodys = format!("DG{:032x}", 7);
    let form = |sink: &str, types: &[&str]| {
        let mut form = vec![
            ("Description".to_owned(), "d".to_owned()),
            ("SinkSid".to_owned(), sink.to_owned()),
        ];
        form.extend(types.iter().map(|kind| ("Types".to_owned(), (*kind).to_owned())));
        form
    };
    for (form, status, code, field) in [
        (form(&sink, &[]), 400, 91103, "Types"),
        (form(&sink, &["{"]), 400, 91101, "Types[0]"),
        (form(&sink, &[&good, r#"["a"]"#]), 400, 91101, "Types[1]"),
        (form(&sink, &[&good, &good]), 400, 91101, "Types[1]"),
        (form(&sink, &[r#"{"type": "com.example.unknown"}"#]), 400, 91104, "Types[0].type"),
        (form(&sink, &[&versioned]), 400, 91202, "Types[0].schema_version"),
        (form("DG1", &[&good]), 400, 91006, "SinkSid"),
        (form(&nobodys, &[&good]), 404, 91001, ""),
    ] {
        let borrowed: Vec<(&str, &str)> =
            form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let answer = rest.post("/v1/Subscriptions", &borrowed).await;
        let (found_status, found, message) = answer.error();
        assert_eq!((found_status, found), (status, code), "{form:?}: {message}");
        assert!(message.contains(field), "{form:?}: {message}");
    }
    assert_eq!(rest.get("/v1/Subscriptions").await.body["subscriptions"], serde_json::json!([]));
    assert_eq!(rest.delete(&format!("/v1/Sinks/{sink}")).await.status, 204);
}

async fn wrong_paths(rest: &Rest) {
    let nobodys = format!("{:032x}", 7);
    for (path, status, code) in [
        ("/v1/Sinks/DG1", 400, 91006),
        (&format!("/v1/Sinks/DG{nobodys}"), 404, 91001),
        (&format!("/v1/Sinks/AC{nobodys}"), 400, 91006),
        ("/v1/Subscriptions/DF1", 404, 91102),
        (&format!("/v1/Subscriptions/DF{nobodys}"), 404, 91102),
        (&format!("/v1/Subscriptions/DF{nobodys}/SubscribedEvents"), 404, 91102),
        ("/v1/Types/com.example.unknown", 404, 91202),
        ("/v1/Schemas/No.Such", 404, 91202),
        ("/v1/Schemas/Messaging.MessageStatus/Versions/99", 404, 91202),
        ("/v1/Sinks?PageSize=0", 400, 91002),
        ("/v1/Sinks?PageSize=1001", 400, 20007),
        ("/v1/Sinks?Page=-1", 400, 91002),
        ("/v1/Sinks?PageToken=!", 400, 91002),
        ("/v1/Sinks?Status=happy", 400, 20001),
        ("/v1/None", 404, 20404),
    ] {
        let answer = rest.get(path).await;
        assert_eq!((answer.error().0, answer.error().1), (status, code), "{path}: {answer:?}");
    }
    assert_eq!(rest.delete("/v1/Sinks").await.error().0, 405);
    assert_eq!(rest.delete("/v1/Schemas/Messaging.MessageStatus").await.error().1, 91203);
}

async fn wrong_callers(stack: &Stack) {
    for authorization in
        [None, Some("Bearer wrong"), Some("Basic !!!"), Some("Basic bm9ib2R5Om5vdGhpbmc=")]
    {
        let answer = stack.rest_as(authorization).get("/v1/Sinks").await;
        assert_eq!(
            (answer.error().0, answer.error().1),
            (401, 20003),
            "{authorization:?}: {answer:?}"
        );
    }
}

async fn wrong_sinks_by_grpc(stack: &Stack) {
    let mut sinks = SinkServiceClient::new(channel(&stack.url(Kind::ControlPlane)));
    let destination = "http://10.0.0.1/".to_owned();
    let webhook = WebhookConfiguration { destination, ..WebhookConfiguration::default() };
    let refused = Sink {
        description: "d".to_owned(),
        configuration: Some(Configuration::Webhook(webhook)),
        ..Sink::default()
    };
    let request = CreateSinkRequest { sink: Some(refused), ..Default::default() };
    let request = authorized(request, &stack.identity.basic());
    let status = sinks.create_sink(request).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().expect("details").field_violations;
    assert_eq!(violations[0].field, "sink.webhook.destination");

    let request = GetSinkRequest { sid: "DG1".to_owned() };
    let status = sinks.get_sink(request).await.expect_err("no credentials");
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

fn sink<'a>(
    description: &'a str,
    kind: &'a str,
    configuration: &'a str,
) -> [(&'static str, &'a str); 3] {
    [("Description", description), ("SinkType", kind), ("SinkConfiguration", configuration)]
}
