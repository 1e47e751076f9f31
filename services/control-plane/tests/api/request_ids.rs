//! A creation that is named is done once: the same again gives the same answer, another one is refused.

use futures::future::join_all;
use millrace_proto::v1::{
    Account, AddSubscribedEventRequest, CreateAccountRequest, CreateApiKeyRequest,
    CreateSecondaryAuthTokenRequest, CreateSinkRequest, CreateSubscriptionRequest,
    DeleteSinkRequest, GetApiKeyRequest, KeyAccess, ListAccountsRequest, ListApiKeysRequest,
    ListSinksRequest, Sink, SubscribedEvent, Subscription, WebhookConfiguration,
    account_service_client::AccountServiceClient, sink::Configuration,
    sink_service_client::SinkServiceClient, subscription_service_client::SubscriptionServiceClient,
};
use reqwest::Method;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::harness::{
    DELIVERED, Harness, SENT, basic, platform, read, start, start_with, with_authorization,
};

fn create(id: &str, description: &str) -> CreateSinkRequest {
    let destination = "https://e.example/x".to_owned();
    let webhook = WebhookConfiguration { destination, ..Default::default() };
    let sink = Sink {
        description: description.to_owned(),
        configuration: Some(Configuration::Webhook(webhook)),
        // Of several, in whatever order they come.
        headers: (0..5).map(|n| (format!("x-{n}"), n.to_string())).collect(),
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

fn account(id: &str, name: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        friendly_name: name.to_owned(),
        request_id: id.to_owned(),
        ..Default::default()
    }
}

async fn subaccounts(it: &Harness) -> usize {
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let listed = accounts.list_accounts(it.ask(ListAccountsRequest::default())).await;
    listed.expect("a page").into_inner().accounts.len() - 1
}

#[tokio::test]
async fn an_account_is_made_once_and_its_token_is_told_again() {
    let it = start().await;
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let made = accounts.create_account(it.ask(account("a", "n"))).await.expect("made");
    let again = accounts.create_account(it.ask(account("a", "n"))).await.expect("found");
    let (made, again) = (made.into_inner(), again.into_inner());
    assert_eq!((&again, subaccounts(&it).await), (&made, 1));
    let Account { sid, auth_token, .. } = made.account.expect("an account");
    let own = it.anonymous(Method::GET, "/v1/Sinks").basic_auth(&sid, Some(&auth_token));
    assert_eq!(read(own).await.0, 200, "the token that is told is the account's");
    let other = accounts.create_account(it.ask(account("a", "other"))).await.expect_err("another");
    let details = other.get_details_bad_request().expect("a violation");
    assert_eq!(details.field_violations[0].field, "request_id");
    let own = with_authorization(account("a", "n"), &basic(&sid, &auth_token));
    let denied = accounts.create_account(own).await.expect_err("a subaccount");
    assert_eq!(denied.code(), Code::PermissionDenied, "the names of others tell nothing");
}

#[tokio::test]
async fn a_key_is_made_once_and_its_secret_is_told_once() {
    let it = start().await;
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let request = || CreateApiKeyRequest {
        friendly_name: "ingest".to_owned(),
        access: KeyAccess::ReadOnly.into(),
        request_id: "k".to_owned(),
        ..Default::default()
    };
    let made = accounts.create_api_key(it.ask(request())).await.expect("made").into_inner();
    let again = accounts.create_api_key(it.ask(request())).await.expect("found").into_inner();
    let (mut key, again) = (made.api_key.expect("a key"), again.api_key.expect("a key"));
    let secret = std::mem::take(&mut key.secret);
    assert!(secret.len() >= 32, "the first answer has the secret");
    assert_eq!(again, key, "the second has all but the secret");
    let found = accounts.get_api_key(it.ask(GetApiKeyRequest { sid: key.sid.clone() })).await;
    assert_eq!(found.expect("is there").into_inner().api_key, Some(again));
    let listed = accounts.list_api_keys(it.ask(ListApiKeysRequest::default())).await;
    assert_eq!(listed.expect("a page").into_inner().api_keys.len(), 1);
    let by_key = it.anonymous(Method::GET, "/v1/Sinks").basic_auth(&key.sid, Some(&secret));
    assert_eq!(read(by_key).await.0, 200, "a repeat changes no secret");
}

#[tokio::test]
async fn a_second_token_is_made_once_and_told_again() {
    let it = start().await;
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let request = |id: &str| CreateSecondaryAuthTokenRequest {
        request_id: id.to_owned(),
        ..Default::default()
    };
    let made = accounts.create_secondary_auth_token(it.ask(request("t"))).await.expect("made");
    let again = accounts.create_secondary_auth_token(it.ask(request("t"))).await.expect("found");
    let (made, again) = (made.into_inner().account, again.into_inner().account);
    assert_eq!(again, made);
    assert_eq!(made.expect("an account").secondary_auth_token.len(), 32);
    for id in ["other", ""] {
        let refused = accounts.create_secondary_auth_token(it.ask(request(id))).await;
        assert_eq!(refused.expect_err("there is one").code(), Code::AlreadyExists);
    }
}

/// Asks twelve times at once, and expects one answer of all.
async fn all_alike(it: &Harness, request: impl Fn() -> Request<CreateAccountRequest>) {
    let channel = it.channel().await;
    let asked = (0..12).map(|_| {
        let mut accounts = AccountServiceClient::new(channel.clone());
        let request = request();
        async move { accounts.create_account(request).await.expect("an answer").into_inner() }
    });
    let answers = join_all(asked).await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn whoever_takes_the_last_place_takes_it_for_all_of_one_name() {
    let it = start_with(|settings| settings.limits.subaccounts_per_account = 1).await;
    all_alike(&it, || it.ask(account("last", "n"))).await;
    assert_eq!(subaccounts(&it).await, 1);
    let sid = "AC00000000000000000000000000000077";
    all_alike(&it, || {
        platform(CreateAccountRequest { sid: sid.to_owned(), ..account("given", "n") })
    })
    .await;
    let mut accounts = AccountServiceClient::new(it.channel().await);
    let full = accounts.create_account(it.ask(account("next", "n"))).await.expect_err("full");
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
}
