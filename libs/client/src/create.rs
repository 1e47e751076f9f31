//! Creations that are safe to repeat: each is named by an id of ours, so that a lost answer makes nothing twice.

use millrace_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::Client;

impl Client {
    /// Makes a sink; a call whose answer is lost is made again, and makes no second one.
    ///
    /// # Errors
    /// What the server refuses, or what the last of the calls was answered.
    pub async fn create_sink(&self, sink: v1::Sink) -> Result<v1::Sink, Status> {
        let request = v1::CreateSinkRequest { sink: Some(sink), request_id: id() };
        let call = async || self.sinks().create_sink(request.clone()).await;
        let made = self.retry.run(call).await?.into_inner();
        made.sink.ok_or_else(nothing)
    }

    /// Makes a subscription, as [`Client::create_sink`] makes a sink.
    ///
    /// # Errors
    /// What the server refuses, or what the last of the calls was answered.
    pub async fn create_subscription(
        &self,
        subscription: v1::Subscription,
    ) -> Result<v1::Subscription, Status> {
        let subscription = Some(subscription);
        let request = v1::CreateSubscriptionRequest { subscription, request_id: id() };
        let call = async || self.subscriptions().create_subscription(request.clone()).await;
        let made = self.retry.run(call).await?.into_inner();
        made.subscription.ok_or_else(nothing)
    }

    /// Adds an event type to a subscription, as [`Client::create_sink`] makes a sink.
    ///
    /// # Errors
    /// What the server refuses, or what the last of the calls was answered.
    pub async fn add_subscribed_event(
        &self,
        subscription_sid: &str,
        event: v1::SubscribedEvent,
    ) -> Result<v1::SubscribedEvent, Status> {
        let request = v1::AddSubscribedEventRequest {
            subscription_sid: subscription_sid.to_owned(),
            subscribed_event: Some(event),
            request_id: id(),
        };
        let call = async || self.subscriptions().add_subscribed_event(request.clone()).await;
        let added = self.retry.run(call).await?.into_inner();
        added.subscribed_event.ok_or_else(nothing)
    }
}

impl Client {
    /// Makes an account, for a platform, or a subaccount of the caller, as [`Client::create_sink`] makes a sink: with its auth token.
    ///
    /// # Errors
    /// What the server refuses, or what the last of the calls was answered.
    pub async fn create_account(
        &self,
        request: v1::CreateAccountRequest,
    ) -> Result<v1::Account, Status> {
        let request = v1::CreateAccountRequest { request_id: id(), ..request };
        let call = async || self.accounts().create_account(request.clone()).await;
        let made = self.retry.run(call).await?.into_inner();
        made.account.ok_or_else(nothing)
    }

    /// Makes an API key, as [`Client::create_sink`] makes a sink. Its secret is told once: where that answer was lost, so is the secret,
    /// and the key comes without it. Delete it then, and make another.
    ///
    /// # Errors
    /// What the server refuses, or what the last of the calls was answered.
    pub async fn create_api_key(
        &self,
        request: v1::CreateApiKeyRequest,
    ) -> Result<v1::ApiKey, Status> {
        let request = v1::CreateApiKeyRequest { request_id: id(), ..request };
        let call = async || self.accounts().create_api_key(request.clone()).await;
        let made = self.retry.run(call).await?.into_inner();
        made.api_key.ok_or_else(nothing)
    }
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

fn nothing() -> Status {
    Status::internal("the answer has nothing in it")
}
