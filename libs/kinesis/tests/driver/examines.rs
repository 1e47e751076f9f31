//! What a test of a sink tells.

use millrace_testkit::aws::Course;

use super::*;

#[tokio::test]
async fn a_test_tells_of_the_role_the_shards_and_the_record() {
    let aws = aws().await;
    let told = driver(&aws).examine(&sink(), &event("EZ1"), NOW).await;
    let steps: Vec<_> = told.steps.iter().map(|step| (step.name, step.result.is_ok())).collect();
    assert_eq!(steps, [("assume role", true), ("list shards", true)]);
    assert_eq!(told.steps[1].result.as_deref(), Ok("2 open"));
    assert_eq!(told.attempt.outcomes, [Outcome::Delivered]);
    assert_eq!(told.attempt.detail, "shardId-000000000000, sequence number 1");
}

#[tokio::test]
async fn a_role_that_is_refused_comes_with_what_would_mend_it() {
    let aws = aws().await;
    let driver = driver(&aws);
    let wrong = sink_of(STREAM, ROLE, "not-the-external-id");
    let told = driver.examine(&wrong, &event("EZ1"), NOW).await;
    let [step] = &told.steps[..] else { panic!("nothing after it: {told:?}") };
    let remedy = step.result.as_ref().expect_err("refused");
    assert!(remedy.contains("arn:aws:iam::999999999999:user/millrace"), "{remedy}");
    assert!(remedy.contains("sts:ExternalId") && remedy.contains(ROLE), "{remedy}");
    assert!(!remedy.contains("not-the-external-id"), "{remedy}");
    assert_eq!(told.attempt.outcomes, [retry(Reason::AssumeRole)]);
    assert_eq!(aws.puts(), 0);
    aws.trust(ROLE, "not-the-external-id");
    let told = driver.examine(&wrong, &event("EZ1"), NOW).await;
    assert_eq!(told.attempt.outcomes, [Outcome::Delivered], "who mended it need not wait");
}

#[tokio::test]
async fn shards_that_cannot_be_listed_keep_no_record_away() {
    let aws = aws().await;
    aws.on_list([Course::Refuse(400, "AccessDeniedException", "not authorized")]);
    let told = driver(&aws).examine(&sink(), &event("EZ1"), NOW).await;
    let listed = told.steps[1].result.as_ref().expect_err("refused");
    assert!(listed.starts_with("93103: ") && listed.contains("AccessDenied"), "{listed}");
    assert_eq!(told.attempt.outcomes, [Outcome::Delivered]);
}
