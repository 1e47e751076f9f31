//! gRPC: the same operations, with field violations.

use millrace_proto::v1::{
    AddSubscribedEventRequest, CreateEventTypeRequest, CreateSinkRequest,
    CreateSubscriptionRequest, DeleteSinkRequest, EventType, EventTypeStatus, GetEventTypeRequest,
    GetSchemaRequest, GetSchemaVersionRequest, ListEventTypesRequest, ListSinksRequest,
    RemoveSubscribedEventRequest, Sink, SubscribedEvent, Subscription, UpdateSinkRequest,
    UpdateSubscribedEventRequest, WebhookConfiguration,
    event_type_service_client::EventTypeServiceClient, schema_service_client::SchemaServiceClient,
    sink::Configuration, sink_service_client::SinkServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{DELIVERED, SENT, platform, start};

fn sink(destination: &str) -> Sink {
    Sink {
        description: "d".to_owned(),
        configuration: Some(Configuration::Webhook(WebhookConfiguration {
            destination: destination.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Code and field of a refusal.
pub(crate) fn violation<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let error = answer.expect_err("a refusal");
    let details = error.get_details_bad_request();
    let field = details.and_then(|details| Some(details.field_violations.first()?.field.clone()));
    (error.code(), field.unwrap_or_default())
}

fn typed(event_type: &str, schema_version: u32) -> SubscribedEvent {
    SubscribedEvent { r#type: event_type.to_owned(), schema_version }
}

#[tokio::test]
async fn sinks_live_as_over_rest() {
    let it = start().await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let create = |sink: Sink| CreateSinkRequest { sink: Some(sink), ..Default::default() };
    let made = sinks.create_sink(it.ask(create(sink("https://e.example/")))).await.expect("made");
    assert!(made.metadata().get("millrace-config-version").is_some());
    let made = made.into_inner().sink.expect("a sink");
    assert_eq!(made.account_sid, it.account.to_string());
    assert!(made.signing_secret.starts_with("whsec_"), "{}", made.signing_secret);
    let list = ListSinksRequest { page_size: 1, ..Default::default() };
    it.sink().await;
    let page = sinks.list_sinks(it.ask(list.clone())).await.expect("a page").into_inner();
    assert_eq!((page.sinks.len(), page.sinks[0].sid.as_str()), (1, made.sid.as_str()));
    let next = ListSinksRequest { page_token: page.next_page_token, ..list };
    let page = sinks.list_sinks(it.ask(next)).await.expect("a page").into_inner();
    assert!(page.sinks.len() == 1 && page.next_page_token.is_empty());
    let update = |paths: &[&str]| UpdateSinkRequest {
        sink: Some(Sink { description: "new".to_owned(), ..made.clone() }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let updated = sinks.update_sink(it.ask(update(&["description"]))).await.expect("updated");
    assert_eq!(updated.into_inner().sink.expect("a sink").description, "new");
    let refused = violation(sinks.update_sink(it.ask(update(&["status"]))).await);
    assert_eq!(refused, (Code::InvalidArgument, "update_mask".to_owned()));
    for (wrong, field) in [
        (create(sink("http://e.example/")), "sink.webhook.destination"),
        (create(sink("")), "sink.webhook.destination"),
        (
            create(Sink { description: String::new(), ..sink("https://e.example/") }),
            "sink.description",
        ),
        (create(Sink { configuration: None, ..sink("") }), "sink.configuration"),
        (create(Sink { account_sid: "x".to_owned(), ..sink("") }), "sink.account_sid"),
        (CreateSinkRequest::default(), "sink"),
    ] {
        let refused = violation(sinks.create_sink(it.ask(wrong)).await);
        assert_eq!(refused, (Code::InvalidArgument, field.to_owned()));
    }
    let refused = violation(sinks.create_sink(platform(create(sink("https://e.example/")))).await);
    assert_eq!(refused, (Code::InvalidArgument, "sink.account_sid".to_owned()));
    let named = Sink { account_sid: it.account.to_string(), ..sink("https://e.example/") };
    sinks.create_sink(platform(create(named))).await.expect("for the account");
    let delete = DeleteSinkRequest { sid: made.sid };
    sinks.delete_sink(it.ask(delete.clone())).await.expect("deleted");
    assert_eq!(violation(sinks.delete_sink(it.ask(delete)).await).0, Code::NotFound);
    let delete = DeleteSinkRequest { sid: "DF1".to_owned() };
    let refused = violation(sinks.delete_sink(it.ask(delete)).await);
    assert_eq!(refused, (Code::InvalidArgument, "sid".to_owned()));
}

#[tokio::test]
async fn subscriptions_live_as_over_rest() {
    let it = start().await;
    let sink_sid = it.sink().await;
    let mut subscriptions = SubscriptionServiceClient::new(it.channel().await);
    let create = |types: &[SubscribedEvent], sink_sid: &str| CreateSubscriptionRequest {
        subscription: Some(Subscription {
            description: "d".to_owned(),
            sink_sid: sink_sid.to_owned(),
            types: types.to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = subscriptions
        .create_subscription(it.ask(create(&[typed(SENT, 0), typed(DELIVERED, 3)], &sink_sid)))
        .await
        .expect("made");
    let made = made.into_inner().subscription.expect("a subscription");
    assert_eq!(made.types, [typed(DELIVERED, 3), typed(SENT, 8)]);
    for (types, code, field) in [
        (vec![], Code::InvalidArgument, "subscription.types"),
        (vec![typed(SENT, 0), typed(SENT, 1)], Code::InvalidArgument, "subscription.types[1].type"),
        (vec![typed("a", 0)], Code::InvalidArgument, "subscription.types[0].type"),
        (vec![typed(SENT, 9)], Code::InvalidArgument, "subscription.types[0].schema_version"),
    ] {
        let answer = subscriptions.create_subscription(it.ask(create(&types, &sink_sid))).await;
        assert_eq!(violation(answer), (code, field.to_owned()));
    }
    let other = "DG00000000000000000000000000000099";
    let answer = subscriptions.create_subscription(it.ask(create(&[typed(SENT, 0)], other))).await;
    assert_eq!(violation(answer), (Code::NotFound, "subscription.sink_sid".to_owned()));
    let sid = made.sid;
    let add = AddSubscribedEventRequest {
        subscription_sid: sid.clone(),
        subscribed_event: Some(typed(SENT, 8)),
        ..Default::default()
    };
    assert_eq!(
        violation(subscriptions.add_subscribed_event(it.ask(add)).await).0,
        Code::AlreadyExists
    );
    let pin = UpdateSubscribedEventRequest {
        subscription_sid: sid.clone(),
        subscribed_event: Some(typed(SENT, 2)),
    };
    let pinned = subscriptions.update_subscribed_event(platform(pin)).await.expect("pinned");
    assert_eq!(pinned.into_inner().subscribed_event, Some(typed(SENT, 2)));
    let remove = |event_type: &str| RemoveSubscribedEventRequest {
        subscription_sid: sid.clone(),
        r#type: event_type.to_owned(),
    };
    subscriptions.remove_subscribed_event(it.ask(remove(SENT))).await.expect("removed");
    let last = subscriptions.remove_subscribed_event(it.ask(remove(DELIVERED))).await;
    assert_eq!(violation(last).0, Code::FailedPrecondition);
}

#[tokio::test]
async fn the_platform_registers_types_of_its_own() {
    let it = start().await;
    let mut types = EventTypeServiceClient::new(it.channel().await);
    let mut schemas = SchemaServiceClient::new(it.channel().await);
    let new = |name: &str, schema: &str| CreateEventTypeRequest {
        event_type: Some(EventType {
            r#type: name.to_owned(),
            schema_id: schema.to_owned(),
            description: "An order was paid.".to_owned(),
            ..Default::default()
        }),
    };
    let paid = "com.example.order.paid";
    let made = types.create_event_type(platform(new(paid, "Example.Order"))).await.expect("made");
    let made = made.into_inner().event_type.expect("a type");
    assert_eq!(made.status(), EventTypeStatus::Available);
    let get = GetSchemaVersionRequest { schema_id: "Example.Order".to_owned(), version: 0 };
    let version = schemas.get_schema_version(it.ask(get)).await.expect("a version").into_inner();
    let version = version.schema_version.expect("a version");
    assert_eq!((version.version, version.document.as_str()), (1, ""));
    let mut changed = new(paid, "Example.Order");
    changed.event_type.as_mut().expect("a type").status = EventTypeStatus::Deprecated.into();
    let changed = types.create_event_type(platform(changed)).await.expect("changed").into_inner();
    let changed = changed.event_type.expect("a type");
    assert_eq!(
        (changed.status(), changed.create_time),
        (EventTypeStatus::Deprecated, made.create_time)
    );
    it.subscription(&it.sink().await, paid).await;
    for (name, schema, field) in [
        ("com.twilio.mine", "A", "event_type.type"),
        ("io.millrace.mine", "A", "event_type.type"),
        ("a b", "A", "event_type.type"),
        ("com.example.a", "", "event_type.schema_id"),
    ] {
        let refused = violation(types.create_event_type(platform(new(name, schema))).await);
        assert_eq!(refused, (Code::InvalidArgument, field.to_owned()));
    }
    let refused = violation(types.create_event_type(platform(new(paid, "Example.Other"))).await);
    assert_eq!(refused, (Code::FailedPrecondition, "event_type.schema_id".to_owned()));
    let refused = violation(types.create_event_type(it.ask(new(paid, "A"))).await);
    assert_eq!(refused.0, Code::PermissionDenied);
    let get = GetEventTypeRequest { r#type: "com.example.none".to_owned() };
    assert_eq!(violation(types.get_event_type(it.ask(get)).await).0, Code::NotFound);
    let list = ListEventTypesRequest { page_size: -1, ..Default::default() };
    let refused = violation(types.list_event_types(it.ask(list)).await);
    assert_eq!(refused, (Code::InvalidArgument, "page_size".to_owned()));
    let list =
        ListEventTypesRequest { schema_id: "Example.Order".to_owned(), ..Default::default() };
    let listed = types.list_event_types(it.ask(list)).await.expect("a page").into_inner();
    assert_eq!((listed.event_types.len(), listed.next_page_token.as_str()), (1, ""));
    let get = GetSchemaRequest { id: "Messaging.MessageStatus".to_owned() };
    let schema = schemas.get_schema(it.ask(get)).await.expect("a schema").into_inner();
    assert_eq!(schema.schema.expect("a schema").latest_version, 8);
}
