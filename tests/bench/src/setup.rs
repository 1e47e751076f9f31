//! What a run needs to exist: an event type, an account, a sink, a subscription. Made through the public API.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use millrace_proto::v1::{
    CreateAccountRequest, CreateEventTypeRequest, CreateSinkRequest, CreateSubscriptionRequest,
    EventType, PublishRequest, Sink, SubscribedEvent, Subscription, WebhookConfiguration,
    account_service_client::AccountServiceClient,
    event_type_service_client::EventTypeServiceClient, publish_result::Outcome,
    publish_service_client::PublishServiceClient, sink::Configuration,
    sink_service_client::SinkServiceClient, subscription_service_client::SubscriptionServiceClient,
};
use tokio::time::{Instant, sleep};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::{
    clock,
    event::{EVENT_TYPE, Events, SCHEMA_ID},
};

/// The run of the events that only ask whether they are routed; no receiver expects it.
const ASKING_RUN: u64 = 9_999;
/// Longest time that the router takes to know what was made, and how often to ask it.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

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
        self.in_force().await
    }

    /// Waits until the router sends events to the sink.
    async fn in_force(&self) -> Result<()> {
        let mut publish = PublishServiceClient::new(connect(&self.publish_url).await?);
        let events = Events::new(self.account_sid.clone(), ASKING_RUN);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = PublishRequest {
                events: vec![events.event(0, clock::now_micros())],
                deduplicate: false,
            };
            let answer = publish.publish(authorized(request, &self.platform_key)?).await;
            let results = answer.as_ref().map(|it| it.get_ref().results.as_slice());
            if results.unwrap_or_default().iter().any(|it| {
                matches!(&it.outcome, Some(Outcome::Accepted(accepted)) if accepted.sinks == 1)
            }) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the router does not know the sink: {answer:?}");
            sleep(PAUSE).await;
        }
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
