//! The Kinesis driver over real sockets: against a server that fails as it is told, and against moto, which checks signatures
//! and policies.

mod conformance;
mod examines;
mod faults;
mod moto;
mod roles;

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{
    AccountSid, Secret, SinkConfiguration, SinkDelivery, SinkSid,
    arn::RoleAccounts,
    outcome::{Outcome, Reason},
    sink::{Headers, KinesisPartitionKey},
};
use millrace_kinesis::{AccessKey, Kinesis, Options};
use millrace_sinks::{Attempt, Delivery, Driver, Prepared, SinkSpec};
use millrace_testkit::aws::Aws;

const NOW: i64 = 1_767_323_045;
const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/events";
const ROLE: &str = "arn:aws:iam::123456789012:role/events-writer";
const EXTERNAL_ID: &str = "an-external-id-that-nobody-guesses";
/// Long for a busy machine; tests of slow answers set their own.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server with a stream and a role for it.
async fn aws() -> Aws {
    let aws = Aws::start().await;
    aws.trust(ROLE, EXTERNAL_ID);
    aws.stream(STREAM);
    aws
}

fn options(url: &str) -> Options {
    Options {
        endpoint: Some(url.to_owned()),
        sts_endpoint: Some(url.to_owned()),
        deadline: DEADLINE,
        key: Some(AccessKey { id: "AKIAMILLRACE".to_owned(), secret: Secret::new("own-secret") }),
        ..Options::default()
    }
}

fn driver(aws: &Aws) -> Kinesis {
    Kinesis::new(options(&aws.url()))
}

fn sink_of(arn: &str, role_arn: &str, external_id: &str) -> SinkSpec {
    SinkSpec {
        sid: SinkSid::from_u128(1),
        account: AccountSid::from_u128(2),
        configuration: SinkConfiguration::Kinesis {
            arn: arn.to_owned(),
            role_arn: role_arn.to_owned(),
            external_id: Secret::new(external_id),
            partition_key: KinesisPartitionKey::Id,
        },
        headers: Headers::default(),
        delivery: SinkDelivery::default(),
        auth_token: Secret::new(""),
        signing_secret: Secret::new(""),
        identities: std::sync::Arc::default(),
        prepared: Prepared::default(),
    }
}

fn sink() -> SinkSpec {
    sink_of(STREAM, ROLE, EXTERNAL_ID)
}

fn event(id: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        account: None,
        traceparent: String::new(),
        event: Bytes::from(format!(
            r#"{{"specversion":"1.0","type":"com.example.a","source":"/x","id":"{id}","data":{{"t": 1}}}}"#
        )),
        hash: None,
    }
}

fn events(count: usize) -> Vec<Delivery> {
    (0..count).map(|number| event(&format!("EZ{number:06}"))).collect()
}

fn retry(reason: Reason) -> Outcome {
    Outcome::Retry { reason, after: None }
}

/// Delivers so many events in one request.
async fn attempt(driver: &Kinesis, count: usize) -> Attempt {
    driver.deliver(&sink(), &events(count), NOW).await
}
