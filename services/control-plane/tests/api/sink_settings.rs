//! What a sink asks of delivery, and updates in place, over both faces.

use millrace_proto::v1::{
    CreateSinkRequest, GetSinkRequest, Sink, UpdateSinkRequest, WebhookConfiguration,
    sink::Configuration, sink_service_client::SinkServiceClient,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{WEBHOOK, refused, start, text};

const SETTINGS: [&str; 4] = ["paused", "rate_limit", "max_concurrency", "delivery_window"];

/// What is set of a sink as REST shows it.
fn settings(sink: &Value) -> Value {
    let set =
        SETTINGS.iter().filter_map(|name| Some(((*name).to_owned(), sink.get(name)?.clone())));
    Value::Object(set.collect())
}

#[tokio::test]
async fn settings_are_set_shown_changed_and_unset_over_rest() {
    let it = start().await;
    let form = [
        ("Description", "d"),
        ("SinkConfiguration", WEBHOOK),
        ("SinkType", "webhook"),
        ("Paused", "true"),
        ("RateLimit", "100"),
        ("DeliveryWindow", "15m"),
    ];
    let (status, sink) = it.post("/v1/Sinks", &form).await;
    assert_eq!(status, 201, "{sink}");
    let expected = json!({"paused": true, "rate_limit": 100, "delivery_window": 900});
    assert_eq!(settings(&sink), expected);
    let path = format!("/v1/Sinks/{}", text(&sink, "sid"));
    let form =
        [("Paused", "false"), ("RateLimit", ""), ("MaxConcurrency", "7"), ("DeliveryWindow", "60")];
    let (status, sink) = it.post(&path, &form).await;
    assert_eq!((status.as_u16(), text(&sink, "description")), (200, "d".to_owned()));
    assert_eq!(settings(&sink), json!({"max_concurrency": 7, "delivery_window": 60}));
    assert_eq!(settings(&it.get(&path).await.1), settings(&sink));
    let (_, sink) = it.post(&path, &[("Description", "other")]).await;
    assert_eq!(settings(&sink)["max_concurrency"], 7, "what is not named stays");
}

#[tokio::test]
async fn a_configuration_is_updated_in_place_and_checked_as_at_creation() {
    let it = start().await;
    let path = format!("/v1/Sinks/{}", it.sink().await);
    let moved = r#"{"destination":"https://e.example/moved","batch_events":true}"#;
    let (status, sink) = it.post(&path, &[("SinkConfiguration", moved)]).await;
    assert_eq!(status, 200, "{sink}");
    assert_eq!(sink["sink_configuration"]["destination"], "https://e.example/moved");
    for (name, value, field) in [
        (
            "SinkConfiguration",
            r#"{"destination":"https://10.0.0.1/"}"#,
            "SinkConfiguration.destination: ",
        ),
        ("SinkConfiguration", "{", "SinkConfiguration: is not JSON"),
        ("Paused", "yes", "Paused: "),
        ("RateLimit", "0", "RateLimit: "),
        ("RateLimit", "fast", "RateLimit: "),
        ("RateLimit", "100001", "RateLimit: "),
        ("MaxConcurrency", "1001", "MaxConcurrency: "),
        ("DeliveryWindow", "59s", "DeliveryWindow: "),
        ("DeliveryWindow", "604801", "DeliveryWindow: "),
        ("DeliveryWindow", "soon", "DeliveryWindow: must be a number of seconds, or"),
    ] {
        let (status, code, message) = refused(it.post(&path, &[(name, value)]).await);
        assert_eq!((status, code), (400, 91000), "{message}");
        assert!(message.starts_with(field), "{message}");
    }
    let other = [("SinkConfiguration", "{}"), ("SinkType", "segment")];
    assert!(refused(it.post(&path, &other).await).2.starts_with("SinkType: "));
    assert_eq!(it.get(&path).await.1, sink, "a refusal changes nothing");
}

#[tokio::test]
async fn a_mask_names_what_changes_over_grpc() {
    let it = start().await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let webhook = |destination: &str| {
        Some(Configuration::Webhook(WebhookConfiguration {
            destination: destination.to_owned(),
            ..Default::default()
        }))
    };
    let window = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let new = Sink {
        description: "d".to_owned(),
        configuration: webhook("https://e.example/"),
        rate_limit: 5,
        delivery_window: window(60),
        ..Default::default()
    };
    let request = CreateSinkRequest { sink: Some(new), ..Default::default() };
    let made = sinks.create_sink(it.ask(request)).await.expect("made").into_inner();
    let made = made.sink.expect("a sink");
    assert_eq!((made.paused, made.rate_limit, made.delivery_window), (false, 5, window(60)));
    let all = Sink {
        description: "new".to_owned(),
        configuration: webhook("https://e.example/new"),
        paused: true,
        rate_limit: 0,
        max_concurrency: 3,
        delivery_window: window(61),
        ..made.clone()
    };
    let update = |sink: &Sink, paths: &[&str]| UpdateSinkRequest {
        sink: Some(sink.clone()),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let some = update(&all, &["paused", "rate_limit", "max_concurrency"]);
    let updated = sinks.update_sink(it.ask(some)).await.expect("updated").into_inner();
    let updated = updated.sink.expect("a sink");
    let expected = Sink {
        paused: true,
        rate_limit: 0,
        max_concurrency: 3,
        update_time: updated.update_time,
        ..made.clone()
    };
    assert_eq!(updated, expected);
    let rest = update(&all, &["description", "webhook", "delivery_window"]);
    sinks.update_sink(it.ask(rest)).await.expect("updated");
    let request = GetSinkRequest { sid: made.sid.clone() };
    let found = sinks.get_sink(it.ask(request)).await.expect("there").into_inner().sink;
    let found = found.expect("a sink");
    assert_eq!(found.delivery_window, window(61));
    let Some(Configuration::Webhook(moved)) = found.configuration else { panic!("a webhook") };
    assert_eq!(moved.destination, "https://e.example/new");
    for (wrong, field) in [
        (update(&Sink { rate_limit: 100_001, ..all.clone() }, &["rate_limit"]), "sink.rate_limit"),
        (
            update(&Sink { max_concurrency: 1_001, ..all.clone() }, &["max_concurrency"]),
            "sink.max_concurrency",
        ),
        (
            update(&Sink { delivery_window: window(-60), ..all.clone() }, &["delivery_window"]),
            "sink.delivery_window",
        ),
        (update(&all, &["kinesis"]), "sink.kinesis"),
        (update(&all, &["sid"]), "update_mask"),
    ] {
        let error = sinks.update_sink(it.ask(wrong)).await.expect_err("refused");
        let details = error.get_details_bad_request().expect("a violation");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(details.field_violations[0].field, field);
    }
}
