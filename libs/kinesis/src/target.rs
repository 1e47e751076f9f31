//! What a sink's configuration says: which stream, by which role.

use millrace_domain::{
    SinkConfiguration,
    arn::{RoleAccounts, RoleArn, StreamArn},
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
    /// Reads a sink's configuration; its role must be of one of `accounts`.
    pub(crate) fn of(sink: &SinkSpec, accounts: &RoleAccounts) -> Result<Self, Unusable> {
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
        let unassumable = |detail: String| {
            let outcome = Outcome::Retry { reason: Reason::AssumeRole, after: None };
            Unusable { outcome, detail }
        };
        let without = "the sink has no role with an external id, and nothing is sent without one";
        let role = role.ok_or_else(|| unassumable(without.to_owned()))?;
        accounts.check(&role).map_err(|wrong| unassumable(format!("the role {wrong}")))?;
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
