//! Configurations of sinks on the wire, read by the same rules as REST's JSON.

use millrace_domain::{
    Refusal, SinkConfiguration, SinkType,
    sink::{CloudEventsMode, KinesisPartitionKey, SegmentRegion, WebhookMethod},
};
use serde_json::{Value, json};

use crate::v1::{self, sink::Configuration};

impl Configuration {
    /// The type it is of.
    pub fn sink_type(&self) -> SinkType {
        match self {
            Self::Webhook(_) => SinkType::Webhook,
            Self::Kinesis(_) => SinkType::Kinesis,
            Self::Segment(_) => SinkType::Segment,
            Self::Cloudevents(_) => SinkType::CloudEvents,
            Self::File(_) => SinkType::File,
        }
    }

    /// The `sink_configuration` object of REST, whatever it holds; what is not said is left out.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Webhook(webhook) => json!({
                "destination": webhook.destination,
                "method": match webhook.method() {
                    v1::WebhookMethod::Get => WebhookMethod::Get,
                    v1::WebhookMethod::Post | v1::WebhookMethod::Unspecified => WebhookMethod::Post,
                }.as_str(),
                "batch_events": webhook.batch_events,
            }),
            Self::Kinesis(kinesis) => with(
                json!({
                    "arn": kinesis.arn, "role_arn": kinesis.role_arn, "external_id": kinesis.external_id,
                }),
                "partition_key",
                partition_key(kinesis.partition_key()).map(KinesisPartitionKey::as_str),
            ),
            Self::Segment(segment) => with(
                json!({ "write_key": segment.write_key }),
                "region",
                region(segment.region()).map(SegmentRegion::as_str),
            ),
            Self::Cloudevents(receiver) => json!({
                "destination": receiver.destination,
                "mode": match receiver.mode() {
                    v1::CloudEventsMode::Binary => CloudEventsMode::Binary,
                    v1::CloudEventsMode::Structured | v1::CloudEventsMode::Unspecified => {
                        CloudEventsMode::Structured
                    }
                }.as_str(),
                "batch_events": receiver.batch_events,
            }),
            Self::File(file) => json!({ "path": file.path }),
        }
    }
}

fn with(mut fields: Value, key: &str, word: Option<&str>) -> Value {
    if let Some(word) = word {
        fields[key] = word.into();
    }
    fields
}

fn partition_key(wire: v1::KinesisPartitionKey) -> Option<KinesisPartitionKey> {
    match wire {
        v1::KinesisPartitionKey::Unspecified => None,
        v1::KinesisPartitionKey::Id => Some(KinesisPartitionKey::Id),
        v1::KinesisPartitionKey::Account => Some(KinesisPartitionKey::Account),
        v1::KinesisPartitionKey::Type => Some(KinesisPartitionKey::Type),
        v1::KinesisPartitionKey::Subject => Some(KinesisPartitionKey::Subject),
    }
}

fn region(wire: v1::SegmentRegion) -> Option<SegmentRegion> {
    match wire {
        v1::SegmentRegion::Unspecified => None,
        v1::SegmentRegion::Us => Some(SegmentRegion::Us),
        v1::SegmentRegion::Eu => Some(SegmentRegion::Eu),
    }
}

impl From<&SinkConfiguration> for Configuration {
    fn from(configuration: &SinkConfiguration) -> Self {
        match configuration {
            SinkConfiguration::Webhook { destination, method, batch_events } => {
                Self::Webhook(v1::WebhookConfiguration {
                    destination: destination.reveal().to_owned(),
                    method: match method {
                        WebhookMethod::Get => v1::WebhookMethod::Get.into(),
                        WebhookMethod::Post => v1::WebhookMethod::Post.into(),
                    },
                    batch_events: *batch_events,
                })
            }
            SinkConfiguration::Kinesis { arn, role_arn, external_id, partition_key } => {
                let partition_key = match partition_key {
                    KinesisPartitionKey::Id => v1::KinesisPartitionKey::Id,
                    KinesisPartitionKey::Account => v1::KinesisPartitionKey::Account,
                    KinesisPartitionKey::Type => v1::KinesisPartitionKey::Type,
                    KinesisPartitionKey::Subject => v1::KinesisPartitionKey::Subject,
                };
                Self::Kinesis(v1::KinesisConfiguration {
                    arn: arn.clone(),
                    role_arn: role_arn.clone(),
                    external_id: external_id.reveal().to_owned(),
                    partition_key: partition_key.into(),
                })
            }
            SinkConfiguration::Segment { write_key, region } => {
                let region = match region {
                    SegmentRegion::Us => v1::SegmentRegion::Us,
                    SegmentRegion::Eu => v1::SegmentRegion::Eu,
                };
                let write_key = write_key.reveal().to_owned();
                Self::Segment(v1::SegmentConfiguration { write_key, region: region.into() })
            }
            SinkConfiguration::CloudEvents { destination, mode, batch_events } => {
                let mode = match mode {
                    CloudEventsMode::Structured => v1::CloudEventsMode::Structured,
                    CloudEventsMode::Binary => v1::CloudEventsMode::Binary,
                };
                Self::Cloudevents(v1::CloudEventsConfiguration {
                    destination: destination.reveal().to_owned(),
                    mode: mode.into(),
                    batch_events: *batch_events,
                })
            }
            SinkConfiguration::File { path } => {
                Self::File(v1::FileConfiguration { path: path.clone() })
            }
        }
    }
}

impl TryFrom<&Configuration> for SinkConfiguration {
    type Error = Refusal;

    /// Reads and checks a configuration; a refusal names its field as `sink.<type>.<key>`.
    fn try_from(configuration: &Configuration) -> Result<Self, Refusal> {
        let sink_type = configuration.sink_type();
        let Value::Object(fields) = configuration.to_json() else {
            unreachable!("a configuration is an object");
        };
        Self::read(sink_type, fields).map_err(|refusal| {
            let place = format!("sink.{}", sink_type.as_str());
            let field = refusal.field.replacen("SinkConfiguration", &place, 1);
            Refusal { field, ..refusal }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_wire() {
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/events";
        let role = "arn:aws:iam::111122223333:role/write";
        for (sink_type, json) in [
            ("webhook", json!({"destination": "https://u:p@e.example/x", "method": "GET"})),
            ("kinesis", json!({"arn": arn, "role_arn": role, "external_id": "ab"})),
            (
                "kinesis",
                json!({"arn": arn, "role_arn": role, "external_id": "ab", "partition_key": "subject"}),
            ),
            ("segment", json!({"write_key": "abcdefghij", "region": "eu"})),
            ("cloudevents", json!({"destination": "https://e.example/x", "batch_events": true})),
            ("cloudevents", json!({"destination": "https://e.example/x", "mode": "binary"})),
            ("file", json!({"path": "audit/events.jsonl"})),
        ] {
            let ours = SinkConfiguration::parse(sink_type, &json.to_string()).expect(sink_type);
            let wire = Configuration::from(&ours);
            assert_eq!(SinkConfiguration::try_from(&wire).expect("the same rules"), ours);
            assert_eq!(wire.sink_type().as_str(), sink_type);
        }
    }

    #[test]
    fn a_refusal_names_the_field_of_the_wire() {
        let wire = Configuration::Kinesis(v1::KinesisConfiguration {
            arn: "arn:aws:kinesis:eu-west-1:111122223333:stream/events".to_owned(),
            ..v1::KinesisConfiguration::default()
        });
        let refusal = SinkConfiguration::try_from(&wire).expect_err("no role");
        assert_eq!(refusal.field, "sink.kinesis.role_arn");
    }
}
