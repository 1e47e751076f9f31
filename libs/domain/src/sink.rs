//! Sinks: what they are, their limits, and how their configuration is read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::{AccountSid, Refusal, Secret, SinkSid, Timestamp};

pub mod delivery;
mod update;

pub use self::{delivery::SinkDelivery, update::SinkUpdate};

/// Most sinks an account or subaccount may have (Twilio Event Streams, "Limits").
pub const SINKS_PER_ACCOUNT: u32 = 100;
/// Longest description, in bytes.
pub const DESCRIPTION_MAX_BYTES: usize = 1_024;
/// How long delivery of an event is tried, from its acceptance (Twilio Event Streams: 4 hours).
pub const DELIVERY_WINDOW: Duration = Duration::from_secs(4 * 3600);
/// Longest destination URL, in bytes: what common servers take.
pub const DESTINATION_MAX_BYTES: usize = 2_048;

/// The kinds of sink of Event Streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkType {
    /// An HTTP receiver.
    Webhook,
    /// An Amazon Kinesis data stream.
    Kinesis,
    /// A Segment source.
    Segment,
}

impl SinkType {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Kinesis => "kinesis",
            Self::Segment => "segment",
        }
    }
}

/// Whether a sink is believed to work. It informs; delivery goes by the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkStatus {
    /// Known to the spec, never set by Millrace.
    Initialized,
    /// Known to the spec, never set by Millrace.
    Validating,
    /// The normal state, from creation.
    Active,
    /// Without one success for its whole window, or it answered 410.
    Failed,
}

impl SinkStatus {
    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::Validating => "validating",
            Self::Active => "active",
            Self::Failed => "failed",
        }
    }
}

/// The method of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WebhookMethod {
    /// The events as query parameters, one a request.
    Get,
    /// The events as a JSON array.
    Post,
}

impl WebhookMethod {
    /// `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Where a sink's events go. The variants mirror `sink_configuration` of `events/v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "sink_type", rename_all = "snake_case")]
pub enum SinkConfiguration {
    /// An HTTP receiver.
    Webhook {
        /// Absolute `http` or `https` URL; may carry `user:password@`, which becomes Basic auth.
        destination: Secret,
        /// How it is called.
        method: WebhookMethod,
        /// Whether a request may carry several events (up to 64 kB).
        batch_events: bool,
    },
    /// An Amazon Kinesis data stream.
    Kinesis {
        /// ARN of the stream.
        arn: String,
        /// Role to assume.
        role_arn: String,
        /// External id of the trust policy.
        external_id: Secret,
    },
    /// A Segment source.
    Segment {
        /// Write key of the source.
        write_key: Secret,
    },
}

impl SinkConfiguration {
    /// The type this configures.
    pub fn sink_type(&self) -> SinkType {
        match self {
            Self::Webhook { .. } => SinkType::Webhook,
            Self::Kinesis { .. } => SinkType::Kinesis,
            Self::Segment { .. } => SinkType::Segment,
        }
    }

    /// Reads `SinkType` and the text of `SinkConfiguration`, a JSON object.
    ///
    /// # Errors
    /// A [`Refusal`] whose field is `SinkType`, `SinkConfiguration` or `SinkConfiguration.<key>`. Whether a
    /// destination may be delivered to is for [`crate::destination`] to say.
    pub fn parse(sink_type: &str, json: &str) -> Result<Self, Refusal> {
        let value = serde_json::from_str::<Value>(json).map_err(|error| {
            Refusal::invalid("SinkConfiguration", format!("is not JSON: {error}"))
        })?;
        let Value::Object(mut fields) = value else {
            return Err(Refusal::invalid("SinkConfiguration", "must be a JSON object"));
        };
        let configuration = match sink_type {
            "webhook" => webhook(&mut fields)?,
            "kinesis" | "segment" => {
                return Err(Refusal::invalid(
                    "SinkType",
                    format!("`{sink_type}` sinks are not built yet; use `webhook`"),
                ));
            }
            _ => return Err(Refusal::invalid("SinkType", "must be `webhook`")),
        };
        match fields.keys().next() {
            Some(key) => Err(Refusal::invalid(
                format!("SinkConfiguration.{key}"),
                format!("is not a setting of a {sink_type} sink"),
            )),
            None => Ok(configuration),
        }
    }

    /// The `sink_configuration` object of the REST resource, secrets included, as Event Streams echoes it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Webhook { destination, method, batch_events } => serde_json::json!({
                "destination": destination.reveal(), "method": method.as_str(), "batch_events": batch_events,
            }),
            Self::Kinesis { arn, role_arn, external_id } => serde_json::json!({
                "arn": arn, "role_arn": role_arn, "external_id": external_id.reveal(),
            }),
            Self::Segment { write_key } => serde_json::json!({ "write_key": write_key.reveal() }),
        }
    }
}

/// A destination that events are delivered to; owned by one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// `DG…`.
    pub sid: SinkSid,
    /// Whose it is.
    pub account: AccountSid,
    /// For people.
    pub description: String,
    /// Where events go.
    pub configuration: SinkConfiguration,
    /// How it asks to be delivered to.
    #[serde(default)]
    pub delivery: SinkDelivery,
    /// Whether it is believed to work.
    pub status: SinkStatus,
    /// Standard Webhooks secret, `whsec_` + Base64 of 24 random bytes; made at creation.
    pub signing_secret: Secret,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Checks a description: not empty, at most [`DESCRIPTION_MAX_BYTES`], text that every database holds.
///
/// # Errors
/// A [`Refusal`] of field `Description`.
pub fn check_description(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::invalid("Description", "must not be empty"));
    }
    if text.len() > DESCRIPTION_MAX_BYTES {
        return Err(Refusal::too_large(
            "Description",
            format!("is longer than {DESCRIPTION_MAX_BYTES} bytes"),
        ));
    }
    if text.contains('\0') {
        return Err(Refusal::invalid("Description", "must not have the character NUL"));
    }
    Ok(())
}

fn webhook(fields: &mut Map<String, Value>) -> Result<SinkConfiguration, Refusal> {
    let destination = match fields.remove("destination") {
        Some(Value::String(text)) if !text.is_empty() => text,
        None | Some(Value::String(_)) => {
            return Err(Refusal::invalid(
                "SinkConfiguration.destination",
                "is required: the URL to deliver to",
            ));
        }
        Some(_) => {
            return Err(Refusal::invalid("SinkConfiguration.destination", "must be a string"));
        }
    };
    check_destination(&destination)?;
    let method = match fields.remove("method") {
        None => WebhookMethod::Post,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("POST") => WebhookMethod::Post,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("GET") => WebhookMethod::Get,
        Some(_) => {
            return Err(Refusal::invalid("SinkConfiguration.method", "must be `POST` or `GET`"));
        }
    };
    let batch_events = match fields.remove("batch_events") {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => {
            return Err(Refusal::invalid(
                "SinkConfiguration.batch_events",
                "must be true or false",
            ));
        }
    };
    Ok(SinkConfiguration::Webhook { destination: Secret::new(destination), method, batch_events })
}

fn check_destination(destination: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::invalid("SinkConfiguration.destination", message));
    if destination.len() > DESTINATION_MAX_BYTES {
        return Err(Refusal::too_large(
            "SinkConfiguration.destination",
            format!("is longer than {DESTINATION_MAX_BYTES} bytes"),
        ));
    }
    let Ok(url) = Url::parse(destination) else {
        return refuse("is not a URL such as `https://example.com/events`");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return refuse(
            "must be an absolute URL with a host and `https`, or `http` where the operator allows it",
        );
    }
    if url.fragment().is_some() {
        return refuse("must not have a fragment (`#…`): connection overrides are not supported");
    }
    if url.query_pairs().any(|(name, _)| name == "bodySHA256") {
        return refuse("must not have a query parameter `bodySHA256`: signing adds it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sink_type: &str, json: &str) -> String {
        SinkConfiguration::parse(sink_type, json).expect_err(json).field
    }

    #[test]
    fn reads_a_webhook() {
        let read = SinkConfiguration::parse(
            "webhook",
            r#"{"destination":"https://u:p@e.example/x?a=1","method":"get","batch_events":true}"#,
        );
        assert_eq!(
            read.expect("valid").to_json(),
            serde_json::json!({"destination":"https://u:p@e.example/x?a=1","method":"GET","batch_events":true})
        );
        let least = SinkConfiguration::parse("webhook", r#"{"destination":"https://e.example/x"}"#)
            .expect("valid");
        assert_eq!(
            least.to_json(),
            serde_json::json!({"destination":"https://e.example/x","method":"POST","batch_events":false})
        );
    }

    #[test]
    fn a_refusal_names_its_field() {
        assert_eq!(refused("email", "{}"), "SinkType");
        assert_eq!(refused("kinesis", "{}"), "SinkType");
        assert_eq!(refused("webhook", "{"), "SinkConfiguration");
        assert_eq!(refused("webhook", "[]"), "SinkConfiguration");
        assert_eq!(refused("webhook", "{}"), "SinkConfiguration.destination");
        for url in [
            "",
            "x",
            "ftp://a/b",
            "https://",
            "https://a/b#rc=2",
            "https://a/?bodySHA256=x",
            "mailto:a@b",
        ] {
            assert_eq!(
                refused("webhook", &format!(r#"{{"destination":"{url}"}}"#)),
                "SinkConfiguration.destination",
                "{url}"
            );
        }
        assert_eq!(
            refused("webhook", r#"{"destination":"https://a/","method":"PUT"}"#),
            "SinkConfiguration.method"
        );
        assert_eq!(
            refused("webhook", r#"{"destination":"https://a/","batch_events":"yes"}"#),
            "SinkConfiguration.batch_events"
        );
        assert_eq!(
            refused("webhook", r#"{"destination":"https://a/","batch":true}"#),
            "SinkConfiguration.batch"
        );
    }
}
