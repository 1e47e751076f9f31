//! What goes wrong with records, and what is made of it.

use std::{collections::BTreeSet, time::Duration};

use millrace_testkit::aws::{Aws, Course};

use super::*;

#[tokio::test]
async fn a_batch_becomes_one_record_for_each_event() {
    let aws = aws().await;
    let driver = driver(&aws);
    let limits = driver.limits(&sink());
    assert_eq!(limits.events, 500);
    let attempt = attempt(&driver, 500).await;
    assert_eq!(attempt.outcomes, vec![Outcome::Delivered; 500], "{}", attempt.detail);
    assert_eq!((attempt.http_status, aws.puts(), aws.largest()), (Some(200), 1, 500));
    for (record, sent) in aws.records().iter().zip(events(500)) {
        assert_eq!((&record.key, &record.data[..]), (&sent.id, &sent.event[..]));
    }
}

#[tokio::test]
async fn of_a_partial_failure_what_failed_is_retried_and_the_rest_is_delivered() {
    let aws = aws().await;
    let driver = driver(&aws);
    aws.on_put([Course::Partly(vec![
        (1, "ProvisionedThroughputExceededException"),
        (3, "InternalFailure"),
    ])]);
    let attempt = attempt(&driver, 5).await;
    let expected = [
        Outcome::Delivered,
        retry(Reason::Throttled),
        Outcome::Delivered,
        retry(Reason::Write),
        Outcome::Delivered,
    ];
    assert_eq!(attempt.outcomes, expected);
    assert!(
        attempt.detail.contains("1 of 5 records failed: InternalFailure"),
        "{}",
        attempt.detail
    );
    assert_eq!(
        aws.records().iter().map(|it| it.id()).collect::<Vec<_>>(),
        ["EZ000000", "EZ000002", "EZ000004"]
    );
}

#[tokio::test]
async fn a_request_that_is_refused_says_why_and_nothing_retries_below_the_deliverer() {
    let aws = aws().await;
    let driver = driver(&aws);
    for (status, code, outcome, number) in [
        (400, "ProvisionedThroughputExceededException", retry(Reason::Throttled), 91302),
        (400, "LimitExceededException", retry(Reason::Throttled), 91302),
        (400, "KMSThrottlingException", retry(Reason::Throttled), 91302),
        (400, "AccessDeniedException", retry(Reason::Setup), 91300),
        (400, "ResourceNotFoundException", retry(Reason::Setup), 91300),
        (400, "KMSAccessDeniedException", retry(Reason::Setup), 91300),
        (500, "InternalFailureException", retry(Reason::Write), 93101),
        (503, "ServiceUnavailable", retry(Reason::Write), 93101),
        (400, "InvalidArgumentException", retry(Reason::Setup), 91300),
    ] {
        aws.on_put([Course::Refuse(status, code, "as the test has it")]);
        let before = aws.puts();
        let attempt = attempt(&driver, 3).await;
        assert_eq!(attempt.outcomes, vec![outcome.clone(); 3], "{code}: {}", attempt.detail);
        assert_eq!((attempt.http_status, aws.puts() - before), (Some(status), 1), "{code}");
        assert!(attempt.detail.contains(code) && attempt.detail.contains("as the test has it"));
        let Outcome::Retry { reason, .. } = outcome else { panic!("{code} is tried again") };
        assert_eq!(reason.code(), number, "{code}");
    }
    assert_eq!(aws.assumptions().len(), 1, "none of it is about the role");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_for_its_owner_to_mend() {
    let aws = aws().await;
    let driver = driver(&aws);
    let gone = sink_of("arn:aws:kinesis:eu-west-1:123456789012:stream/gone", ROLE, EXTERNAL_ID);
    let attempt = driver.deliver(&gone, &events(2), NOW).await;
    assert_eq!(attempt.outcomes, vec![retry(Reason::Setup); 2]);
    assert!(attempt.detail.contains("ResourceNotFoundException"), "{}", attempt.detail);
}

#[tokio::test]
async fn a_request_is_signed_for_the_region_of_the_stream() {
    // The server refuses what is signed for another.
    let aws = aws().await;
    let driver = driver(&aws);
    for region in ["ap-southeast-2", "eu-west-1", "us-east-1"] {
        let arn = format!("arn:aws:kinesis:{region}:123456789012:stream/there");
        aws.stream(&arn);
        let attempt = driver.deliver(&sink_of(&arn, ROLE, EXTERNAL_ID), &events(1), NOW).await;
        assert_eq!(attempt.outcomes, [Outcome::Delivered], "{}", attempt.detail);
    }
    assert_eq!(aws.assumptions().len(), 1, "a role serves in every region");
}

#[tokio::test]
async fn no_answer_a_broken_one_and_none_of_kinesis_are_retried() {
    let aws = aws().await;
    let brief = Options { deadline: Duration::from_secs(3), ..options(&aws.url()) };
    let driver = Kinesis::new(brief);
    assert_eq!(attempt(&driver, 1).await.outcomes, [Outcome::Delivered], "warm");
    for (course, reason) in [
        (Course::Hang, Reason::Timeout),
        (Course::Late(Duration::from_secs(20)), Reason::Timeout),
        (Course::Close, Reason::Connect),
        (Course::Garbage, Reason::Write),
    ] {
        aws.on_put([course.clone()]);
        let attempt = attempt(&driver, 2).await;
        assert_eq!(attempt.outcomes, vec![retry(reason); 2], "{course:?}: {}", attempt.detail);
    }
}

#[tokio::test]
async fn nobody_there_is_a_matter_of_the_connection() {
    let aws = aws().await;
    let driver = driver(&aws);
    assert_eq!(attempt(&driver, 1).await.outcomes, [Outcome::Delivered]);
    drop(aws);
    // The connection that was idle is closed, and there is no other.
    let attempt = attempt(&driver, 1).await;
    assert_eq!(attempt.outcomes, [retry(Reason::Connect)], "{}", attempt.detail);
}

#[tokio::test]
async fn an_event_that_is_larger_than_a_record_is_dropped_alone() {
    let aws = aws().await;
    let driver = driver(&aws);
    let mut batch = events(3);
    batch[1].event = Bytes::from(format!(r#"{{"id":"x","data":"{}"}}"#, "y".repeat(1024 * 1024)));
    let attempt = driver.deliver(&sink(), &batch, NOW).await;
    let discard = Outcome::Discard { reason: Reason::Configuration };
    assert_eq!(attempt.outcomes, [Outcome::Delivered, discard.clone(), Outcome::Delivered]);
    let ids: BTreeSet<String> = aws.records().iter().map(|record| record.id()).collect();
    assert_eq!(ids, BTreeSet::from(["EZ000000".to_owned(), "EZ000002".to_owned()]));
    let alone = driver.deliver(&sink(), &batch[1..2], NOW).await;
    assert_eq!((alone.outcomes, alone.http_status), (vec![discard], None));
    assert!(alone.detail.contains("larger than a record"), "{}", alone.detail);
    assert_eq!(aws.puts(), 1, "there was nothing to send");
}

#[tokio::test]
async fn a_record_that_only_the_operator_thinks_fits_is_refused_so_that_it_is_found_and_dropped() {
    let aws = aws().await;
    let driver = Kinesis::new(Options { record_max_bytes: 2 * 1024 * 1024, ..options(&aws.url()) });
    let mut batch = events(3);
    batch[1].event = Bytes::from(format!(r#"{{"id":"x","data":"{}"}}"#, "y".repeat(1024 * 1024)));
    let attempt = driver.deliver(&sink(), &batch, NOW).await;
    // With 400 the deliverer sends halves, until the culprit is alone.
    let discard = Outcome::Discard { reason: Reason::Configuration };
    assert_eq!((attempt.outcomes, attempt.http_status), (vec![discard; 3], Some(400)));
    assert_eq!(driver.deliver(&sink(), &batch[..1], NOW).await.outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn an_arn_without_a_region_is_discarded_without_a_request() {
    let aws = aws().await;
    let driver = driver(&aws);
    for arn in ["", "events", "arn:aws:kinesis:evil.example/:123456789012:stream/events"] {
        let attempt = driver.deliver(&sink_of(arn, ROLE, EXTERNAL_ID), &events(2), NOW).await;
        assert_eq!(attempt.outcomes, vec![Outcome::Discard { reason: Reason::Stream }; 2], "{arn}");
    }
    assert_eq!(Reason::Stream.code(), 93104);
    assert_eq!((aws.assumptions().len(), aws.puts()), (0, 0));
}

#[tokio::test]
async fn a_dropped_delivery_leaves_the_driver_as_it_was() {
    let aws = aws().await;
    let driver = driver(&aws);
    aws.on_put([Course::Hang]);
    let abandoned = tokio::time::timeout(Duration::from_secs(2), attempt(&driver, 1)).await;
    assert!(abandoned.is_err());
    assert_eq!(attempt(&driver, 1).await.outcomes, [Outcome::Delivered]);
}

/// What was put so far, for tests that look at it.
pub(crate) fn ids(aws: &Aws) -> BTreeSet<String> {
    aws.records().iter().map(|record| record.id()).collect()
}
