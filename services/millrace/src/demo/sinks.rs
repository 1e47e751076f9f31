//! Makes the demo's sinks and subscriptions through REST, form-encoded, as the official SDKs do.

use std::time::Duration;

use anyhow::Context;
use millrace_domain::Secret;
use millrace_proto::v1::{self, sink_service_client::SinkServiceClient};
use reqwest::{Client, Method, Response, header};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::{Target, expect::Plan};
use crate::client::{
    connection::{Credentials, connect},
    failure,
};

/// Header of the answer to a change: the configuration that has it.
const CONFIG_VERSION: &str = "millrace-config-version";
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The REST API of a server, as one account.
pub(super) struct Rest {
    http: Client,
    base_url: String,
    account_sid: String,
    auth_token: Secret,
}

/// A sink, and its subscription once there is one.
pub(super) struct Subscribed {
    pub(super) sink_sid: String,
    subscription_sid: Option<String>,
}

impl Rest {
    /// Speaks to the target's server.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub(super) fn new(target: &Target) -> anyhow::Result<Self> {
        let http = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self {
            http,
            base_url: target.base_url.trim_end_matches('/').to_owned(),
            account_sid: target.account_sid.clone(),
            auth_token: target.auth_token.clone(),
        })
    }

    /// Makes a plan's sink, which delivers to `destination`.
    ///
    /// # Errors
    /// What the server refuses.
    pub(super) async fn create_sink(
        &self,
        plan: &Plan,
        destination: &str,
    ) -> anyhow::Result<Subscribed> {
        let configuration =
            json!({"destination": destination, "method": "POST", "batch_events": plan.batched});
        let form = Serializer::new(String::new())
            .append_pair("Description", &format!("millrace demo, {}", plan.name))
            .append_pair("SinkConfiguration", &configuration.to_string())
            .append_pair("SinkType", "webhook")
            .finish();
        let answer = self.call(Method::POST, "/v1/Sinks", Some(form)).await?;
        Ok(Subscribed { sink_sid: sid(answer).await?, subscription_sid: None })
    }

    /// Subscribes a plan's sink to its types; gives the configuration that has it.
    ///
    /// # Errors
    /// What the server refuses.
    pub(super) async fn subscribe(
        &self,
        plan: &Plan,
        made: &mut Subscribed,
    ) -> anyhow::Result<Option<String>> {
        let mut form = Serializer::new(String::new());
        form.append_pair("Description", &format!("millrace demo, {}", plan.name));
        form.append_pair("SinkSid", &made.sink_sid);
        for name in plan.types {
            let wanted = match plan.version_of(name) {
                Some(version) => json!({"type": name, "schema_version": version}),
                None => json!({"type": name}),
            };
            form.append_pair("Types", &wanted.to_string());
        }
        let answer = self.call(Method::POST, "/v1/Subscriptions", Some(form.finish())).await?;
        let version = answer.headers().get(CONFIG_VERSION);
        let version = version.and_then(|value| value.to_str().ok()).map(str::to_owned);
        made.subscription_sid = Some(sid(answer).await?);
        Ok(version)
    }

    /// Deletes what was made.
    ///
    /// # Errors
    /// What the server refuses.
    pub(super) async fn remove(&self, made: &Subscribed) -> anyhow::Result<()> {
        if let Some(subscription) = &made.subscription_sid {
            self.call(Method::DELETE, &format!("/v1/Subscriptions/{subscription}"), None).await?;
        }
        self.call(Method::DELETE, &format!("/v1/Sinks/{}", made.sink_sid), None).await?;
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
    ) -> anyhow::Result<Response> {
        let url = format!("{}{path}", self.base_url);
        let mut request = self
            .http
            .request(method.clone(), &url)
            .basic_auth(&self.account_sid, Some(self.auth_token.reveal()));
        if let Some(form) = form {
            let form_type = "application/x-www-form-urlencoded";
            request = request.header(header::CONTENT_TYPE, form_type).body(form);
        }
        let answer = request.send().await.map_err(|e| failure::unreachable(&self.base_url, &e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        // The body of an error of `events/v1` says what is wrong.
        let body: Value = answer.json().await.unwrap_or_default();
        let message = body["message"].as_str().unwrap_or("no reason given");
        anyhow::bail!("`{method} {path}` was answered {status}: {message}")
    }
}

async fn sid(answer: Response) -> anyhow::Result<String> {
    let body: Value = answer.json().await.context("the answer is not JSON")?;
    body["sid"].as_str().map(str::to_owned).context("the answer has no `sid`")
}

/// Asks for the secret that a sink's requests are signed with, which `events/v1` does not have.
///
/// # Errors
/// What the server refuses.
pub(super) async fn signing_secret(target: &Target, sink_sid: &str) -> anyhow::Result<Secret> {
    let credentials =
        Credentials::Account { sid: target.account_sid.clone(), secret: target.auth_token.clone() };
    let connection = connect(&target.base_url, &credentials).await?;
    let request = v1::GetSinkRequest { sid: sink_sid.to_owned() };
    let found = SinkServiceClient::new(connection).get_sink(request).await;
    let found = found.map_err(|status| failure::explain(&status, "get the signing secret"))?;
    let sink = found.into_inner().sink.context("the server answered without the sink")?;
    Ok(Secret::new(sink.signing_secret))
}
