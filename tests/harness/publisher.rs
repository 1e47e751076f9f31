//! A producer's connection: gRPC and CloudEvents over HTTP, with one caller's credentials.

use std::time::Duration;

use millrace_proto::v1::{
    Event, PublishRequest, PublishResponse, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use tonic::{Request, Status, transport::Channel};

use crate::rest::{Answer, answer, http};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A producer.
#[derive(Clone, Debug)]
pub struct Publisher {
    grpc: PublishServiceClient<Channel>,
    http: reqwest::Client,
    url: String,
    authorization: String,
}

impl Publisher {
    /// A producer that publishes at `url`.
    ///
    /// # Panics
    /// If that is none.
    pub fn new(url: &str, authorization: &str) -> Self {
        let grpc = PublishServiceClient::new(channel(url));
        Self { grpc, http: http(), url: url.to_owned(), authorization: authorization.to_owned() }
    }

    /// Somebody without credentials, who gets nowhere.
    ///
    /// # Panics
    /// If `url` is none.
    pub fn anonymous(url: &str) -> Self {
        Self::new(url, "")
    }

    /// Publishes by gRPC.
    ///
    /// # Errors
    /// What the router answers instead.
    pub async fn publish(&self, events: Vec<Event>) -> Result<PublishResponse, Status> {
        self.request(events, None).await
    }

    /// Publishes by gRPC to a router that has version `version` of the configuration.
    ///
    /// # Errors
    /// What the router answers instead.
    pub async fn publish_after(
        &self,
        version: &str,
        events: Vec<Event>,
    ) -> Result<PublishResponse, Status> {
        self.request(events, Some(version)).await
    }

    /// Publishes by HTTP: `headers` and the body as they are.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn post(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self.http.post(format!("{}/v1/Events", self.url));
        if !self.authorization.is_empty() {
            request = request.header("authorization", &self.authorization);
        }
        request = request.body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.expect("the router answers")).await
    }

    async fn request(
        &self,
        events: Vec<Event>,
        version: Option<&str>,
    ) -> Result<PublishResponse, Status> {
        let mut request =
            authorized(PublishRequest { events, deduplicate: false }, &self.authorization);
        request.set_timeout(TIMEOUT);
        if let Some(version) = version {
            let version = version.parse().expect("a version is ASCII");
            request.metadata_mut().insert("millrace-config-version", version);
        }
        let mut grpc = self.grpc.clone().max_encoding_message_size(64 * 1024 * 1024);
        grpc.publish(request).await.map(tonic::Response::into_inner)
    }
}

/// The ids of the events that were accepted.
pub(crate) fn accepted_ids(response: &PublishResponse) -> impl Iterator<Item = &str> {
    let accepted = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Accepted(_)));
    response.results.iter().filter(move |it| accepted(&it.outcome)).map(|it| it.id.as_str())
}

/// A request with credentials.
///
/// # Panics
/// If they are not ASCII.
pub fn authorized<T>(message: T, authorization: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = authorization.parse().expect("credentials are ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A connection that is made when it is needed, and again when it breaks.
///
/// # Panics
/// If `url` is none.
pub fn channel(url: &str) -> Channel {
    let endpoint = Channel::from_shared(url.to_owned()).expect("a URL");
    endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy()
}
