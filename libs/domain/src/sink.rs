//! Sinks: what they are, their limits, and how their configuration is read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AccountSid, Refusal, Secret, SinkSid, Timestamp};

mod configuration;
pub mod delivery;
pub mod headers;
mod update;

pub use self::{
    configuration::{
        CloudEventsMode, DESTINATION_MAX_BYTES, FILE_PATH_MAX_BYTES, KinesisPartitionKey,
        SegmentRegion, SinkConfiguration, WebhookMethod,
    },
    delivery::SinkDelivery,
    headers::Headers,
    update::SinkUpdate,
};

/// Most sinks an account or subaccount may have (Twilio Event Streams, "Limits").
pub const SINKS_PER_ACCOUNT: u32 = 100;
/// Longest description, in bytes.
pub const DESCRIPTION_MAX_BYTES: usize = 1_024;
/// How long delivery of an event is tried, from its acceptance (Twilio Event Streams: 4 hours).
pub const DELIVERY_WINDOW: Duration = Duration::from_secs(4 * 3600);

/// The kinds of sink: those of Event Streams, and two of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkType {
    /// An HTTP receiver.
    Webhook,
    /// An Amazon Kinesis data stream.
    Kinesis,
    /// A Segment source.
    Segment,
    /// An HTTP receiver of CloudEvents.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// A file of JSON Lines on the deliverer's disk.
    File,
}

impl SinkType {
    /// Every type, in the order they are told of.
    pub const ALL: [Self; 5] =
        [Self::Webhook, Self::Kinesis, Self::Segment, Self::CloudEvents, Self::File];

    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Kinesis => "kinesis",
            Self::Segment => "segment",
            Self::CloudEvents => "cloudevents",
            Self::File => "file",
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
    /// What its requests carry beside what Millrace says; only sinks that are spoken to over HTTP have them.
    #[serde(default)]
    pub headers: Headers,
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
