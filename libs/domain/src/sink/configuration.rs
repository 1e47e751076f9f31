//! Where a sink's events go: what each type is configured by, and how that is read from outside.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::SinkType;
use crate::{Refusal, Secret};

mod cloudevents;
mod destination;
mod fields;
mod file;
mod kinesis;
mod segment;
mod webhook;

use self::fields::Fields;
pub use self::{
    cloudevents::CloudEventsMode, destination::DESTINATION_MAX_BYTES, file::FILE_PATH_MAX_BYTES,
    kinesis::KinesisPartitionKey, segment::SegmentRegion, webhook::WebhookMethod,
};

/// Where a sink's events go. The first three variants mirror `sink_configuration` of `events/v1`.
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
        /// ARN of the stream; [`crate::arn::StreamArn`] reads it.
        arn: String,
        /// ARN of the role to assume: nothing is written without one.
        role_arn: String,
        /// External id of the trust policy.
        external_id: Secret,
        /// What spreads records over shards.
        #[serde(default)]
        partition_key: KinesisPartitionKey,
    },
    /// A Segment source.
    Segment {
        /// Write key of the source.
        write_key: Secret,
        /// Where the workspace is.
        #[serde(default)]
        region: SegmentRegion,
    },
    /// An HTTP receiver of CloudEvents (HTTP Protocol Binding 1.0.2).
    #[serde(rename = "cloudevents")]
    CloudEvents {
        /// Absolute `http` or `https` URL; may carry `user:password@`, which becomes Basic auth.
        destination: Secret,
        /// Where in a request an event's attributes are.
        mode: CloudEventsMode,
        /// Whether a request may carry several events (JSON batch format); structured mode only.
        batch_events: bool,
    },
    /// A file of JSON Lines, under the operator's root and there in a folder of the account.
    File {
        /// Relative path, such as `audit/events.jsonl`.
        path: String,
    },
}

impl SinkConfiguration {
    /// The type this configures.
    pub fn sink_type(&self) -> SinkType {
        match self {
            Self::Webhook { .. } => SinkType::Webhook,
            Self::Kinesis { .. } => SinkType::Kinesis,
            Self::Segment { .. } => SinkType::Segment,
            Self::CloudEvents { .. } => SinkType::CloudEvents,
            Self::File { .. } => SinkType::File,
        }
    }

    /// The URL that the account chose, where it chose one: what the address guard looks at.
    pub fn destination(&self) -> Option<&Secret> {
        match self {
            Self::Webhook { destination, .. } | Self::CloudEvents { destination, .. } => {
                Some(destination)
            }
            Self::Kinesis { .. } | Self::Segment { .. } | Self::File { .. } => None,
        }
    }

    /// Reads `SinkType` and the text of `SinkConfiguration`, a JSON object.
    ///
    /// # Errors
    /// A [`Refusal`] whose field is `SinkType`, `SinkConfiguration` or `SinkConfiguration.<key>`. Whether a
    /// destination may be delivered to is for [`crate::destination`] to say.
    pub fn parse(sink_type: &str, json: &str) -> Result<Self, Refusal> {
        let sink_type = known_type(sink_type)?;
        let value = serde_json::from_str::<Value>(json).map_err(|error| {
            Refusal::invalid("SinkConfiguration", format!("is not JSON: {error}"))
        })?;
        let Value::Object(fields) = value else {
            return Err(Refusal::invalid("SinkConfiguration", "must be a JSON object"));
        };
        Self::read(sink_type, fields)
    }

    /// Reads the fields of `SinkConfiguration`.
    ///
    /// # Errors
    /// A [`Refusal`] whose field is `SinkConfiguration.<key>`.
    pub fn read(sink_type: SinkType, fields: Map<String, Value>) -> Result<Self, Refusal> {
        let mut fields = Fields::of(fields);
        let configuration = match sink_type {
            SinkType::Webhook => webhook::read(&mut fields),
            SinkType::Kinesis => kinesis::read(&mut fields),
            SinkType::Segment => segment::read(&mut fields),
            SinkType::CloudEvents => cloudevents::read(&mut fields),
            SinkType::File => file::read(&mut fields),
        }?;
        fields.end(sink_type)?;
        Ok(configuration)
    }

    /// The `sink_configuration` object of the REST resource, secrets included, as Event Streams echoes it. What extends
    /// `events/v1` and was not asked for is left out.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Webhook { destination, method, batch_events } => json!({
                "destination": destination.reveal(), "method": method.as_str(), "batch_events": batch_events,
            }),
            Self::Kinesis { arn, role_arn, external_id, partition_key } => {
                let mut shown = json!({
                    "arn": arn, "role_arn": role_arn, "external_id": external_id.reveal(),
                });
                if *partition_key != KinesisPartitionKey::default() {
                    shown["partition_key"] = partition_key.as_str().into();
                }
                shown
            }
            Self::Segment { write_key, region } => {
                let mut shown = json!({ "write_key": write_key.reveal() });
                if *region != SegmentRegion::default() {
                    shown["region"] = region.as_str().into();
                }
                shown
            }
            Self::CloudEvents { destination, mode, batch_events } => json!({
                "destination": destination.reveal(), "mode": mode.as_str(), "batch_events": batch_events,
            }),
            Self::File { path } => json!({ "path": path }),
        }
    }
}

fn known_type(word: &str) -> Result<SinkType, Refusal> {
    if let Some(found) = SinkType::ALL.into_iter().find(|known| known.as_str() == word) {
        return Ok(found);
    }
    let words = SinkType::ALL.map(|known| format!("`{}`", known.as_str())).join(", ");
    let message = match word {
        "email" => format!("cannot be `email`, which Event Streams gave up; it is one of {words}"),
        _ => format!("must be one of {words}"),
    };
    Err(Refusal::invalid("SinkType", message))
}

#[cfg(test)]
mod tests;
