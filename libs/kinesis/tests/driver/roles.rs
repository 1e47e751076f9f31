//! How roles are assumed: always with the external id, never more often than need be, and nothing without.

use std::time::Duration;

use futures::future::join_all;
use millrace_testkit::aws::{Assumption, Course};

use super::{faults::ids, *};

#[tokio::test]
async fn a_role_is_assumed_with_the_external_id_once_for_all_its_sinks() {
    let aws = aws().await;
    let driver = driver(&aws);
    let sinks: Vec<SinkSpec> =
        (1..=100).map(|number| SinkSpec { sid: SinkSid::from_u128(number), ..sink() }).collect();
    let batches: Vec<_> = (0..100).map(|number| [event(&format!("EZ{number}"))]).collect();
    let deliveries = sinks.iter().zip(&batches);
    let attempts = join_all(deliveries.map(|(sink, batch)| driver.deliver(sink, batch, NOW))).await;
    assert!(attempts.iter().all(|attempt| attempt.outcomes == [Outcome::Delivered]));
    assert_eq!(ids(&aws).len(), 100);
    let [Assumption { role, external_id, session }] = &aws.assumptions()[..] else {
        panic!("a hundred sinks of one role make one call: {:?}", aws.assumptions());
    };
    assert_eq!((role.as_str(), external_id.as_deref()), (ROLE, Some(EXTERNAL_ID)));
    assert!(session.starts_with("millrace-DG") && session.len() <= 64, "{session}");
}

#[tokio::test]
async fn a_wrong_external_id_is_refused_and_not_tried_again_at_once() {
    let aws = aws().await;
    let driver = driver(&aws);
    let wrong = sink_of(STREAM, ROLE, "another-external-id");
    for _ in 0..5 {
        let attempt = driver.deliver(&wrong, &events(2), NOW).await;
        assert_eq!(attempt.outcomes, vec![retry(Reason::AssumeRole); 2]);
        assert!(attempt.detail.contains("AccessDenied"), "{}", attempt.detail);
        assert!(!attempt.detail.contains("another-external-id"), "{}", attempt.detail);
    }
    assert_eq!(Reason::AssumeRole.code(), 93102);
    assert_eq!((aws.assumptions().len(), aws.puts()), (1, 0), "a refusal holds for a while");
    let right = driver.deliver(&sink(), &events(1), NOW).await;
    assert_eq!(right.outcomes, [Outcome::Delivered], "it is another role");
}

#[tokio::test]
async fn without_a_role_or_an_external_id_nothing_is_sent() {
    let aws = aws().await;
    let driver = driver(&aws);
    for (role, external_id) in [("", EXTERNAL_ID), (ROLE, ""), ("", "")] {
        let attempt = driver.deliver(&sink_of(STREAM, role, external_id), &events(2), NOW).await;
        assert_eq!(attempt.outcomes, vec![retry(Reason::AssumeRole); 2]);
    }
    assert_eq!((aws.assumptions().len(), aws.puts()), (0, 0));
}

#[tokio::test]
async fn a_role_of_an_account_that_the_operator_keeps_is_not_asked_for() {
    let aws = aws().await;
    let list = |account: &str| vec![account.to_owned()];
    for (allow, refuse) in [(list("210987654321"), vec![]), (vec![], list("123456789012"))] {
        let role_accounts = RoleAccounts { allow, refuse };
        let driver = Kinesis::new(Options { role_accounts, ..options(&aws.url()) });
        let attempt = attempt(&driver, 2).await;
        assert_eq!(attempt.outcomes, vec![retry(Reason::AssumeRole); 2]);
        assert!(attempt.detail.contains("the operator"), "{}", attempt.detail);
        let told = driver.examine(&sink(), &event("EZ1"), NOW).await;
        assert_eq!(told.attempt.outcomes, [retry(Reason::AssumeRole)], "{told:?}");
    }
    assert_eq!((aws.assumptions().len(), aws.puts()), (0, 0));
}

#[tokio::test]
async fn the_server_asks_for_an_external_id_that_is_missing() {
    // That the driver passes says something only because of this.
    let aws = aws().await;
    let asked = [("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "session")];
    let body: Vec<String> = asked.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut stream =
        tokio::net::TcpStream::connect(aws.url().replace("http://", "")).await.expect("there");
    let body = body.join("&");
    let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 512];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("AccessDenied"), "{answer}");
    assert_eq!(aws.assumptions()[0].external_id, None);
}

#[tokio::test]
async fn credentials_that_end_are_renewed_within_the_attempt() {
    let aws = aws().await;
    let driver = driver(&aws);
    assert_eq!(attempt(&driver, 1).await.outcomes, [Outcome::Delivered]);
    aws.end_sessions();
    let attempts = join_all((0..20).map(|_| attempt(&driver, 3))).await;
    for attempt in attempts {
        assert_eq!(attempt.outcomes, vec![Outcome::Delivered; 3], "{}", attempt.detail);
    }
    assert_eq!(aws.assumptions().len(), 2, "one renewal for all");
}

#[tokio::test]
async fn credentials_that_are_never_taken_are_a_matter_of_the_role() {
    let aws = aws().await;
    let driver = driver(&aws);
    let expired = Course::Refuse(400, "ExpiredTokenException", "expired");
    aws.on_put([expired.clone(), expired]);
    let attempt = attempt(&driver, 1).await;
    assert_eq!(attempt.outcomes, [retry(Reason::AssumeRole)], "{}", attempt.detail);
    assert_eq!((aws.puts(), aws.assumptions().len()), (2, 2), "it is tried twice, not for ever");
}

#[tokio::test]
async fn an_sts_that_is_down_is_asked_again_after_a_moment() {
    let aws = aws().await;
    let driver = driver(&aws);
    aws.on_assume([Course::Refuse(503, "ServiceUnavailable", "down")]);
    let down = attempt(&driver, 2).await;
    assert_eq!(down.outcomes, vec![retry(Reason::AssumeRole); 2], "{}", down.detail);
    millrace_testkit::eventually("it is up again", || async {
        (attempt(&driver, 1).await.outcomes == [Outcome::Delivered]).then_some(())
    })
    .await;
    assert_eq!(aws.assumptions().len(), 2, "meanwhile it was left alone");
}

#[tokio::test]
async fn an_sts_that_throttles_slows_the_lane_and_says_nothing_of_the_sink() {
    let aws = aws().await;
    let driver = driver(&aws);
    aws.on_assume([Course::Refuse(400, "Throttling", "Rate exceeded")]);
    let attempt = attempt(&driver, 1).await;
    assert_eq!(attempt.outcomes, [retry(Reason::Throttled)], "{}", attempt.detail);
}

#[tokio::test]
async fn an_sts_that_hangs_costs_no_more_than_the_deadline() {
    let aws = aws().await;
    let driver = Kinesis::new(Options { deadline: Duration::from_secs(2), ..options(&aws.url()) });
    aws.on_assume(vec![Course::Hang; 10]);
    let attempts = join_all((0..10).map(|_| attempt(&driver, 1))).await;
    for attempt in attempts {
        assert_eq!(attempt.outcomes, [retry(Reason::AssumeRole)], "{}", attempt.detail);
    }
    assert_eq!(aws.assumptions().len(), 1, "who waits for it has the same answer");
}

#[test]
fn neither_key_nor_external_id_is_in_what_is_shown_for_debugging() {
    let shown = format!("{:?} {:?}", options("http://localhost"), sink());
    assert!(!shown.contains("own-secret") && !shown.contains(EXTERNAL_ID), "{shown}");
}
