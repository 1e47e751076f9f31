//! A creation that is named is done once: the same again gives the same answer, another one is refused.

use futures::future::join_all;
use millrace_proto::v1::{
    AddSubscribedEventRequest, CreateSinkRequest, CreateSubscriptionRequest, DeleteSinkRequest,
    ListSinksRequest, Sink, SubscribedEvent, Subscription, WebhookConfiguration,
    sink::Configuration, sink_service_client::SinkServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{DELIVERED, Harness, SENT, platform, start};

fn create(id: &str, description: &str) -> CreateSinkRequest {
    let destination = "https://e.example/x".to_owned();
    let webhook = WebhookConfiguration { destination, ..Default::default() };
    let sink = Sink {
        description: description.to_owned(),
        configuration: Some(Configuration::Webhook(webhook)),
        ..Default::default()
    };
    CreateSinkRequest { sink: Some(sink), request_id: id.to_owned() }
}

async fn count(it: &Harness) -> usize {
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let listed = sinks.list_sinks(it.ask(ListSinksRequest::default())).await.expect("a page");
    listed.into_inner().sinks.len()
}

#[tokio::test]
async fn the_same_again_is_answered_the_same_even_when_the_sink_is_gone() {
    let it = start().await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let first = sinks.create_sink(it.ask(create("a-1", "d"))).await.expect("made");
    let again = sinks.create_sink(it.ask(create("a-1", "d"))).await.expect("found");
    let version = |metadata: &tonic::metadata::MetadataMap| {
        metadata.get("millrace-config-version").expect("a version").clone()
    };
    assert_eq!(version(again.metadata()), version(first.metadata()));
    let first = first.into_inner();
    assert_eq!(again.into_inner(), first);
    assert_eq!(count(&it).await, 1);
    let sid = first.sink.clone().expect("a sink").sid;
    sinks.delete_sink(it.ask(DeleteSinkRequest { sid })).await.expect("deleted");
    let late = sinks.create_sink(it.ask(create("a-1", "d"))).await.expect("found");
    assert_eq!((late.into_inner(), count(&it).await), (first, 0));
}

#[tokio::test]
async fn another_request_of_the_same_name_is_refused_and_others_names_are_theirs() {
    let it = start().await;
    let mut sinks = SinkServiceClient::new(it.channel().await);
    let made = sinks.create_sink(it.ask(create("a", "d"))).await.expect("made").into_inner();
    let long = "x".repeat(129);
    for (id, description) in [("a", "other"), (&*long, "d"), ("a b", "d"), ("\u{e9}", "d")] {
        let refused = sinks.create_sink(it.ask(create(id, description))).await.expect_err(id);
        let details = refused.get_details_bad_request().expect("a violation");
        assert_eq!(
            (refused.code(), &*details.field_violations[0].field),
            (Code::InvalidArgument, "request_id")
        );
    }
    let mut named = create("a", "d");
    named.sink.as_mut().expect("a sink").account_sid = it.account.to_string();
    let others = sinks.create_sink(platform(named)).await.expect("made").into_inner();
    assert_ne!(others, made, "the platform's names are not the account's");
    for _ in 0..2 {
        sinks.create_sink(it.ask(create("", "d"))).await.expect("made without a name");
    }
    assert_eq!(count(&it).await, 4);
    let bad = CreateSinkRequest { sink: None, request_id: "b".to_owned() };
    sinks.create_sink(it.ask(bad)).await.expect_err("wrong");
    sinks.create_sink(it.ask(create("b", "d"))).await.expect("a refusal keeps no name");
}

#[tokio::test]
async fn of_many_at_once_one_is_done_and_all_are_answered_alike() {
    let it = start().await;
    let channel = it.channel().await;
    let asked = (0..12).map(|_| {
        let mut sinks = SinkServiceClient::new(channel.clone());
        let request = it.ask(create("race", "d"));
        async move { sinks.create_sink(request).await.expect("an answer").into_inner() }
    });
    let answers = join_all(asked).await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(count(&it).await, 1);
}

#[tokio::test]
async fn subscriptions_and_what_is_added_to_them_are_made_once_too() {
    let it = start().await;
    let sink_sid = it.sink().await;
    let mut subscriptions = SubscriptionServiceClient::new(it.channel().await);
    let typed = |name: &str| SubscribedEvent { r#type: name.to_owned(), schema_version: 0 };
    let create = CreateSubscriptionRequest {
        subscription: Some(Subscription {
            description: "d".to_owned(),
            sink_sid,
            types: vec![typed(SENT)],
            ..Default::default()
        }),
        request_id: "s".to_owned(),
    };
    let made = subscriptions.create_subscription(it.ask(create.clone())).await.expect("made");
    let made = made.into_inner();
    let again = subscriptions.create_subscription(it.ask(create)).await.expect("found");
    assert_eq!(again.into_inner(), made);
    let subscription_sid = made.subscription.expect("a subscription").sid;
    let subscribed_event = Some(typed(DELIVERED));
    let add = AddSubscribedEventRequest {
        subscription_sid,
        subscribed_event,
        request_id: "t".to_owned(),
    };
    let added = subscriptions.add_subscribed_event(it.ask(add.clone())).await.expect("added");
    let again = subscriptions.add_subscribed_event(it.ask(add)).await.expect("found");
    assert_eq!(again.into_inner(), added.into_inner());
}
