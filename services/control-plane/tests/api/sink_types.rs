//! Sinks of every type and the headers of their requests, over both faces.

use millrace_proto::{
    internal::{
        WatchRequest, WatchView, config_service_client::ConfigServiceClient, resource::Resource,
    },
    v1::{
        CreateSinkRequest, GetSinkRequest, KinesisConfiguration, Sink, UpdateSinkRequest,
        WebhookConfiguration, sink::Configuration, sink_service_client::SinkServiceClient,
    },
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{
    Harness, INTERNAL_TOKEN, WEBHOOK, refused, start, start_with, text, with_authorization,
};

const KINESIS: &str = r#"{"arn":"arn:aws:kinesis:eu-west-1:111122223333:stream/events","role_arn":"arn:aws:iam::111122223333:role/write","external_id":"af71e0"}"#;

/// What a deliverer is told of the one sink there is: its configuration and its headers.
async fn told(it: &Harness) -> (Value, String) {
    let request = WatchRequest { epoch: 0, seq: 0, view: WatchView::Deliverer.into() };
    let request = with_authorization(request, &format!("Bearer {INTERNAL_TOKEN}"));
    let mut client = ConfigServiceClient::new(it.channel().await);
    let mut stream = client.watch(request).await.expect("a stream").into_inner();
    loop {
        let message = stream.message().await.expect("no error").expect("no end");
        let sink = message.upserts.into_iter().find_map(|shape| match shape.resource {
            Some(Resource::Sink(sink)) => Some(sink),
            _ => None,
        });
        if let Some(sink) = sink {
            let json = serde_json::from_str(&sink.configuration_json).expect("JSON");
            return (json, sink.headers_json);
        }
    }
}

#[tokio::test]
async fn every_type_is_made_shown_and_told_to_deliverers() {
    for (sink_type, configuration, shown) in [
        ("kinesis", KINESIS, serde_json::from_str(KINESIS).expect("JSON")),
        (
            "segment",
            r#"{"write_key":"abcdefghijklmnop","region":"eu"}"#,
            json!({"write_key": "abcdefghijklmnop", "region": "eu"}),
        ),
        (
            "cloudevents",
            r#"{"destination":"https://e.example/v1/Events","mode":"binary"}"#,
            json!({"destination": "https://e.example/v1/Events", "mode": "binary", "batch_events": false}),
        ),
        ("file", r#"{"path":"audit/events.jsonl"}"#, json!({"path": "audit/events.jsonl"})),
    ] {
        let it = start_with(|settings| settings.sinks.file.root = "/srv/events".into()).await;
        let form =
            [("Description", "d"), ("SinkType", sink_type), ("SinkConfiguration", configuration)];
        let (status, sink) = it.post("/v1/Sinks", &form).await;
        assert_eq!((status.as_u16(), text(&sink, "sink_type")), (201, sink_type.to_owned()));
        assert_eq!(sink["sink_configuration"], shown);
        let (told, headers) = told(&it).await;
        assert_eq!((told["sink_type"].as_str(), headers.as_str()), (Some(sink_type), ""));
        let path = format!("/v1/Sinks/{}", text(&sink, "sid"));
        assert_eq!(it.get(&path).await.1["sink_configuration"], shown);
        let become_webhook = [("SinkType", "webhook"), ("SinkConfiguration", WEBHOOK)];
        assert!(refused(it.post(&path, &become_webhook).await).2.starts_with("SinkType: "));
        let headers = [("Headers", r#"{"X-A":"b"}"#)];
        let answer = it.post(&path, &headers).await;
        if sink_type == "cloudevents" {
            assert_eq!(answer.1["headers"], json!({"x-a": "***"}));
        } else {
            assert!(refused(answer).2.starts_with("Headers: "));
        }
    }
}

#[tokio::test]
async fn a_file_is_refused_where_the_operator_has_no_place_for_it() {
    let it = start().await;
    let form = [
        ("Description", "d"),
        ("SinkType", "file"),
        ("SinkConfiguration", r#"{"path":"events.jsonl"}"#),
    ];
    let (status, code, message) = refused(it.post("/v1/Sinks", &form).await);
    assert_eq!((status, code), (400, 91000));
    assert!(message.starts_with("SinkType: ") && message.contains("sinks.file.root"), "{message}");
}

#[tokio::test]
async fn headers_are_kept_through_other_updates_and_their_values_shown_over_grpc_alone() {
    let it = start().await;
    let form = [
        ("Description", "d"),
        ("SinkType", "webhook"),
        ("SinkConfiguration", WEBHOOK),
        ("Headers", r#"{"X-Api-Key":"hunter2","Authorization":"Bearer b"}"#),
    ];
    let (status, sink) = it.post("/v1/Sinks", &form).await;
    let masked = json!({"x-api-key": "***", "authorization": "***"});
    assert_eq!((status.as_u16(), &sink["headers"]), (201, &masked));
    let (sid, path) = (text(&sink, "sid"), format!("/v1/Sinks/{}", text(&sink, "sid")));
    let moved = [("SinkConfiguration", r#"{"destination":"https://e.example/moved"}"#)];
    assert_eq!(it.post(&path, &moved).await.1["headers"], masked);
    let (_, headers) = told(&it).await;
    let told: Value = serde_json::from_str(&headers).expect("JSON");
    assert_eq!(told, json!({"x-api-key": "hunter2", "authorization": "Bearer b"}));
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let found = sinks.get_sink(it.ask(GetSinkRequest { sid })).await.expect("found").into_inner();
    let found = found.sink.expect("a sink");
    assert_eq!(found.headers.get("x-api-key").map(String::as_str), Some("hunter2"));
    for (headers, field) in [
        ("[]", "Headers: "),
        (r#"{"Host":"a"}"#, "Headers.Host: "),
        (r#"{"X-Api-Key":"***"}"#, "Headers.x-api-key: "),
        (r#"{"X-A":"hunter3\r\n"}"#, "Headers.X-A: "),
    ] {
        let (status, code, message) = refused(it.post(&path, &[("Headers", headers)]).await);
        assert_eq!((status, code), (400, 91000));
        assert!(message.starts_with(field) && !message.contains("hunter3"), "{message}");
    }
    let (_, sink) = it.post(&path, &[("Headers", "")]).await;
    assert_eq!(sink.get("headers"), None);
}

#[tokio::test]
async fn grpc_names_the_field_of_the_type() {
    let it = start().await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let kinesis = KinesisConfiguration { arn: "x".to_owned(), ..Default::default() };
    let webhook = WebhookConfiguration {
        destination: "https://10.0.0.1/".to_owned(),
        ..WebhookConfiguration::default()
    };
    for (configuration, headers, field) in [
        (Configuration::Kinesis(kinesis), None, "sink.kinesis.arn"),
        (Configuration::Webhook(webhook.clone()), None, "sink.webhook.destination"),
        (Configuration::Webhook(webhook), Some(("Host", "a")), "sink.headers.Host"),
    ] {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        let sink = Sink {
            description: "d".to_owned(),
            configuration: Some(configuration),
            headers: headers.collect(),
            ..Sink::default()
        };
        let request = CreateSinkRequest { sink: Some(sink), ..Default::default() };
        let status = sinks.create_sink(it.ask(request)).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().expect("details").field_violations;
        assert_eq!(violations[0].field, field);
    }
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let sink = Sink {
        sid: it.sink().await,
        headers: [("X-A".to_owned(), "b".to_owned())].into(),
        ..Sink::default()
    };
    let request = UpdateSinkRequest { sink: Some(sink), update_mask: mask("headers") };
    let updated = sinks.update_sink(it.ask(request)).await.expect("updated").into_inner();
    assert_eq!(updated.sink.expect("a sink").headers["x-a"], "b");
}

#[tokio::test]
async fn a_role_of_an_account_that_the_operator_keeps_is_refused() {
    let it = start_with(|settings| {
        settings.sinks.kinesis.refuse_accounts = vec!["111122223333".to_owned()];
    })
    .await;
    let form = [("Description", "d"), ("SinkType", "kinesis"), ("SinkConfiguration", KINESIS)];
    let (status, answer) = it.post("/v1/Sinks", &form).await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!(91000)), "{answer}");
    assert!(text(&answer, "message").contains("SinkConfiguration.role_arn"), "{answer}");
    let other = KINESIS.replace("iam::111122223333", "iam::999999999999");
    let form = [("Description", "d"), ("SinkType", "kinesis"), ("SinkConfiguration", &other)];
    assert_eq!(it.post("/v1/Sinks", &form).await.0.as_u16(), 201);
}
