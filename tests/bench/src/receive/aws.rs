//! A null endpoint of Kinesis and STS: every role is granted, every record taken.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use super::STREAMS;

const GRANTED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
    <AccessKeyId>ASIABENCH</AccessKeyId><SecretAccessKey>bench</SecretAccessKey><SessionToken>bench</SessionToken>\
    <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
/// What stands before the id of the event that a record was made of.
const PARTITION_KEY: &str = r#""PartitionKey":""#;
/// What is said of a record.
const TAKEN: &str = r#"{"SequenceNumber":"49607379204519246458236418216264823042","ShardId":"shardId-000000000000"}"#;

/// Answers a request. Of records only the keys are read, which are the ids of the events: what is in the data, as Base64, is not
/// this program's to pay for.
pub(super) fn answer(
    body: &str,
    record: impl FnOnce(usize, &str, &str),
) -> Result<Response<Full<Bytes>>> {
    if body.starts_with("Action=") {
        return Ok(Response::builder().header("content-type", "text/xml").body(GRANTED.into())?);
    }
    let records = body.matches(PARTITION_KEY).count();
    record(number(body).context("a stream of no number")?, PARTITION_KEY, body);
    let told =
        format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, vec![TAKEN; records].join(","));
    Ok(Response::builder()
        .header("content-type", "application/x-amz-json-1.1")
        .body(told.into())?)
}

/// The number of the stream that records are for.
fn number(body: &str) -> Option<usize> {
    let (_, rest) = body.split_once(STREAMS)?;
    rest.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_of_as_ids() {
        let body = format!(
            r#"{{"Records":[{{"Data":"e30=","PartitionKey":"a"}},{{"Data":"e30=","PartitionKey":"b"}}],"StreamARN":"{STREAMS}7"}}"#
        );
        let mut told = None;
        answer(&body, |sink, key, ids| told = Some((sink, ids.matches(key).count())))
            .expect("it is answered");
        assert_eq!(told, Some((7, 2)));
    }
}
