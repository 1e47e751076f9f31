//! What a run needs to exist: an event type, accounts, sinks, subscriptions. Made through the public API.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use millrace_proto::v1::{
    CreateAccountRequest, CreateEventTypeRequest, CreateSinkRequest, CreateSubscriptionRequest,
    EventType, KinesisConfiguration, PublishRequest, RegisterSchemaVersionRequest,
    SegmentConfiguration, Sink, SubscribedEvent, Subscription, WebhookConfiguration,
    account_service_client::AccountServiceClient,
    event_type_service_client::EventTypeServiceClient, publish_result::Outcome,
    publish_service_client::PublishServiceClient, schema_service_client::SchemaServiceClient,
    sink::Configuration, sink_service_client::SinkServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::{
    clock,
    event::{self, EVENT_TYPE, Events, SCHEMA_ID},
    load::Audience,
    receive::{STREAMS, WRITE_KEYS},
};

/// The run of the events that only ask whether they are routed; no receiver expects it.
const ASKING_RUN: u64 = 9_999;
/// Accounts that are made at once.
const AT_ONCE: usize = 16;
/// Events that ask in one publish.
const ASKING_BATCH: usize = 1_000;
/// Longest time that the router takes to know what was made, and how often to ask it.
const PATIENCE: Duration = Duration::from_secs(60);
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
}

/// A type of sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An HTTP receiver.
    Webhook,
    /// A Kinesis data stream.
    Kinesis,
    /// A Segment source.
    Segment,
}

/// The sinks to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Accounts.
    pub(crate) accounts: usize,
    /// Sinks of each.
    pub(crate) sinks: usize,
    /// Their type.
    pub(crate) kind: Kind,
    /// Whether a request may carry several events.
    pub(crate) batch_events: bool,
    /// Whether every sink has a host of its own, and so connections of its own.
    pub(crate) own_hosts: bool,
    /// Number of the first sink.
    pub(crate) first: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self::ONE
    }
}

impl Wanted {
    /// One account with one webhook that takes single events.
    pub(crate) const ONE: Self = Self {
        accounts: 1,
        sinks: 1,
        kind: Kind::Webhook,
        batch_events: false,
        own_hosts: false,
        first: 0,
    };

    /// What a sink is configured by: its number is in the path of its URL, its stream's name, or its write key.
    fn configuration(self, number: usize, port: u16) -> Configuration {
        match self.kind {
            Kind::Webhook => Configuration::Webhook(WebhookConfiguration {
                destination: self.destination(number, port),
                batch_events: self.batch_events,
                ..WebhookConfiguration::default()
            }),
            Kind::Kinesis => Configuration::Kinesis(KinesisConfiguration {
                arn: format!("{STREAMS}{number}"),
                role_arn: "arn:aws:iam::123456789012:role/bench".to_owned(),
                external_id: "bench".to_owned(),
                ..KinesisConfiguration::default()
            }),
            Kind::Segment => Configuration::Segment(SegmentConfiguration {
                write_key: format!("{WRITE_KEYS}{number}"),
                ..SegmentConfiguration::default()
            }),
        }
    }

    /// The URL of a sink.
    fn destination(self, number: usize, port: u16) -> String {
        let host = match self.own_hosts {
            // 127.0.0.0/8 is all loopback.
            true => {
                format!("127.{}.{}.{}", 1 + number / 62_500, number / 250 % 250, 1 + number % 250)
            }
            false => "127.0.0.1".to_owned(),
        };
        format!("http://{host}:{port}/events/{number}")
    }
}

impl Api {
    /// Makes the event type.
    pub(crate) async fn create_event_type(&self) -> Result<()> {
        let request = CreateEventTypeRequest { event_type: Some(event_type()) };
        EventTypeServiceClient::new(connect(&self.url).await?)
            .create_event_type(authorized(request, &self.platform_key)?)
            .await
            .context("no event type")?;
        Ok(())
    }

    /// Describes the events.
    pub(crate) async fn register_schema(&self) -> Result<()> {
        let request = RegisterSchemaVersionRequest {
            schema_id: SCHEMA_ID.to_owned(),
            version: 1,
            document: event::schema().to_string(),
        };
        SchemaServiceClient::new(connect(&self.url).await?)
            .register_schema_version(authorized(request, &self.platform_key)?)
            .await
            .context("no schema")?;
        Ok(())
    }

    /// Makes accounts with sinks that get all their events, and waits until the router knows them.
    pub(crate) async fn audience(&self, wanted: Wanted, receiver_port: u16) -> Result<Audience> {
        let channel = connect(&self.url).await?;
        let mut making = JoinSet::new();
        let mut accounts = vec![String::new(); wanted.accounts];
        for at in 0..wanted.accounts {
            if making.len() >= AT_ONCE {
                keep(&mut accounts, making.join_next().await)?;
            }
            let maker = Maker { api: self.clone(), channel: channel.clone(), receiver_port };
            making.spawn(async move { Ok((at, maker.account(wanted, at).await?)) });
        }
        while let Some(made) = making.join_next().await {
            keep(&mut accounts, Some(made))?;
        }
        self.in_force(&accounts, u32::try_from(wanted.sinks)?).await?;
        Ok(Audience { accounts: Arc::from(accounts), sinks: wanted.sinks })
    }

    /// Waits until the router sends the events of every account to so many sinks.
    async fn in_force(&self, accounts: &[String], sinks: u32) -> Result<()> {
        let mut publish = PublishServiceClient::new(connect(&self.publish_url).await?);
        let deadline = Instant::now() + PATIENCE;
        for accounts in accounts.chunks(ASKING_BATCH) {
            let asking = Events::new(accounts.to_vec(), ASKING_RUN);
            loop {
                let sent_us = clock::now_micros();
                let events = (0..accounts.len()).map(|number| asking.event(number, sent_us));
                let request = PublishRequest { events: events.collect(), ..Default::default() };
                let answer = publish.publish(authorized(request, &self.platform_key)?).await;
                let results = answer.as_ref().map(|it| it.get_ref().results.as_slice());
                let routed = results.unwrap_or_default().iter().filter(
                    |it| matches!(&it.outcome, Some(Outcome::Accepted(it)) if it.sinks == sinks),
                );
                if routed.count() == accounts.len() {
                    break;
                }
                let problem = answer.err();
                ensure!(
                    Instant::now() < deadline,
                    "the router does not know the sinks: {problem:?}"
                );
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

type Made = std::result::Result<Result<(usize, String)>, tokio::task::JoinError>;

fn keep(accounts: &mut [String], made: Option<Made>) -> Result<()> {
    let (at, sid) = made.context("none is being made")???;
    accounts[at] = sid;
    Ok(())
}

/// Makes one account.
struct Maker {
    api: Api,
    channel: Channel,
    receiver_port: u16,
}

impl Maker {
    async fn account(self, wanted: Wanted, at: usize) -> Result<String> {
        let request = CreateAccountRequest {
            friendly_name: "bench".to_owned(),
            ..CreateAccountRequest::default()
        };
        let account = AccountServiceClient::new(self.channel.clone())
            .create_account(self.authorized(request)?)
            .await
            .context("no account")?;
        let account_sid = account.into_inner().account.context("no account in the answer")?.sid;
        for sink in 0..wanted.sinks {
            let number = wanted.first + at * wanted.sinks + sink;
            let configuration = wanted.configuration(number, self.receiver_port);
            self.sink(&account_sid, configuration).await?;
        }
        Ok(account_sid)
    }

    async fn sink(&self, account_sid: &str, configuration: Configuration) -> Result<()> {
        let sink = Sink {
            account_sid: account_sid.to_owned(),
            description: "bench".to_owned(),
            configuration: Some(configuration),
            ..Sink::default()
        };
        let made = SinkServiceClient::new(self.channel.clone())
            .create_sink(
                self.authorized(CreateSinkRequest { sink: Some(sink), ..Default::default() })?,
            )
            .await
            .context("no sink")?;
        let subscribed = SubscribedEvent { r#type: EVENT_TYPE.to_owned(), schema_version: 0 };
        let subscription = Subscription {
            account_sid: account_sid.to_owned(),
            description: "bench".to_owned(),
            sink_sid: made.into_inner().sink.context("no sink in the answer")?.sid,
            types: vec![subscribed],
            ..Subscription::default()
        };
        let request =
            CreateSubscriptionRequest { subscription: Some(subscription), ..Default::default() };
        SubscriptionServiceClient::new(self.channel.clone())
            .create_subscription(self.authorized(request)?)
            .await
            .context("no subscription")?;
        Ok(())
    }

    fn authorized<T>(&self, message: T) -> Result<Request<T>> {
        authorized(message, &self.api.platform_key)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_with_hosts_of_their_own_share_none() {
        let wanted = Wanted { own_hosts: true, ..Wanted::default() };
        let hosts: std::collections::HashSet<_> = (0..70_000)
            .map(|number| wanted.destination(number, 1).split('/').nth(2).map(str::to_owned))
            .collect();
        assert_eq!(hosts.len(), 70_000);
    }
}
