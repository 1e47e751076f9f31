//! What a sink's configuration says: which stream, by which role.

use millrace_domain::{
    SinkConfiguration,
    arn::{RoleArn, StreamArn},
    outcome::{Outcome, Reason},
    sink::KinesisPartitionKey,
};
use millrace_sinks::SinkSpec;

use crate::roles::Role;

/// Where records go, and who may put them there.
pub(crate) struct Target {
    pub(crate) arn: String,
    pub(crate) region: String,
    pub(crate) role: Role,
    pub(crate) partition_key: KinesisPartitionKey,
}

/// Why nothing can be sent to a sink.
pub(crate) struct Unusable {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

impl Target {
    /// Reads a sink's configuration.
    pub(crate) fn of(sink: &SinkSpec) -> Result<Self, Unusable> {
        let SinkConfiguration::Kinesis { arn, role_arn, external_id, partition_key } =
            &sink.configuration
        else {
            return Err(Unusable {
                outcome: Outcome::Discard { reason: Reason::Configuration },
                detail: "the sink is not one of Kinesis".to_owned(),
            });
        };
        let stream = StreamArn::parse(arn).map_err(|wrong| Unusable {
            outcome: Outcome::Discard { reason: Reason::Stream },
            detail: format!("the ARN of the stream {wrong}: make a sink with a valid one"),
        })?;
        let role = RoleArn::parse(role_arn).ok().filter(|_| !external_id.reveal().is_empty());
        let Some(role) = role else {
            return Err(Unusable {
                outcome: Outcome::Retry { reason: Reason::AssumeRole, after: None },
                detail: "the sink has no role with an external id, and nothing is sent without one"
                    .to_owned(),
            });
        };
        let role = Role {
            arn: role_arn.clone(),
            external_id: external_id.clone(),
            partition: role.partition,
        };
        let (arn, region) = (arn.clone(), stream.region);
        Ok(Self { arn, region, role, partition_key: *partition_key })
    }

    /// What no text for people may have.
    pub(crate) fn secrets(&self) -> [String; 1] {
        [self.role.external_id.reveal().to_owned()]
    }
}
