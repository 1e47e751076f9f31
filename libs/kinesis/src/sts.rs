//! The call that assumes a role.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_credential_types::{Credentials, provider::error::CredentialsError};
use aws_sdk_sts::{error::SdkError, operation::assume_role::AssumeRoleError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use millrace_domain::{arn::AwsPartition, outcome::Reason};
use millrace_sinks::in_full;
use tokio::time::timeout;

use crate::{
    own::Own,
    roles::{Asked, Assume, Grant, Refused, Role},
    verdict::{is_throttling, said},
};

/// How long a session is asked for: what every role allows, and the most that a role may get by another (STS, `AssumeRole`).
const SESSION_SECONDS: i32 = 3_600;
/// The least that a session is taken to last: clocks differ.
const LEAST_SECONDS: u64 = 60;
/// How long a role that refuses is not asked again.
const REFUSAL_HOLDS: Duration = Duration::from_secs(15);
/// How long STS is not asked again for a role when it cannot be reached or is busy.
const OUTAGE_HOLDS: Duration = Duration::from_secs(2);

pub(crate) struct Sts {
    own: Arc<Own>,
    deadline: Duration,
}

impl Sts {
    /// Of `deadline`, which is that of a whole delivery, it takes three fifths: records are to be put in what is left.
    pub(crate) fn new(own: Arc<Own>, deadline: Duration) -> Self {
        Self { own, deadline: deadline * 3 / 5 }
    }

    /// Who Millrace is to AWS; none: it cannot be told now.
    pub(crate) async fn principal(&self, partition: AwsPartition) -> Option<String> {
        let asking = async { self.own.sts(partition).await.get_caller_identity().send().await };
        timeout(self.deadline, asking).await.ok()?.ok()?.arn
    }
}

#[async_trait]
impl Assume for Sts {
    async fn assume(&self, role: &Role, asked: &Asked) -> Result<Grant, Refused> {
        let asking = async {
            let request = self.own.sts(role.partition).await.assume_role();
            let request = request.role_arn(&role.arn).external_id(role.external_id.reveal());
            let request = request.role_session_name(&asked.session_name);
            request.duration_seconds(SESSION_SECONDS).send().await
        };
        match timeout(self.deadline, asking).await {
            Ok(Ok(answer)) => match answer.credentials {
                Some(granted) => Ok(grant(&granted, asked.now_seconds)),
                None => Err(outage("the answer of STS has no credentials".to_owned())),
            },
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(outage(format!("no answer of STS within {:?}", self.deadline))),
        }
    }
}

/// What was granted. It lasts for as long as was asked for, unless less is said and the clocks agree enough to believe it.
fn grant(granted: &aws_sdk_sts::types::Credentials, now_seconds: i64) -> Grant {
    let asked = u64::from(SESSION_SECONDS.unsigned_abs());
    let told = u64::try_from(granted.expiration().secs() - now_seconds).unwrap_or(0);
    let lasts = if (LEAST_SECONDS..asked).contains(&told) { told } else { asked };
    // Without an end: whether they are still good is not for the SDK to decide by its clock.
    let credentials = Credentials::new(
        granted.access_key_id(),
        granted.secret_access_key(),
        Some(granted.session_token().to_owned()),
        None,
        "millrace",
    );
    Grant { credentials, lasts: Duration::from_secs(lasts) }
}

fn refused(error: &SdkError<AssumeRoleError>) -> Refused {
    if is_without_credentials(error) {
        let detail =
            "Millrace has no AWS credentials to assume roles with: a matter of its operator";
        return Refused { detail: detail.to_owned(), ..outage(String::new()) };
    }
    let SdkError::ServiceError(answer) = error else {
        return outage(format!("STS cannot be asked for the role: {}", in_full(error)));
    };
    let status = answer.raw().status().as_u16();
    let detail = format!("the role cannot be assumed: {}", said(error));
    if error.code().is_some_and(is_throttling) || status == 429 {
        return Refused { reason: Reason::Throttled, ..outage(detail) };
    }
    let keep = if status >= 500 { OUTAGE_HOLDS } else { REFUSAL_HOLDS };
    Refused { reason: Reason::AssumeRole, detail, keep }
}

fn outage(detail: String) -> Refused {
    Refused { reason: Reason::AssumeRole, detail, keep: OUTAGE_HOLDS }
}

/// Tells whether the default chain of AWS found nothing.
fn is_without_credentials(error: &SdkError<AssumeRoleError>) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
