//! The configuration of an Amazon Kinesis data stream.

use serde::{Deserialize, Serialize};

use super::{
    SinkConfiguration,
    fields::{Fields, refused},
};
use crate::{
    Refusal, Secret,
    arn::{RoleArn, StreamArn},
};

/// Shortest and longest external id (AWS STS, `AssumeRole`).
const EXTERNAL_ID_BYTES: std::ops::RangeInclusive<usize> = 2..=1_224;

/// What of an event is the partition key of its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KinesisPartitionKey {
    /// The event's `id`: spreads evenly.
    #[default]
    Id,
    /// The account: all its events in one shard.
    Account,
    /// The event's `type`.
    Type,
    /// The event's `subject`; where it has none, its `id`.
    Subject,
}

impl KinesisPartitionKey {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::Id, Self::Account, Self::Type, Self::Subject];

    /// The word as REST and storage spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Account => "account",
            Self::Type => "type",
            Self::Subject => "subject",
        }
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let arn = fields.text("arn", "the ARN of the stream")?;
    let stream = StreamArn::parse(&arn).map_err(|wrong| refused("arn", wrong.to_string()))?;
    let role_arn = fields.text("role_arn", "the ARN of the role to assume")?;
    let role = RoleArn::parse(&role_arn).map_err(|wrong| refused("role_arn", wrong.to_string()))?;
    if role.partition != stream.partition {
        let message =
            "is of another AWS partition than the stream: no role reaches from one to the other";
        return Err(refused("role_arn", message));
    }
    let external_id =
        fields.text("external_id", "the external id that the role's trust policy asks for")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    if !EXTERNAL_ID_BYTES.contains(&external_id.len()) || !external_id.bytes().all(allowed) {
        let message = "must be 2 to 1,224 letters, digits and `_+=,.@:/-`";
        return Err(refused("external_id", message));
    }
    let keys = KinesisPartitionKey::ALL.map(|key| (key.as_str(), key));
    let partition_key = fields.word("partition_key", &keys)?;
    let external_id = Secret::new(external_id);
    Ok(SinkConfiguration::Kinesis { arn, role_arn, external_id, partition_key })
}
