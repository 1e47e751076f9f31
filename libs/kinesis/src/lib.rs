//! Amazon Kinesis data streams as sinks: a role of the sink's owner is assumed, events are put as records.
//!
//! A leaf crate, so that only what needs AWS builds AWS. The invariant: **nothing is ever sent with Millrace's own
//! credentials but the request to assume a sink's role, with the sink's external id.** A sink without a role, or without an
//! external id, gets nothing.
//!
//! | question | file |
//! |---|---|
//! | what does a sink's configuration say? | `target` |
//! | who is Millrace to AWS, and how is AWS reached? | `own` |
//! | whose credentials are at hand? | `roles`, `sts` |
//! | what is a record? | `records` |
//! | what does an answer mean? | `verdict` |
//! | what does a test of a sink tell? | `examine` |
//!
//! The SDK never retries: that is the deliverer's business. It logs nothing either, for at its most talkative it shows
//! requests, headers included.

mod examine;
mod own;
mod records;
mod roles;
mod sts;
mod target;
mod verdict;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_kinesis::config::Builder;
use millrace_domain::{
    Secret,
    arn::RoleAccounts,
    outcome::{Outcome, Reason},
};
use millrace_sinks::{Attempt, BatchLimits, Delivery, Driver, Examination, SinkSpec};
use tokio::time::{Instant, timeout};
use tracing::{Dispatch, instrument::WithSubscriber};

use self::{
    own::Own,
    records::Batch,
    roles::{Asked, Roles, Session},
    sts::Sts,
    target::Target,
    verdict::Verdict,
};

/// Most records of a request (Kinesis, `PutRecords`).
const RECORDS_MAX: usize = 500;
/// Most bytes of the events of a request: what a shard takes in a second, far from what every stream takes at once, partition keys
/// included (Kinesis, `PutRecords`: 5 MiB, of late 10 MiB).
const REQUEST_MAX_BYTES: usize = 1024 * 1024;
/// Most bytes of a record that a stream takes unless it is told otherwise (Kinesis, `UpdateMaxRecordSize`: from 1 MiB on).
const RECORD_MAX_BYTES: usize = 1024 * 1024;

/// How AWS is reached; all of it the operator's to say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Kinesis is, instead of where AWS has it for the stream's region.
    pub endpoint: Option<String>,
    /// The same of STS.
    pub sts_endpoint: Option<String>,
    /// Longest time of a delivery, from its start to the end of the answer, the assumption of a role included.
    pub deadline: Duration,
    /// Most bytes of a record, its partition key included.
    pub record_max_bytes: usize,
    /// Whose roles are assumed.
    pub role_accounts: RoleAccounts,
    /// What Millrace assumes roles with; none: what the default chain of AWS finds (environment, profile, web identity,
    /// container, instance).
    pub key: Option<AccessKey>,
}

/// An access key of AWS.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: String,
    /// The secret that goes with it.
    pub secret: Secret,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            sts_endpoint: None,
            deadline: Duration::from_secs(5),
            record_max_bytes: RECORD_MAX_BYTES,
            role_accounts: RoleAccounts::default(),
            key: None,
        }
    }
}

/// Delivers to Kinesis data streams.
pub struct Kinesis {
    own: Arc<Own>,
    roles: Roles<Sts>,
    role_accounts: RoleAccounts,
    deadline: Duration,
    record_max_bytes: usize,
}

impl Kinesis {
    /// A driver with connections and sessions of its own. Touches neither network nor files before it is used.
    pub fn new(options: Options) -> Self {
        let Options { deadline, record_max_bytes, .. } = options;
        let role_accounts = options.role_accounts.clone();
        let own = Arc::new(Own::new(options));
        let roles = Roles::new(Sts::new(Arc::clone(&own), deadline));
        Self { own, roles, role_accounts, deadline, record_max_bytes }
    }

    /// Puts what `batch` has left; within the deadline.
    async fn put(&self, target: &Target, batch: &Batch<'_>, asked: &Asked) -> Verdict {
        let putting = async {
            let session = match self.roles.session(&target.role, asked).await {
                Ok(session) => session,
                Err(refused) => return Verdict::refused(refused, batch.len()),
            };
            let verdict = self.send(target, batch, &session).await;
            if !verdict.is_stale {
                return verdict;
            }
            // Nothing was written: credentials that AWS no longer takes are renewed once, at once.
            self.roles.forget(&target.role, &session);
            match self.roles.session(&target.role, asked).await {
                Ok(session) => self.send(target, batch, &session).await,
                Err(refused) => Verdict::refused(refused, batch.len()),
            }
        };
        match timeout(self.deadline, putting).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::late(self.deadline, batch.len()),
        }
    }

    async fn send(&self, target: &Target, batch: &Batch<'_>, session: &Session) -> Verdict {
        let client = self.own.kinesis(&target.region).await;
        let with = Builder::new().credentials_provider(session.credentials.clone());
        let request =
            client.put_records().stream_arn(&target.arn).set_records(Some(batch.records()));
        match request.customize().config_override(with).send().await {
            Ok(answer) => Verdict::of_answer(answer.records(), batch.len()),
            Err(error) => Verdict::of_error(&error, batch),
        }
    }

    async fn attempt(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt {
        let started = Instant::now();
        let target = match Target::of(sink, &self.role_accounts) {
            Ok(target) => target,
            Err(refused) => {
                return Attempt {
                    outcomes: vec![refused.outcome; batch.len()],
                    http_status: None,
                    duration: started.elapsed(),
                    detail: refused.detail,
                };
            }
        };
        let (batch, too_large) =
            Batch::of(batch, target.partition_key, sink.account, self.record_max_bytes);
        let asked = Asked { session_name: format!("millrace-{}", sink.sid), now_seconds };
        let verdict = match batch.len() {
            0 => Verdict::nothing(),
            _ => self.put(&target, &batch, &asked).await,
        };
        let mut detail = verdict.detail;
        if !too_large.is_empty() {
            let most = self.record_max_bytes;
            let said = format!(
                "{} events are larger than a record may be ({most} bytes)",
                too_large.len()
            );
            detail = if detail.is_empty() { said } else { format!("{said}; {detail}") };
        }
        let mut outcomes = verdict.outcomes;
        for at in too_large {
            outcomes.insert(at, Outcome::Discard { reason: Reason::Configuration });
        }
        Attempt {
            outcomes,
            http_status: verdict.http_status,
            duration: started.elapsed(),
            detail: millrace_sinks::clean_text(detail.as_bytes(), &target.secrets()),
        }
    }
}

#[async_trait]
impl Driver for Kinesis {
    fn limits(&self, _: &SinkSpec) -> BatchLimits {
        BatchLimits { events: RECORDS_MAX, bytes: REQUEST_MAX_BYTES }
    }

    async fn deliver(&self, sink: &SinkSpec, batch: &[Delivery], now_seconds: i64) -> Attempt {
        self.attempt(sink, batch, now_seconds).with_subscriber(Dispatch::none()).await
    }

    async fn examine(&self, sink: &SinkSpec, event: &Delivery, now_seconds: i64) -> Examination {
        self.look_and_send(sink, event, now_seconds).with_subscriber(Dispatch::none()).await
    }
}
