//! A client of Millrace in Rust: a channel, credentials, the typed clients of `millrace.v1`, creations that are safe to repeat,
//! and a stream of publishes.
//!
//! ```no_run
//! use millrace_client::{Client, Credentials, v1};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::account("AC…", "its auth token");
//! let client = Client::connect("https://events.example.com", credentials)?;
//! let sink = v1::Sink { description: "mine".to_owned(), ..Default::default() };
//! let made = client.create_sink(sink).await?;
//! println!("{}", made.sid);
//! # Ok(())
//! # }
//! ```

mod create;
mod credentials;
mod publish;
mod retry;

use std::time::Duration;

use millrace_proto::v1::{
    account_service_client::AccountServiceClient, audit_service_client::AuditServiceClient,
    event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    log_service_client::LogServiceClient, publish_service_client::PublishServiceClient,
    schema_service_client::SchemaServiceClient, sink_service_client::SinkServiceClient,
    subscription_service_client::SubscriptionServiceClient,
};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

pub use credentials::Credentials;
pub use millrace_proto::v1;
pub use publish::{Published, Publishes};
pub use retry::Retry;

/// A channel that says who asks.
pub type Connection = InterceptedService<Channel, Credentials>;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no `http` or `https` URL.
    #[error("`{address}` is no address of a server")]
    Address {
        /// What was given.
        address: String,
        /// Why it is none.
        source: tonic::transport::Error,
    },
}

/// A server, and as whom it is spoken to. Cheap to clone: all clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    control_plane: Connection,
    router: Connection,
    retry: Retry,
}

impl Client {
    /// A client of a server that serves everything, such as `millrace dev`. Connects when it is first used, and again when
    /// the connection is lost.
    ///
    /// # Errors
    /// An address that is no URL.
    pub fn connect(server: &str, credentials: Credentials) -> Result<Self, Error> {
        Self::connect_apart(server, server, credentials)
    }

    /// A client of a control-plane and a router.
    ///
    /// # Errors
    /// An address that is no URL.
    pub fn connect_apart(
        control_plane: &str,
        router: &str,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        Ok(Self {
            router: InterceptedService::new(channel(router)?, credentials.clone()),
            control_plane: InterceptedService::new(channel(control_plane)?, credentials),
            retry: Retry::default(),
        })
    }

    /// Goes by `retry` where a call is repeated.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Sinks.
    pub fn sinks(&self) -> SinkServiceClient<Connection> {
        SinkServiceClient::new(self.control_plane.clone())
    }

    /// Subscriptions.
    pub fn subscriptions(&self) -> SubscriptionServiceClient<Connection> {
        SubscriptionServiceClient::new(self.control_plane.clone())
    }

    /// Event types.
    pub fn event_types(&self) -> EventTypeServiceClient<Connection> {
        EventTypeServiceClient::new(self.control_plane.clone())
    }

    /// Schemas.
    pub fn schemas(&self) -> SchemaServiceClient<Connection> {
        SchemaServiceClient::new(self.control_plane.clone())
    }

    /// Accounts and API keys.
    pub fn accounts(&self) -> AccountServiceClient<Connection> {
        AccountServiceClient::new(self.control_plane.clone())
    }

    /// What became of an event and why, and what would become of one.
    pub fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.control_plane.clone())
    }

    /// Who changed what.
    pub fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::new(self.control_plane.clone())
    }

    /// What became of events: attempts, errors, and what was dropped.
    pub fn logs(&self) -> LogServiceClient<Connection> {
        LogServiceClient::new(self.control_plane.clone())
    }

    /// Publishing.
    pub fn publishing(&self) -> PublishServiceClient<Connection> {
        PublishServiceClient::new(self.router.clone())
    }
}

fn channel(address: &str) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned());
    let endpoint =
        endpoint.map_err(|source| Error::Address { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(CALL_TIMEOUT)
        .connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_none_is_named() {
        let credentials = Credentials::platform("key");
        let error = Client::connect("not a URL", credentials).expect_err("no address");
        assert!(error.to_string().contains("not a URL"), "{error}");
    }
}
