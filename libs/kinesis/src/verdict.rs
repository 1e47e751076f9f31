//! What an answer of Kinesis means for each record, and in words.

use std::{collections::BTreeMap, error::Error, time::Duration};

use aws_sdk_kinesis::{
    error::SdkError, operation::put_records::PutRecordsError, types::PutRecordsResultEntry,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use millrace_domain::outcome::{Outcome, Reason};
use millrace_sinks::in_full;

use crate::{records::Batch, roles::Refused};

/// What became of the records of a request.
pub(crate) struct Verdict {
    /// One for each record, in order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) http_status: Option<u16>,
    pub(crate) detail: String,
    /// The credentials are not taken any more.
    pub(crate) is_stale: bool,
}

impl Verdict {
    /// There was nothing to send.
    pub(crate) fn nothing() -> Self {
        Self { outcomes: Vec::new(), http_status: None, detail: String::new(), is_stale: false }
    }

    /// There is no session to send with.
    pub(crate) fn refused(refused: Refused, records: usize) -> Self {
        Self::all(retry(refused.reason), None, refused.detail, records)
    }

    /// The deadline passed.
    pub(crate) fn late(deadline: Duration, records: usize) -> Self {
        let detail = format!("no answer within {deadline:?}");
        Self::all(retry(Reason::Timeout), None, detail, records)
    }

    /// Kinesis took the request, and said of each record whether it has it.
    pub(crate) fn of_answer(told: &[PutRecordsResultEntry], records: usize) -> Self {
        if told.len() != records {
            let detail = format!("{records} records were sent and {} answered for", told.len());
            return Self::all(retry(Reason::Write), Some(200), detail, records);
        }
        let outcomes =
            told.iter().map(|entry| entry.error_code().map_or(Outcome::Delivered, of_record));
        let (outcomes, detail) = (outcomes.collect(), summary(told));
        Self { outcomes, http_status: Some(200), detail, is_stale: false }
    }

    /// Kinesis took none of `batch`.
    pub(crate) fn of_error(error: &SdkError<PutRecordsError>, batch: &Batch<'_>) -> Self {
        let (records, is_large) = (batch.len(), batch.is_large());
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        let (outcome, detail) = match error {
            SdkError::ServiceError(_) => {
                let code = error.code().unwrap_or_default();
                (of_code(code, status.unwrap_or(0), is_large), said(error))
            }
            SdkError::ResponseError(_) => (
                of_code("", status.unwrap_or(0), is_large),
                format!("the answer is not one of Kinesis: {}", said(error)),
            ),
            SdkError::TimeoutError(_) => (retry(Reason::Timeout), in_full(error)),
            // Nothing was sent, or it broke off.
            _ => (retry(Reason::Connect), in_full(error)),
        };
        let is_stale = error.code().is_some_and(is_about_credentials);
        Self { is_stale, ..Self::all(outcome, status, detail, records) }
    }

    fn all(outcome: Outcome, http_status: Option<u16>, detail: String, records: usize) -> Self {
        Self { outcomes: vec![outcome; records], http_status, detail, is_stale: false }
    }
}

/// What a failure of one record means (Kinesis, `PutRecords`: throttled, or an internal failure).
fn of_record(code: &str) -> Outcome {
    retry(if is_throttling(code) { Reason::Throttled } else { Reason::Write })
}

/// What an error means that refuses a whole request. Kinesis answers nearly all of its own with status 400. `is_large`: the request
/// has a record that not every stream takes.
fn of_code(code: &str, status: u16, is_large: bool) -> Outcome {
    if is_throttling(code) || status == 429 {
        return retry(Reason::Throttled);
    }
    if is_about_credentials(code) {
        return retry(Reason::AssumeRole);
    }
    match code {
        "AccessDeniedException" | "AccessDenied" | "ResourceNotFoundException" => {
            retry(Reason::Setup)
        }
        code if code.starts_with("KMS") => retry(Reason::Setup),
        // With a record that the stream need not take, it is about that: the deliverer finds out which by halves. Without one, it
        // is about the stream, such as an endpoint of another region, and no event's fault.
        "InvalidArgumentException" | "ValidationException" if is_large => {
            Outcome::Discard { reason: Reason::Configuration }
        }
        "InvalidArgumentException" | "ValidationException" => retry(Reason::Setup),
        _ if matches!(status, 401 | 403) => retry(Reason::Setup),
        _ => retry(Reason::Write),
    }
}

/// Tells whether an error says that too much was asked for, and nothing else.
pub(crate) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "KMSThrottlingException"
            | "LimitExceededException"
            | "RequestLimitExceeded"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
    )
}

/// Tells whether an error says that credentials are wrong or past their time
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>).
fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
    )
}

fn retry(reason: Reason) -> Outcome {
    Outcome::Retry { reason, after: None }
}

/// How many records failed and why, or where they went.
fn summary(told: &[PutRecordsResultEntry]) -> String {
    let mut failures: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for entry in told {
        if let Some(code) = entry.error_code() {
            let message = entry.error_message().unwrap_or_default();
            failures.entry(code).or_insert((0, message)).0 += 1;
        }
    }
    if failures.is_empty() {
        return match told {
            [one] => format!(
                "{}, sequence number {}",
                one.shard_id().unwrap_or("no shard"),
                one.sequence_number().unwrap_or("none")
            ),
            many => format!("{} records", many.len()),
        };
    }
    let of = told.len();
    let said = |(code, (count, message)): (&str, (usize, &str))| {
        format!("{count} of {of} records failed: {code}: {message}")
    };
    failures.into_iter().map(said).collect::<Vec<_>>().join("; ")
}

/// What AWS says of a refusal: its code and message, or, of one that has none, its status and what came with it.
pub(crate) fn said<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> String {
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or_default());
    }
    let Some(raw) = error.raw_response() else { return in_full(error) };
    let body = String::from_utf8_lossy(raw.body().bytes().unwrap_or_default());
    format!("status {}: {body}", raw.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(failure: Option<(&str, &str)>) -> PutRecordsResultEntry {
        let entry = PutRecordsResultEntry::builder();
        match failure {
            None => entry.shard_id("shardId-000000000001").sequence_number("49").build(),
            Some((code, message)) => entry.error_code(code).error_message(message).build(),
        }
    }

    #[test]
    fn of_a_partial_failure_only_what_failed_is_retried() {
        let throttled = ("ProvisionedThroughputExceededException", "Rate exceeded");
        let told = [
            entry(None),
            entry(Some(throttled)),
            entry(Some(("InternalFailure", "sorry"))),
            entry(Some(throttled)),
            entry(None),
        ];
        let verdict = Verdict::of_answer(&told, 5);
        let expected = [
            Outcome::Delivered,
            retry(Reason::Throttled),
            retry(Reason::Write),
            retry(Reason::Throttled),
            Outcome::Delivered,
        ];
        assert_eq!(verdict.outcomes, expected);
        assert_eq!(
            verdict.detail,
            "1 of 5 records failed: InternalFailure: sorry; \
             2 of 5 records failed: ProvisionedThroughputExceededException: Rate exceeded"
        );
        assert!(!Reason::Throttled.feeds_breaker());
    }

    #[test]
    fn an_answer_for_another_number_of_records_is_none() {
        let verdict = Verdict::of_answer(&[entry(None)], 2);
        assert_eq!(verdict.outcomes, vec![retry(Reason::Write); 2]);
    }

    #[test]
    fn what_its_owner_can_mend_is_retried_and_what_is_malformed_is_not() {
        let reason = |code: &str, status| match of_code(code, status, false) {
            Outcome::Retry { reason, .. } => (true, reason.code()),
            Outcome::Discard { reason } => (false, reason.code()),
            Outcome::Delivered => panic!("an error delivers nothing"),
        };
        for code in [
            "AccessDeniedException",
            "ResourceNotFoundException",
            "KMSDisabledException",
            "KMSNotFoundException",
            "KMSOptInRequired",
        ] {
            assert_eq!(reason(code, 400), (true, 91300), "{code}");
        }
        assert_eq!(reason("ProvisionedThroughputExceededException", 400), (true, 91302));
        assert_eq!(reason("KMSThrottlingException", 400), (true, 91302));
        assert_eq!(reason("", 429), (true, 91302));
        assert_eq!(reason("InternalFailureException", 500), (true, 93101));
        assert_eq!(reason("", 503), (true, 93101));
        assert_eq!(reason("SomethingNew", 400), (true, 93101));
        assert_eq!(reason("", 403), (true, 91300));
        assert_eq!(reason("ExpiredTokenException", 400), (true, 93102));
        assert_eq!(reason("InvalidArgumentException", 400), (true, 91300));
        let large = of_code("InvalidArgumentException", 400, true);
        assert_eq!(large, Outcome::Discard { reason: Reason::Configuration });
    }
}
