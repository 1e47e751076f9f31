//! What a run needs to exist: an event type, an account, a sink, a subscription. Made through the public API.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use millrace_proto::v1::{
    CreateAccountRequest, CreateEventTypeRequest, CreateSinkRequest, CreateSubscriptionRequest,
    EventType, Sink, SubscribedEvent, Subscription, WebhookConfiguration,
    account_service_client::AccountServiceClient,
    event_type_service_client::EventTypeServiceClient, sink::Configuration,
    sink_service_client::SinkServiceClient, subscription_service_client::SubscriptionServiceClient,
};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::event::{EVENT_TYPE, SCHEMA_ID};

/// Where Millrace is, and who is asking.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// URL of control-plane's gRPC.
    pub(crate) url: String,
    /// URL of the router's gRPC.
    pub(crate) publish_url: String,
    /// A platform key.
    pub(crate) platform_key: String,
    /// Whose events are published.
    pub(crate) account_sid: String,
}

impl Api {
    /// Makes the account.
    pub(crate) async fn create_account(&self) -> Result<()> {
        let request = CreateAccountRequest {
            friendly_name: "bench".to_owned(),
            sid: self.account_sid.clone(),
            ..CreateAccountRequest::default()
        };
        let mut accounts = AccountServiceClient::new(connect(&self.url).await?);
        accounts.create_account(authorized(request, &self.platform_key)?).await?;
        Ok(())
    }

    /// Makes the event type, and a sink that gets its events, one a request.
    pub(crate) async fn subscribe(&self, receiver: SocketAddr) -> Result<()> {
        let channel = connect(&self.url).await?;
        let request = CreateEventTypeRequest { event_type: Some(event_type()) };
        EventTypeServiceClient::new(channel.clone())
            .create_event_type(authorized(request, &self.platform_key)?)
            .await
            .context("no event type")?;
        let request = CreateSinkRequest { sink: Some(self.sink(receiver)) };
        let sink = SinkServiceClient::new(channel.clone())
            .create_sink(authorized(request, &self.platform_key)?)
            .await
            .context("no sink")?;
        let sink = sink.into_inner().sink.context("an answer without the sink")?;
        let request = CreateSubscriptionRequest { subscription: Some(self.subscription(sink.sid)) };
        SubscriptionServiceClient::new(channel)
            .create_subscription(authorized(request, &self.platform_key)?)
            .await
            .context("no subscription")?;
        Ok(())
    }

    fn sink(&self, receiver: SocketAddr) -> Sink {
        let webhook = WebhookConfiguration {
            destination: format!("http://{receiver}/events"),
            ..WebhookConfiguration::default()
        };
        Sink {
            account_sid: self.account_sid.clone(),
            description: "bench".to_owned(),
            configuration: Some(Configuration::Webhook(webhook)),
            ..Sink::default()
        }
    }

    fn subscription(&self, sink_sid: String) -> Subscription {
        let subscribed = SubscribedEvent { r#type: EVENT_TYPE.to_owned(), schema_version: 0 };
        Subscription {
            account_sid: self.account_sid.clone(),
            description: "bench".to_owned(),
            sink_sid,
            types: vec![subscribed],
            ..Subscription::default()
        }
    }
}

fn event_type() -> EventType {
    EventType {
        r#type: EVENT_TYPE.to_owned(),
        schema_id: SCHEMA_ID.to_owned(),
        description: "An order left the warehouse".to_owned(),
        ..EventType::default()
    }
}

/// A connection to a gRPC server.
pub(crate) async fn connect(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(Duration::from_secs(60));
    let endpoint = endpoint.tcp_nodelay(true).initial_connection_window_size(8 * 1024 * 1024);
    endpoint.connect().await.with_context(|| format!("nobody at {url}"))
}

/// A request with the platform key.
pub(crate) fn authorized<T>(message: T, platform_key: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let credentials = format!("Bearer {platform_key}").parse()?;
    request.metadata_mut().insert("authorization", credentials);
    Ok(request)
}
